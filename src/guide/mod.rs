//! The guide: recipes by task, and reference pages.
//!
//! | page | content |
//! |---|---|
//! | [`tasks`] | write a check, gate the start, drain, gRPC services, workers, proxies, other pools, tests |
//! | [`placement`] | where the layer goes in each stack, and what other layers do to a probe |
//! | [`policy`] | what to check in which probe, and the numbers |
//! | [`formats`] | the formats of a response, and how one is selected |
//! | [`operators`] | codes, reasons, log lines, and the configuration of probers and load balancers |

#[doc = include_str!("tasks.md")]
pub mod tasks {}

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("policy.md")]
pub mod policy {}

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("operators.md")]
pub mod operators {}

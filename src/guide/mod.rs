//! Manuals, without code: where the layer stands, what belongs into which probe, and what to do
//! about an answer.
//!
//! | page | for whom |
//! |---|---|
//! | [`placement`] | whoever puts the layer into an app |
//! | [`policy`] | whoever decides what a probe looks at, and how often |
//! | [`formats`] | whoever reads answers by program |
//! | [`operators`] | whoever is on call, and whoever wires probers and balancers |

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("policy.md")]
pub mod policy {}

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("operators.md")]
pub mod operators {}

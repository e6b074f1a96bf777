//! The guide: recipes by task, and reference pages.
//!
//! | how do I ... | page |
//! |---|---|
//! | write a check: closures, `impl Check`, errors, blocking code, observations | [`custom_checks`] |
//! | probe a worker, with or without HTTP | [`custom_checks`](custom_checks#workers-and-liveness) |
//! | gate the start, drain on SIGTERM, enter maintenance | [`lifecycle`] |
//! | serve several gRPC services | [`serving`] |
//! | serve behind a proxy | [`serving`](serving#behind-a-proxy) |
//! | use TLS | [`serving`](serving#tls) |
//! | check sqlx, deadpool, diesel-async or another pool | [`pools`] |
//! | copy a check: HTTP, TCP, certificate, disk, schema version, stream lag | [`custom_checks`](custom_checks#checks-to-copy) |
//! | export metrics, alert, log, trace | [`monitoring`] |
//! | test my wiring | [`testing`] |
//! | place the layer in axum, tonic, hyper and among other layers | [`placement`] |
//! | choose what to check in which probe, and the numbers | [`policy`] |
//! | select a format, and read a response | [`formats`] |
//! | understand a code or a reason, and configure a prober | [`operators`] |

#[doc = include_str!("custom_checks.md")]
pub mod custom_checks {}

#[doc = include_str!("lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("serving.md")]
pub mod serving {}

#[doc = include_str!("pools.md")]
pub mod pools {}

#[doc = include_str!("monitoring.md")]
pub mod monitoring {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("placement.md")]
pub mod placement {}

#[doc = include_str!("policy.md")]
pub mod policy {}

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("operators.md")]
pub mod operators {}

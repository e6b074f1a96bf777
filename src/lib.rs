//! Tower middleware that answers health probes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
pub mod checks;
mod dependency;
mod engine;
mod health;
mod lifecycle;
mod probe;
mod report;
mod transition;

pub use self::{
    check::{Check, CheckResult, LocalCheck, Outcome},
    dependency::Dependency,
    health::{Health, HealthBuilder, NotReady},
    probe::Probe,
    report::{Entry, Failure, PoolNumbers, Reason, Report, Status, Value},
};

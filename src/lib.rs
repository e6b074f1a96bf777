//! Tower middleware that answers health probes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod check;
pub mod checks;
mod dependency;
mod engine;
mod health;
mod lifecycle;
mod middleware;
mod probe;
mod render;
mod report;
mod transition;

pub use self::{
    access::{Access, Head, InvalidNetwork, PeerAddr},
    check::{Check, CheckResult, LocalCheck, Outcome},
    dependency::Dependency,
    health::{Health, HealthBuilder, NotReady},
    middleware::{HealthLayer, HealthService, ResponseBody, ResponseFuture},
    probe::Probe,
    render::{Detail, View},
    report::{Entry, Failure, PoolNumbers, Reason, Report, Status, Value},
};

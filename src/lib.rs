//! Tower middleware that answers health probes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
pub mod checks;
mod report;

pub use self::{
    check::{Check, CheckResult, LocalCheck, Outcome},
    report::{Entry, Failure, PoolNumbers, Reason, Report, Status, Value},
};

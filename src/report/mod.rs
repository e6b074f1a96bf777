//! The results as data: of a run, of a dependency, of a probe.
//!
//! This module does not know HTTP or access rules. Renderers get a [`View`](crate::render::View), never a
//! report.

// Each file imports only from those above it.
mod observation;
mod reason;
mod status;

mod history;
mod redact;

mod entry;
mod failure;

#[expect(
    clippy::module_inception,
    reason = "named after its type, as all files are"
)]
mod report;

#[cfg(feature = "pool")]
pub(crate) use self::failure::reason_of_connect;
pub use self::{
    entry::ReportEntry,
    failure::Failure,
    history::CheckRun,
    observation::{ObservedValue, PoolStats},
    reason::Reason,
    report::Report,
    status::Status,
};
pub(crate) use self::{
    entry::{AsMap, Excluded, rounded_millis, serialize_some, whole_millis},
    history::History,
    observation::{Observations, bounded, one_line},
    redact::without_credentials,
};

//! The result as data: of a run, of a dependency, of a probe.
//!
//! Nothing here knows HTTP or decides who may see it: a renderer gets a [`View`](crate::render::View), never a
//! report.

mod entry;
mod failure;
mod history;
mod observation;
mod reason;
mod redact;
mod status;
mod whole;
#[cfg(test)]
mod whole_properties;

#[cfg(feature = "pool")]
pub(crate) use self::failure::reason_of_connect;
pub use self::{
    entry::ReportEntry,
    failure::Failure,
    history::CheckRun,
    observation::{ObservedValue, PoolStats},
    reason::Reason,
    status::Status,
    whole::Report,
};
pub(crate) use self::{
    entry::{Excluded, rounded_millis},
    history::History,
    observation::{Observations, bounded, one_line},
    redact::without_credentials,
    whole::Rotation,
};

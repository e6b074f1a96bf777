//! What happens once when a dependency's status changes: the log event.
//!
//! One event per transition, none per probe.

use crate::{
    dependency::Dependency,
    engine::{flight::Published, verdict::Verdict},
    report::Status,
};

/// Logs when `published` changed what is shown.
pub(crate) fn observe(
    dependency: &Dependency,
    published: &Published<Verdict>,
    cause: Option<&str>,
) {
    let from = published
        .previous
        .as_ref()
        .map_or(Status::Unknown, |verdict| verdict.status);
    let to = published.value.status;
    if from == to {
        return;
    }
    log(dependency, from, published, cause);
}

#[cfg(feature = "tracing")]
fn log(dependency: &Dependency, from: Status, published: &Published<Verdict>, cause: Option<&str>) {
    let to = published.value.status;
    let name = &*dependency.name;
    let reason = published.value.reason.map(crate::report::Reason::as_str);
    if to == Status::Down {
        tracing::warn!(dependency = name, %from, %to, reason, cause, "dependency is down");
        return;
    }
    let outage_ms = published
        .previous
        .as_ref()
        .and_then(|verdict| verdict.failing_since)
        .map(|since| published.value.started.saturating_duration_since(since))
        .map(|outage| u64::try_from(outage.as_millis()).unwrap_or(u64::MAX));
    tracing::info!(dependency = name, %from, %to, reason, outage_ms, "dependency is {to}");
}

#[cfg(not(feature = "tracing"))]
fn log(_: &Dependency, _: Status, _: &Published<Verdict>, _: Option<&str>) {}

//! The span of each run, at level DEBUG: `health_check`.
//!
//! Attributes have OpenTelemetry's names where one exists (`error.type`, `otel.status_code`). Without a
//! subscriber at that level nothing is recorded.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::time::Instant;
use tracing::{Instrument, Span, debug_span, field::Empty};

use crate::{
    check::{CheckResult, DynCheck},
    dependency::Dependency,
    monitor::result::LastResult,
    report::Status,
};

/// Opens the span of a run. It ends with the run.
pub(super) fn open(dependency: &Dependency) -> Span {
    // Without a parent: a run serves many callers, and one that hangs would keep a request's span open.
    let span = debug_span!(
        target: "tower_health",
        parent: None,
        "health_check",
        health.check.name = dependency.name(),
        health.check.kind = Empty,
        health.check.status = Empty,
        health.check.duration = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    );
    if let Some(kind) = dependency.kind.as_deref() {
        span.record("health.check.kind", kind);
    }
    span
}

/// Records the result of a completed run: what the check found, before thresholds.
pub(super) fn record(span: &Span, result: &LastResult) {
    let Some(run) = result.history.runs().last() else {
        return;
    };
    span.record("health.check.status", run.status.as_str());
    span.record("health.check.duration", run.duration.as_secs_f64());
    if run.status == Status::Down {
        span.record("otel.status_code", "ERROR");
    }
    if let Some(reason) = run.reason {
        span.record("error.type", reason.as_str());
    }
}

/// A check whose runs are inside a span, with all that drivers and checks log.
pub(super) struct InSpan {
    pub(super) check: Arc<dyn DynCheck>,
    pub(super) span: Span,
}

impl DynCheck for InSpan {
    fn check_until_boxed(
        &self,
        deadline: Instant,
    ) -> Pin<Box<dyn Future<Output = CheckResult> + Send + '_>> {
        let run = self.check.check_until_boxed(deadline);
        Box::pin(run.instrument(self.span.clone()))
    }
}

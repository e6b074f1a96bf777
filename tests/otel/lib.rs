//! Traces of runs and the bridge of metrics to OTLP, read back from the OpenTelemetry SDK.

use metrics::SetRecorderError;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;

/// Passes what this crate reports to the `metrics` facade to `provider`, and so to its OTLP exporter.
///
/// # Errors
///
/// If the process has a recorder already.
pub fn bridge(provider: &SdkMeterProvider) -> Result<(), SetRecorderError<OpenTelemetryRecorder>> {
    let recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(provider.meter("app")));
    let buckets = tower_health::metrics::DURATION_BUCKETS;
    let durations = [tower_health::metrics::CHECK_DURATION_SECONDS];
    recorder.set_histogram_bounds(durations.into_iter(), &buckets);
    metrics::set_global_recorder(recorder)
}

//! The bridge of metrics to OTLP, read back from the OpenTelemetry SDK.

use metrics::SetRecorderError;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tower_health::metrics::{CHECK_DURATION_SECONDS, DURATION_BUCKETS};

/// Passes what this crate reports to the `metrics` facade to `provider`, and so to its OTLP exporter.
///
/// # Errors
///
/// If the process has a recorder already.
pub fn bridge(provider: &SdkMeterProvider) -> Result<(), SetRecorderError<OpenTelemetryRecorder>> {
    let recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(provider.meter("app")));
    recorder.set_histogram_bounds([CHECK_DURATION_SECONDS].into_iter(), &DURATION_BUCKETS);
    metrics::set_global_recorder(recorder)
}

/// The only test of this process.
#[tokio::test]
async fn metrics_reach_the_meter_of_opentelemetry() {
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader};
    use tower_health::{Health, Outcome};

    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    bridge(&provider).expect("the only recorder of this process");
    let check = async || Ok(Outcome::up());
    let health = Health::builder().check("database", check).build();
    health.report().await;
    provider.force_flush().expect("the exporter works");
    let exported = exporter.get_finished_metrics().expect("the exporter works");
    let metrics = exported.iter().flat_map(|one| one.scope_metrics());
    // Status, failures in a row, duration and runs.
    let names = metrics
        .flat_map(|scope| scope.metrics())
        .map(|one| one.name());
    let ours = names.filter(|name| name.starts_with("health_check_"));
    assert_eq!(ours.count(), 4, "{exported:?}");
}

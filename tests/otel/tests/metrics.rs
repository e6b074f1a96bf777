//! The metrics of runs, as the OpenTelemetry SDK exports them.

use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tower_health::{Health, Outcome};
use tower_health_otel::bridge;

#[tokio::test]
async fn metrics_reach_the_meter_of_opentelemetry() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    bridge(&provider).expect("the only recorder of this process");
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    health.report().await;
    provider.force_flush().expect("the exporter works");
    let exported = exporter.get_finished_metrics().expect("the exporter works");
    let names: Vec<String> = exported
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics())
        .map(|metric| metric.name().to_owned())
        .collect();
    for name in [
        tower_health::metrics::CHECK_STATUS,
        tower_health::metrics::CHECK_RUNS_TOTAL,
        tower_health::metrics::CHECK_DURATION_SECONDS,
    ] {
        assert!(
            names.iter().any(|exported| exported == name),
            "{name} in {names:?}"
        );
    }
}

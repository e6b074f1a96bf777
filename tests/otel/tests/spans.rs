//! The span of each run, as the OpenTelemetry SDK exports it. A process of one test: callsites are global.

use std::time::Duration;

use opentelemetry::{
    Value,
    trace::{SpanId, Status as SpanStatus, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tokio::{task::yield_now, time::timeout};
use tower_health::{Dependency, Failure, Health, Outcome, Reason};
use tracing::Instrument;
use tracing_subscriber::{Registry, layer::SubscriberExt};

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key);
    found.map(|one| &one.value)
}

#[tokio::test]
async fn each_run_is_a_root_span_with_its_result() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    // The runs are tasks of this thread.
    let _default = tracing::subscriber::set_default(Registry::default().with(layer));
    let cache = Dependency::new("cache", async || Err(Failure::new(Reason::Refused)));
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .add(cache.kind("redis"))
        .build();
    // A run serves many callers and may outlive each of them.
    let request = tracing::info_span!("request");
    health.report().instrument(request.clone()).await;
    // The second report reads cached results.
    health.report().await;
    let exported = async {
        loop {
            let spans = exporter.get_finished_spans().expect("the exporter works");
            if spans.len() >= 2 {
                return spans;
            }
            yield_now().await;
        }
    };
    let spans = timeout(Duration::from_secs(20), exported).await;
    let mut spans = spans.expect("each run ends its span");
    spans.sort_by_key(|span| attribute(span, "health.check.kind").is_some());
    assert_eq!(spans.len(), 2, "{spans:?}");
    let keys = ["name", "status", "kind"].map(|key| format!("health.check.{key}"));
    let keys = keys.iter().map(String::as_str).chain(["error.type"]);
    let expected = [
        [Some("database"), Some("up"), None, None],
        [Some("cache"), Some("down"), Some("redis"), Some("refused")],
    ];
    for (span, expected) in spans.iter().zip(expected) {
        let found = (&*span.name, span.parent_span_id);
        assert_eq!(found, ("health_check", SpanId::INVALID));
        for (key, expected) in keys.clone().zip(expected) {
            let found = attribute(span, key).map(|value| value.as_str());
            assert_eq!(found.as_deref(), expected, "{key}");
        }
        let is_error = matches!(span.status, SpanStatus::Error { .. });
        assert_eq!(is_error, expected[3].is_some(), "{span:?}");
        let duration = attribute(span, "health.check.duration");
        assert!(matches!(duration, Some(Value::F64(seconds)) if (0.0..20.0).contains(seconds)));
    }
}

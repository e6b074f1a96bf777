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

fn health() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .add(
            Dependency::new("cache", async || Err(Failure::new(Reason::Refused)))
                .kind("redis")
                .optional(),
        )
        .build()
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key);
    found.map(|one| &one.value)
}

fn text(span: &SpanData, key: &str) -> Option<String> {
    attribute(span, key).map(|value| value.as_str().into_owned())
}

#[tokio::test]
async fn each_run_is_a_span_with_its_result() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    // The runs are tasks of this thread.
    let _default = tracing::subscriber::set_default(Registry::default().with(layer));
    let health = health();
    // A run serves many callers and may outlive each of them.
    let request = tracing::info_span!("request");
    health.report().instrument(request.clone()).await;
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
    let spans = spans.expect("each run ends its span");
    // The second report reads cached results.
    assert_eq!(spans.len(), 2, "{spans:?}");
    let of = |name: &str| {
        let name = Some(name.to_owned());
        let span = spans
            .iter()
            .find(|span| text(span, "health.check.name") == name);
        span.unwrap_or_else(|| panic!("{name:?} in {spans:?}"))
    };
    let (database, cache) = (of("database"), of("cache"));
    assert_eq!(database.parent_span_id, SpanId::INVALID);
    assert_eq!(database.name, "health_check");
    assert_eq!(text(database, "health.check.status").as_deref(), Some("up"));
    assert_eq!(text(database, "error.type"), None);
    assert_eq!(database.status, SpanStatus::Unset);
    assert_eq!(text(cache, "health.check.status").as_deref(), Some("down"));
    assert_eq!(text(cache, "health.check.kind").as_deref(), Some("redis"));
    assert_eq!(text(cache, "error.type").as_deref(), Some("refused"));
    assert!(
        matches!(cache.status, SpanStatus::Error { .. }),
        "{cache:?}"
    );
    let duration = attribute(cache, "health.check.duration");
    assert!(
        matches!(duration, Some(Value::F64(seconds)) if (0.0..20.0).contains(seconds)),
        "{duration:?}"
    );
}

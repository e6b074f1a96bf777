//! One log event per transition, none per probe; the raw error is there, its secrets are not.

use std::{
    fmt::{self, Write},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::helpers::layer_client::LayerClient;
use tokio::time::advance;
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Reason};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::set_default,
};

/// Keeps events as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().expect("no panic under it"))
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("a string");
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_health")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let entry = (*event.metadata().level(), line.0);
        self.0.lock().expect("no panic under it").push(entry);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The same text is a `ConfigWarning`.
#[tokio::test(start_paused = true)]
async fn a_missing_peer_address_is_logged_once() {
    let log = Log::default();
    let _guard = set_default(log.clone());
    let health = Health::builder().build();
    let layer = HealthLayer::new(health.clone());
    let token = LayerClient(layer.clone().details(Access::bearer(["t"])));
    token.get("/livez").await;
    assert_eq!(log.take(), [], "a token needs no address");
    let local = LayerClient(layer.details(Access::loopback()));
    for _ in 0..3 {
        local.get("/livez").await;
    }
    let lines = log.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::WARN);
    let text = health.warnings()[0].to_string();
    assert!(lines[0].1.contains(&text), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transition_is_logged_once_with_its_cause_and_without_secrets() {
    let log = Log::default();
    let _guard = set_default(log.clone());
    let up = Arc::new(AtomicBool::new(true));
    let state = up.clone();
    let check = move || {
        let up = state.load(Ordering::SeqCst);
        async move {
            if up {
                return Ok(Outcome::up());
            }
            let cause = io::Error::other("postgres://app:hunter2@db:5432/app: no answer");
            Err(Failure::new(Reason::Unreachable).caused_by(cause))
        }
    };
    let health = Health::builder()
        .add(Dependency::new("database", check))
        .build();
    let probe_thrice = async || {
        for _ in 0..3 {
            advance(Duration::from_secs(2)).await;
            let _ = health.report().await;
        }
        log.take()
    };

    let first = probe_thrice().await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0].0, Level::INFO);

    up.store(false, Ordering::SeqCst);
    let down = probe_thrice().await;
    assert_eq!(down.len(), 1, "{down:?}");
    let (level, line) = &down[0];
    assert_eq!(*level, Level::WARN);
    for part in ["database", "unreachable", "db:5432", "no answer"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("hunter2"), "{line}");

    up.store(true, Ordering::SeqCst);
    let back = probe_thrice().await;
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0].0, Level::INFO);
    assert!(back[0].1.contains("outage_ms=6000"), "{back:?}");
}

#[test]
fn settings_that_cannot_work_together_are_logged_once_each() {
    let log = Log::default();
    let _guard = set_default(log.clone());
    let slow = |name: &'static str| {
        Dependency::new(name, async || Ok(Outcome::up())).timeout(Duration::from_secs(2))
    };
    let builder = Health::builder().add(slow("first"));
    assert_eq!(log.take(), []);
    let health = builder.build();
    health.add(slow("second")).expect("new");
    health.warnings();
    let logged = log.take();
    assert_eq!(logged.len(), 2, "{logged:?}");
    for ((level, line), name) in logged.iter().zip(["first", "second"]) {
        assert_eq!(*level, Level::WARN);
        assert!(
            line.contains(&format!("{name}: timeout (2000 ms)")),
            "{line}"
        );
    }
}

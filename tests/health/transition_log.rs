//! One log event per transition and none per probe; the cause is logged without its secrets.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Reason};
use tracing::subscriber::{DefaultGuard, set_default};

use super::fixtures::{SECOND, Scripted, up};
use crate::helpers::layer_client::LayerClient;

/// What this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (log, set_default(subscriber))
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic under it"));
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// The only line since the last call, which has this level.
    fn one(&self, level: &str) -> String {
        let mut lines = self.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].trim_start().starts_with(level), "{lines:?}");
        lines.remove(0)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().expect("no panic under it");
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_transition_is_logged_once_with_its_cause() {
    let (log, _guard) = Log::start();
    let check = Scripted::new();
    let health = Health::builder().check("database", check.check()).build();
    let probe_thrice = async |level| {
        for _ in 0..3 {
            tokio::time::advance(2 * SECOND).await;
            let _ = health.report().await;
        }
        log.one(level)
    };
    probe_thrice("INFO").await;
    check.set(|| {
        let cause = io::Error::other("postgres://app:hunter2@db:5432/app: no answer");
        Err(Failure::new(Reason::Unreachable).caused_by(cause))
    });
    let line = probe_thrice("WARN").await;
    for part in ["database", "unreachable", "db:5432", "no answer"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("hunter2"), "{line}");
    check.set_up();
    let line = probe_thrice("INFO").await;
    assert!(line.contains("outage_ms=6000"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_peer_address_is_logged_once() {
    let (log, _guard) = Log::start();
    let health = Health::builder().build();
    let layer = HealthLayer::new(health.clone());
    let token = LayerClient(layer.clone().details(Access::bearer(["t"])));
    token.get("/livez").await;
    assert!(log.take().is_empty(), "a token needs no address");
    let local = LayerClient(layer.details(Access::loopback()));
    for _ in 0..3 {
        local.get("/livez").await;
    }
    let line = log.one("WARN");
    // The same text is a `ConfigWarning`.
    let text = health.warnings()[0].to_string();
    assert!(line.contains(&text), "{line}");
}

#[test]
fn each_config_warning_is_logged_once() {
    let (log, _guard) = Log::start();
    let slow = |name: &'static str| Dependency::new(name, up).timeout(2 * SECOND);
    let builder = Health::builder().add(slow("first"));
    assert!(log.take().is_empty());
    let logs = |name: &str| {
        let line = log.one("WARN");
        let text = format!("{name}: timeout (2000 ms)");
        assert!(line.contains(&text), "{line}");
    };
    let health = builder.build();
    logs("first");
    health.add(slow("second")).expect("a new name");
    logs("second");
    health.warnings();
    assert!(log.take().is_empty());
}

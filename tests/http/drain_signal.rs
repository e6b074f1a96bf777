//! Draining from a signal handler, as an orchestrator asks for it: often more than once.
// The signal is the process's: this binary has no other tests.

use crate::helpers::wire;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::helpers::wire::soon;
use crate::support::wait_until;
use axum::{Router, routing::get};
use nix::sys::signal::{Signal, raise};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};
use tower_health::{Access, Health, HealthLayer, Outcome};

const LIMIT: Duration = Duration::from_secs(30);
const DELAY: Duration = Duration::from_millis(500);

#[tokio::test]
async fn each_signal_may_drain_and_nothing_but_readiness_changes() {
    let health = Health::builder()
        .check("a", async || Ok(Outcome::up()))
        .build();
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(HealthLayer::new(health.clone()).details(Access::loopback()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("free");
    let address = listener.local_addr().expect("bound");

    let mut terminate = signal(SignalKind::terminate()).expect("may be handled");
    let (handler, handled) = (health.clone(), Arc::new(AtomicU32::new(0)));
    let count = handled.clone();
    let drained = async move {
        let start = Instant::now();
        let mut drains = JoinSet::new();
        // A handler that drains for each signal, which nobody forbids.
        for _ in 0..3 {
            terminate.recv().await;
            let health = handler.clone();
            drains.spawn(async move { health.drain(DELAY).await });
            count.fetch_add(1, Ordering::SeqCst);
        }
        while drains.join_next().await.is_some() {}
        start.elapsed()
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async {
        let _ = stop.send(drained.await);
    });
    let server = tokio::spawn(server.into_future());

    assert_eq!(wire::get(address, "/readyz").await.code, 200);
    for round in 0..3 {
        raise(Signal::SIGTERM).expect("handled");
        // One at a time: two that come together may be handled as one.
        wait_until("it is handled", LIMIT, async || {
            handled.load(Ordering::SeqCst) > round && health.is_draining()
        })
        .await;
        let ready = wire::get(address, "/readyz").await;
        assert_eq!(ready.code, 503, "round {round}");
        assert!(
            ready.body.contains(r#""reason":"draining""#),
            "{}",
            ready.body
        );
        for path in ["/livez", "/startupz", "/health", "/"] {
            assert_eq!(
                wire::get(address, path).await.code,
                200,
                "{path} in round {round}"
            );
        }
    }
    let took = soon(stopped).await.expect("it ends");
    assert!(took >= DELAY, "{took:?}");
    soon(server).await.expect("no panic").expect("served");
    assert!(health.is_draining());
}

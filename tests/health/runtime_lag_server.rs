//! A real server of which one handler blocks its thread.

use crate::helpers::wire;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, mpsc::channel},
    time::Duration,
};

use crate::helpers::wire::Wire;
use crate::support::wait_until;
use axum::{Router, routing::get};
use tokio::{net::TcpListener, runtime::Builder};
use tower_health::{Access, Dependency, Health, HealthLayer, checks::RuntimeLag};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_probes_of_a_server_with_a_wedged_worker_are_answered_and_say_so() {
    let app = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let lag = RuntimeLag::for_runtime(app.handle(), Duration::from_millis(10))
        .down_after(Duration::from_millis(300));
    let health = Health::builder()
        .add(Dependency::in_process("runtime", lag).cache_for(Duration::from_millis(10)))
        .build();
    let (end, ended) = channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let router = Router::new()
        .route("/", get(async || "hello\n"))
        // As a lock does that is held elsewhere.
        .route(
            "/wedge",
            get(move || async move { ended.lock().expect("ours").recv().unwrap_or_default() }),
        )
        .layer(HealthLayer::new(health).details(Access::loopback()));
    let (bound, address) = channel();
    app.spawn(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("free");
        bound
            .send(listener.local_addr().expect("bound"))
            .expect("heard");
        axum::serve(
            listener,
            router.into_make_service_with_connect_info::<SocketAddr>(),
        )
        .await
    });
    let address = address.recv().expect("bound");

    // The prober is another process in truth: a runtime of its own.
    let prober = Builder::new_current_thread().enable_all().build();
    prober.expect("a runtime").block_on(async {
        assert_eq!(wire::get(address, "/livez").await.code, 200);
        let mut wedge = Wire::connect(address).await;
        wedge
            .send("GET /wedge HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        wait_until("liveness is 503", LIMIT, async || {
            wire::get(address, "/livez").await.code == 503
        })
        .await;
        let body = wire::get(address, "/livez").await.body;
        assert!(body.contains("a worker thread has not moved"), "{body}");
        // The rest of the app goes on, which is why nothing else would tell.
        assert_eq!(wire::get(address, "/").await.code, 200);
        drop(end);
        wait_until("liveness is 200", LIMIT, async || {
            wire::get(address, "/livez").await.code == 200
        })
        .await;
        assert_eq!(wedge.answer().await.code, 200);
    });
}

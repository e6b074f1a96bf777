//! A process that receives SIGTERM drains, finishes open requests, and exits with 0.

use std::{
    env::{current_exe, var_os},
    process::Command,
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use nix::sys::signal::Signal;
use tokio::sync::Notify;
use tower_health::{Health, HealthLayer};

use super::fixtures::up;
use crate::{
    helpers::wire::{self, Wire},
    support::{MAXIMUM_WAIT, Program, wait_until},
};

/// Set for the process that serves.
const SERVES: &str = "TOWER_HEALTH_TEST_SERVES";

/// The program that the test below starts.
#[tokio::test]
#[ignore = "a program, not a test"]
async fn program() {
    if var_os(SERVES).is_none() {
        return;
    }
    let health = Health::builder().check("database", up).build();
    let stopping = Arc::new(Notify::new());
    let open = stopping.clone();
    // Open until the server stops accepting connections.
    let open = get(move || async move {
        open.notified().await;
        "finished"
    });
    let app = Router::new()
        .route("/open", open)
        .layer(HealthLayer::new(health.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    // Longer than the test waits: only a second signal ends the delay in time.
    let drained = health.drain_on_shutdown_signal(Duration::from_secs(600));
    println!("\nlistens on {}", listener.local_addr().expect("bound"));
    let shutdown = async move {
        drained.await;
        stopping.notify_one();
    };
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    served.await.expect("serves");
}

#[tokio::test]
async fn a_signal_drains_and_a_second_one_ends_the_delay() {
    for first in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = Command::new(current_exe().expect("this program"));
        command
            .args(["--exact", "shutdown_signal::program"])
            .args(["--ignored", "--nocapture"])
            .env(SERVES, "1");
        let mut program = Program::start("server", &mut command);
        let line = program.says("listens on ").await;
        let address = line.rsplit(' ').next().expect("an address");
        let address = address.parse().expect("an address");
        assert_eq!(wire::get(address, "/readyz").await.code, 200);
        let mut open = Wire::connect(address).await;
        open.send("GET /open HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            .await;
        program.signal(first);
        wait_until("readiness is 503", MAXIMUM_WAIT, async || {
            wire::get(address, "/readyz").await.code == 503
        })
        .await;
        // Out of rotation, and it serves requests.
        assert_eq!(wire::get(address, "/livez").await.code, 200);
        program.signal(Signal::SIGTERM);
        let finished = open.answer().await;
        assert_eq!((finished.code, &*finished.body), (200, "finished"));
        assert!(program.ends().await.success());
    }
}

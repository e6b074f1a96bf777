//! gRPC health checks by other programs: grpcio, by itself and as a balancer, and Envoy.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tower_health::{Access, Health, Probe};

use crate::{
    helpers::{
        balanced::{Cluster, Envoy},
        grpc::{serve, soon},
        switch::Switch,
    },
    support::{MAXIMUM_WAIT, wait_until, wheel},
};

/// The client, a separate process.
struct Python {
    // Killed with this value.
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Python {
    fn start() -> Self {
        let mut process = Command::new(wheel("python"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/python/grpc_client.py"
            ))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let input = process.stdin.take().expect("piped");
        let output = process.stdout.take().expect("piped");
        Self {
            _process: process,
            input,
            output: BufReader::new(output).lines(),
        }
    }

    async fn say(&mut self, line: &str) -> String {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.expect("sends");
        let answer = soon(self.output.next_line()).await.expect("text");
        answer.expect("the client goes on")
    }
}

async fn backend(name: &'static str, switch: &Switch) -> (Health, SocketAddr) {
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
        .map_grpc_service(name, Probe::Liveness)
        .build();
    let service = health.grpc_service().details(Access::loopback());
    (health, serve(service).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcio_checks_lists_and_watches() {
    let switch = Switch::on();
    let (health, address) = backend("a", &switch).await;
    let mut python = Python::start();
    for (name, expected) in [
        ("", "SERVING"),
        ("orders", "SERVING"),
        ("unknown", "NOT_FOUND"),
        (&*"x".repeat(201), "INVALID_ARGUMENT"),
    ] {
        let found = python.say(&format!("check {address} '{name}'")).await;
        assert_eq!(found, expected, "{name:?}");
    }
    assert_eq!(
        python.say(&format!("list {address}")).await,
        "''=SERVING 'a'=SERVING 'database'=SERVING 'orders'=SERVING 'shop.v1.Orders'=SERVING"
    );

    python.say(&format!("watch {address} unknown")).await;
    assert_eq!(python.say("next").await, "SERVICE_UNKNOWN");
    python.say(&format!("watch {address} ''")).await;
    assert_eq!(python.say("next").await, "SERVING");
    switch.set(false);
    assert_eq!(python.say("next").await, "NOT_SERVING");
    switch.set(true);
    assert_eq!(python.say("next").await, "SERVING");
    let drained = tokio::spawn(async move { health.drain(Duration::from_millis(500)).await });
    assert_eq!(python.say("next").await, "NOT_SERVING");
    drained.await.expect("does not panic");
    assert_eq!(python.say("next").await, "UNAVAILABLE");
}

/// Client-side health checking (gRFC A17): calls leave the backend whose service does not serve, while
/// its connection stays up, and come back.
#[tokio::test(flavor = "multi_thread")]
async fn round_robin_avoids_a_backend_that_is_not_serving() {
    let (a, b) = (Switch::on(), Switch::on());
    let ((_, first), (_, second)) = (backend("a", &a).await, backend("b", &b).await);
    let mut python = Python::start();
    python
        .say(&format!("balance {first},{second} shop.v1.Orders"))
        .await;
    for up in [(true, true), (false, true), (true, true), (true, false)] {
        a.set(up.0);
        b.set(up.1);
        wait_until("calls go where they are served", MAXIMUM_WAIT, async || {
            let found = python.say("who a,b 10").await;
            let served = |name: &str| !found.split(' ').any(|part| part == format!("{name}=0"));
            (served("a"), served("b")) == up
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_removes_an_instance_that_is_not_serving() {
    let switch = Switch::on();
    let (health, first) = backend("a", &switch).await;
    let others = (backend("b", &switch).await, backend("c", &switch).await);
    let instances = [first, others.0.1, others.1.1];
    let envoy = Envoy::start(Cluster::Grpc, instances).await;
    health.set_draining(true);
    envoy.until(first, false).await;
    assert!(envoy.is_up(instances[1]).await);
    health.set_draining(false);
    envoy.until(first, true).await;
    switch.set(false);
    envoy.until(instances[2], false).await;
}

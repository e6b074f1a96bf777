//! A process that is told to end: it drains, finishes what is open, and exits with 0.

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::{
    helpers::wire::{self, Wire},
    support::wait_until,
};
use axum::{Router, routing::get};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{net::TcpListener, sync::Notify};
use tower_health::{Health, HealthLayer, Outcome};

const LIMIT: Duration = Duration::from_secs(30);
/// Set for the process that serves.
const SERVES: &str = "TOWER_HEALTH_TEST_SERVES";
const ADDRESS: &str = "listens on ";

/// The program that is started by the tests below.
#[tokio::test]
#[ignore = "a program of its own"]
async fn program() {
    if env::var_os(SERVES).is_none() {
        return;
    }
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let stopping = Arc::new(Notify::new());
    let open = stopping.clone();
    let app = Router::new()
        // Open until the server stops to accept connections.
        .route(
            "/open",
            get(move || async move {
                open.notified().await;
                "finished"
            }),
        )
        .layer(HealthLayer::new(health.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    // A minute: only a second signal ends it in time.
    let drained = health.drain_on_shutdown_signal(Duration::from_secs(60));
    println!("\n{ADDRESS}{}", listener.local_addr().expect("bound"));
    let shutdown = async move {
        drained.await;
        stopping.notify_one();
    };
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    served.await.expect("serves");
}

struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args([
                "--exact",
                "shutdown_signal::program",
                "--ignored",
                "--nocapture",
            ])
            .env(SERVES, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = output.lines();
        let address = loop {
            let line = lines.next().expect("it listens").expect("text");
            if let Some(address) = line.strip_prefix(ADDRESS) {
                break address.parse().expect("an address");
            }
        };
        // Read to the end: a program that prints to a closed pipe ends.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it lives");
    }

    async fn ends_with_success(&mut self) {
        let mut code = None;
        wait_until("it ends", LIMIT, async || {
            code = self.child.try_wait().expect("a child");
            code.is_some()
        })
        .await;
        assert_eq!(code.and_then(|code| code.code()), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_signal_drains_and_a_second_one_ends_the_delay() {
    for (first, second) in [
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGINT, Signal::SIGTERM),
    ] {
        let mut program = Program::start();
        assert_eq!(wire::get(program.address, "/readyz").await.code, 200);
        let mut open = Wire::connect(program.address).await;
        open.send("GET /open HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            .await;
        program.signal(first);
        wait_until("readiness is 503", LIMIT, async || {
            wire::get(program.address, "/readyz").await.code == 503
        })
        .await;
        // Out of rotation, and still serving.
        assert_eq!(wire::get(program.address, "/livez").await.code, 200);
        program.signal(second);
        let finished = open.answer().await;
        assert_eq!((finished.code, &*finished.body), (200, "finished"));
        program.ends_with_success().await;
    }
}

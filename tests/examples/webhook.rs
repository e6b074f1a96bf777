//! `examples/webhook.rs` against a receiver that fails in several ways.

use crate::helpers::wire;
use std::{
    collections::VecDeque,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Program, example, run_example, unused_port, wait_until};
use axum::{Json, Router, extract::State, routing::post};
use http::StatusCode;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(30);

/// The reaction of the receiver to a post; after the given ones it accepts.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Answer(u16),
    Hang,
}

#[derive(Clone, Default)]
struct Receiver {
    deeds: Arc<Mutex<VecDeque<Deed>>>,
    refused: Arc<Mutex<Vec<Value>>>,
    accepted: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// Starts a receiver, and returns its address.
    async fn start(deeds: &[Deed]) -> (Self, SocketAddr) {
        let receiver = Self::default();
        receiver.deeds.lock().expect("ours").extend(deeds);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("free");
        let address = listener.local_addr().expect("bound");
        let app = Router::new()
            .route("/hook", post(take))
            .with_state(receiver.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        (receiver, address)
    }

    fn accepted(&self) -> Vec<Value> {
        self.accepted.lock().expect("ours").clone()
    }

    fn refused(&self) -> Vec<Value> {
        self.refused.lock().expect("ours").clone()
    }

    /// Waits for the transition to `status`, which comes last.
    async fn receives(&self, status: &str) -> Value {
        wait_until(
            &format!("the receiver receives {status}"),
            LIMIT,
            async || {
                self.accepted()
                    .last()
                    .is_some_and(|last| last["to"] == status)
            },
        )
        .await;
        self.accepted().pop().expect("just seen")
    }
}

async fn take(State(receiver): State<Receiver>, Json(transition): Json<Value>) -> StatusCode {
    let deed = receiver.deeds.lock().expect("ours").pop_front();
    match deed {
        None => {
            receiver.accepted.lock().expect("ours").push(transition);
            StatusCode::NO_CONTENT
        }
        Some(Deed::Answer(code)) => {
            receiver.refused.lock().expect("ours").push(transition);
            StatusCode::from_u16(code).expect("valid")
        }
        Some(Deed::Hang) => pending().await,
    }
}

/// The example, which checks `target` and posts to `hook`, and its address.
async fn publisher(target: SocketAddr, hook: SocketAddr) -> (Program, SocketAddr) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
    let program = Program::start(
        "webhook",
        Command::new(example("webhook"))
            .env("ADDR", address.to_string())
            .env("TARGET", target.to_string())
            .env("WEBHOOK_URL", format!("http://{hook}/hook")),
    );
    wait_until("it listens", LIMIT, async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    (program, address)
}

async fn target(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("free")
}

#[test]
fn without_a_receiver_the_missing_setting_is_named() {
    let table: [(&[_], &str); 2] = [
        (&[], "WEBHOOK_URL is not set"),
        (&[("WEBHOOK_URL", "http://token@/hook")], "WEBHOOK_URL: "),
    ];
    for (variables, said) in table {
        let ended = run_example("webhook", variables, &[]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!ended.stderr.contains("token"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn each_transition_is_posted_with_its_details() {
    let (receiver, hook) = Receiver::start(&[]).await;
    let dependency = target(0).await;
    let address = dependency.local_addr().expect("bound");
    let (_program, _) = publisher(address, hook).await;

    let first = receiver.receives("up").await;
    assert_eq!(
        (&first["name"], &first["from"]),
        (&"target".into(), &"unknown".into())
    );
    assert!(first["previous_for_ms"].is_u64(), "{first}");

    drop(dependency);
    let down = receiver.receives("down").await;
    assert_eq!(
        (&down["from"], &down["reason"]),
        (&"up".into(), &"refused".into())
    );
    assert_eq!(down["required"], true);

    let _dependency = target(address.port()).await;
    let back = receiver.receives("up").await;
    assert_eq!(back["from"], "down");
    assert_eq!(receiver.accepted().len(), 3, "each once");
}

#[tokio::test]
async fn a_post_is_retried_after_503_and_not_after_400() {
    let deeds = [Deed::Answer(503), Deed::Answer(429), Deed::Hang];
    let (receiver, hook) = Receiver::start(&deeds).await;
    let dependency = target(0).await;
    let address = dependency.local_addr().expect("bound");
    let (program, _) = publisher(address, hook).await;
    let first = receiver.receives("up").await;
    // The same transition each time.
    assert_eq!(receiver.refused(), [first.clone(), first]);

    receiver
        .deeds
        .lock()
        .expect("ours")
        .push_back(Deed::Answer(400));
    drop(dependency);
    wait_until("the loss is reported", LIMIT, async || {
        program.log().contains("target is lost: 400")
    })
    .await;
    assert_eq!(receiver.refused().len(), 3, "not tried again");
    let _dependency = target(address.port()).await;
    wait_until("the recovery is received", LIMIT, async || {
        receiver.accepted().len() == 2
    })
    .await;
    assert_eq!(receiver.receives("up").await["from"], "down");
}

#[tokio::test]
async fn without_the_receiver_probes_and_shutdown_work() {
    let dependency = target(0).await;
    let address = dependency.local_addr().expect("bound");
    let unused = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
    let (mut program, own) = publisher(address, unused).await;
    wait_until("it is ready", LIMIT, async || {
        wire::get(own, "/readyz").await.code == 200
    })
    .await;
    wait_until("it gives up", LIMIT, async || {
        program.log().contains("target is lost")
    })
    .await;
    assert_eq!(wire::get(own, "/readyz").await.code, 200);
    program.signal(Signal::SIGTERM);
    wait_until("it has ended", LIMIT, async || program.end().is_some()).await;
    assert!(
        program.end().is_some_and(|end| end.success()),
        "{}",
        program.log()
    );
}

//! `examples/webhook.rs` against a receiver that fails in several ways.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use http::StatusCode;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    app::{App, refused},
    support::{MAXIMUM_WAIT, unused_port, wait_until},
};

/// The reaction of the receiver to a post.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    Answer(u16),
    Hang,
}

/// After the reactions it accepts each post.
#[derive(Clone, Default)]
struct Receiver {
    reactions: Arc<Mutex<VecDeque<Reaction>>>,
    refused: Arc<Mutex<Vec<Value>>>,
    accepted: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// Starts a receiver, and returns its address.
    async fn start(reactions: &[Reaction]) -> (Self, SocketAddr) {
        let receiver = Self::default();
        receiver.reactions.lock().expect("ours").extend(reactions);
        let listener = listen(0).await;
        let address = listener.local_addr().expect("bound");
        let app = Router::new()
            .route("/hook", post(receive))
            .with_state(receiver.clone());
        tokio::spawn(axum::serve(listener, app).into_future());
        (receiver, address)
    }

    fn accepted(&self) -> Vec<Value> {
        self.accepted.lock().expect("ours").clone()
    }

    fn refused(&self) -> Vec<Value> {
        self.refused.lock().expect("ours").clone()
    }

    /// Waits for the transition to `status`, which is accepted last.
    async fn receives(&self, status: &str) -> Value {
        let what = format!("the receiver receives {status}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            let accepted = self.accepted();
            accepted.last().is_some_and(|last| last["to"] == status)
        })
        .await;
        self.accepted().pop().expect("just seen")
    }
}

async fn receive(State(receiver): State<Receiver>, Json(transition): Json<Value>) -> StatusCode {
    let reaction = receiver.reactions.lock().expect("ours").pop_front();
    match reaction {
        None => {
            receiver.accepted.lock().expect("ours").push(transition);
            StatusCode::NO_CONTENT
        }
        Some(Reaction::Answer(code)) => {
            receiver.refused.lock().expect("ours").push(transition);
            StatusCode::from_u16(code).expect("valid")
        }
        Some(Reaction::Hang) => pending().await,
    }
}

async fn listen(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).await.expect("free")
}

/// The example, which posts to `hook`, and the dependency that it checks.
async fn publisher(hook: SocketAddr) -> (App, TcpListener) {
    let dependency = listen(0).await;
    let target = dependency.local_addr().expect("bound").to_string();
    let hook = format!("http://{hook}/hook");
    let app = App::start("webhook", &[("TARGET", &target), ("WEBHOOK_URL", &hook)]).await;
    (app, dependency)
}

/// Closes the port of the dependency.
fn close(dependency: TcpListener) -> u16 {
    dependency.local_addr().expect("bound").port()
}

#[test]
fn without_a_receiver_the_missing_setting_is_named() {
    for (variables, part) in [
        (&[][..], "WEBHOOK_URL is not set"),
        (&[("WEBHOOK_URL", "http://hunter2@/hook")], "WEBHOOK_URL: "),
    ] {
        let stderr = refused("webhook", variables);
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test]
async fn each_transition_is_posted_with_its_details() {
    let (receiver, hook) = Receiver::start(&[]).await;
    let (_app, dependency) = publisher(hook).await;
    let first = receiver.receives("up").await;
    assert_eq!(
        (&first["name"], &first["from"]),
        (&"target".into(), &"unknown".into())
    );
    assert!(first["previous_for_ms"].is_u64(), "{first}");

    let port = close(dependency);
    let down = receiver.receives("down").await;
    assert_eq!(
        (&down["from"], &down["reason"]),
        (&"up".into(), &"refused".into())
    );
    assert_eq!(down["required"], true);

    let _dependency = listen(port).await;
    assert_eq!(receiver.receives("up").await["from"], "down");
    assert_eq!(receiver.accepted().len(), 3, "each once");
}

#[tokio::test]
async fn a_post_is_retried_after_503_and_not_after_400() {
    let reactions = [Reaction::Answer(503), Reaction::Answer(429), Reaction::Hang];
    let (receiver, hook) = Receiver::start(&reactions).await;
    let (mut app, dependency) = publisher(hook).await;
    let first = receiver.receives("up").await;
    // The same transition each time.
    assert_eq!(receiver.refused(), [first.clone(), first]);

    let refusal = Reaction::Answer(400);
    receiver.reactions.lock().expect("ours").push_back(refusal);
    let port = close(dependency);
    app.program.says("target is lost: 400").await;
    assert_eq!(receiver.refused().len(), 3, "not tried again");
    let _dependency = listen(port).await;
    wait_until("the recovery is received", MAXIMUM_WAIT, async || {
        receiver.accepted().len() == 2
    })
    .await;
    assert_eq!(receiver.receives("up").await["from"], "down");
}

#[tokio::test]
async fn without_the_receiver_probes_and_shutdown_work() {
    let (mut app, _dependency) = publisher(([127, 0, 0, 1], unused_port()).into()).await;
    app.becomes("/readyz", 200).await;
    app.program.says("target is lost").await;
    assert_eq!(app.get("/readyz").await.0, 200);
    app.program.signal(Signal::SIGTERM);
    assert!(app.program.ends().await.success());
}

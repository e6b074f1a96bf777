//! `examples/webhook.rs` against a receiver that fails in several ways.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    app::{App, refused},
    helpers::server::{listen, serve_axum},
    support::{MAXIMUM_WAIT, unused_port, wait_until},
};

/// The code of a post that is never answered.
const HANGS: u16 = 0;

/// A receiver that answers posts with the codes in turn, and then with 204.
#[derive(Clone, Default)]
struct Receiver {
    codes: Arc<Mutex<VecDeque<u16>>>,
    posts: Arc<Mutex<Vec<(u16, Value)>>>,
}

impl Receiver {
    /// Waits until this many posts were received, and returns the last one.
    async fn receives(&self, count: usize) -> (u16, Value) {
        let what = format!("{count} posts were received");
        let posts = || self.posts.lock().expect("no panic").clone();
        wait_until(&what, MAXIMUM_WAIT, async || posts().len() >= count).await;
        assert_eq!(posts().len(), count, "{:?}", posts());
        posts().pop().expect("one")
    }
}

async fn receive(State(receiver): State<Receiver>, Json(transition): Json<Value>) -> StatusCode {
    let code = receiver.codes.lock().expect("no panic").pop_front();
    let code = code.unwrap_or(204);
    let post = (code, transition);
    receiver.posts.lock().expect("no panic").push(post);
    match StatusCode::from_u16(code) {
        Ok(code) => code,
        Err(_) => pending().await,
    }
}

/// The example, which posts to `hook`, and the dependency that it checks.
async fn publisher(hook: SocketAddr) -> (App, TcpListener) {
    let (dependency, target) = listen().await;
    let (target, hook) = (target.to_string(), format!("http://{hook}/hook"));
    let app = App::start("webhook", &[("TARGET", &target), ("WEBHOOK_URL", &hook)]).await;
    (app, dependency)
}

#[test]
fn a_missing_or_invalid_receiver_is_named_without_its_url() {
    assert!(refused("webhook", &[]).contains("WEBHOOK_URL is not set"));
    let invalid = refused("webhook", &[("WEBHOOK_URL", "http://hunter2@/hook")]);
    assert!(invalid.contains("WEBHOOK_URL: "), "{invalid}");
}

#[tokio::test]
async fn each_transition_is_posted_until_it_is_accepted_or_rejected() {
    let receiver = Receiver::default();
    let codes = [503, 429, HANGS, 204, 400];
    receiver.codes.lock().expect("no panic").extend(codes);
    let hook = Router::new().route("/hook", post(receive));
    let hook = serve_axum(hook.with_state(receiver.clone())).await;
    let (mut app, dependency) = publisher(hook).await;
    let (code, up) = receiver.receives(4).await;
    assert_eq!(code, 204);
    let found = ["name", "from", "to"].map(|field| &up[field]);
    assert_eq!(json!(found), json!(["target", "unknown", "up"]));
    assert!(up["previous_for_ms"].is_u64(), "{up}");
    let posts = receiver.posts.lock().expect("no panic").clone();
    let same = codes.map(|code| (code, up.clone()));
    assert_eq!(posts, same[..4]);

    let port = dependency.local_addr().expect("bound").port();
    drop(dependency);
    app.program.says("target is lost: 400").await;
    let (_, down) = receiver.receives(5).await;
    let found = ["from", "to", "reason", "required"].map(|field| &down[field]);
    assert_eq!(json!(found), json!(["up", "down", "refused", true]));

    // The rejected transition is not posted again.
    let _dependency = TcpListener::bind(("127.0.0.1", port)).await.expect("free");
    let (code, up) = receiver.receives(6).await;
    assert_eq!(
        json!([code, up["from"], up["to"]]),
        json!([204, "down", "up"])
    );
}

#[tokio::test]
async fn without_the_receiver_probes_and_shutdown_work() {
    let (mut app, _dependency) = publisher(([127, 0, 0, 1], unused_port()).into()).await;
    app.becomes("/readyz", 200).await;
    app.program.says("target is lost").await;
    assert_eq!(app.get("/readyz").await.0, 200);
    app.drains("/readyz", 503).await;
}

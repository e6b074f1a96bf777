//! The manual switch: out of traffic by hand, with a reason, and back.
#![allow(missing_docs)]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Access, Health, HealthLayer, Outcome, Probe, Reason, Status};

fn health() -> Health {
    let health = Health::builder().check("a", async || Ok(Outcome::up()));
    health.build()
}

/// The code and the body that answer `path` over one face.
async fn get(face: &HealthLayer, path: &str) -> (u16, String) {
    let inner = service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let request = Request::builder().uri(path).body(Empty::new());
    let response = face.layer(inner).oneshot(request.expect("valid")).await;
    let response = response.expect("infallible");
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("whole");
    let body = String::from_utf8(body.to_bytes().into());
    (code, body.expect("text"))
}

#[tokio::test(start_paused = true)]
async fn only_readiness_says_that_it_is_out() {
    let health = health();
    let face = HealthLayer::new(health.clone()).details(Access::everybody());
    // Twice: the second answer is a kept one, which the switch must spoil though no time passes.
    for _ in 0..2 {
        assert_eq!(get(&face, "/readyz").await.0, 200);
    }
    health.take_out("moving the disk");
    let (code, body) = get(&face, "/readyz").await;
    let whole = r#"{"status":"down","reason":"maintenance","message":"moving the disk","checks":{"#;
    assert_eq!(code, 503);
    assert!(body.starts_with(whole), "{body}");
    for path in ["/livez", "/startupz", "/health"] {
        let (code, body) = get(&face, path).await;
        assert_eq!(code, 200, "{path}");
        assert!(!body.contains("maintenance"), "{body}");
    }
    health.put_back();
    assert_eq!(get(&face, "/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_not_told_why() {
    let health = health();
    let face = HealthLayer::new(health.clone());
    health.take_out("moving the disk");
    let answer = get(&face, "/readyz").await;
    assert_eq!(answer, (503, r#"{"status":"down"}"#.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn it_may_be_said_twice_and_the_last_word_counts() {
    let health = health();
    assert_eq!(health.maintenance(), None);
    health.put_back();
    assert_eq!(
        health.report_for(&Probe::Readiness).await.status,
        Status::Up
    );
    health.take_out("first");
    health.take_out("second");
    health.take_out("second");
    assert_eq!(health.maintenance().as_deref(), Some("second"));
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!(report.message.as_deref(), Some("second"));
    // However often it was taken out, it is put back once.
    health.put_back();
    let report = health.report_for(&Probe::Readiness).await;
    assert_eq!((report.status, report.reason), (Status::Up, None));
}

#[tokio::test(start_paused = true)]
async fn it_is_independent_of_draining() {
    let health = health();
    let reason = async || health.report_for(&Probe::Readiness).await.reason;
    health.set_started();
    health.take_out("a look inside");
    health.drain(Duration::from_secs(1)).await;
    assert_eq!(reason().await, Some(Reason::Draining));
    health.set_draining(false);
    assert_eq!(reason().await, Some(Reason::Maintenance));
    health.set_draining(true);
    health.put_back();
    assert_eq!(reason().await, Some(Reason::Draining));
}

#[test]
fn its_text_is_one_bounded_line() {
    let health = health();
    health.take_out(format!("a\r\nforged: line\u{1b}[2J{}", "x".repeat(1_000)));
    let kept = health.maintenance().expect("taken out");
    assert!(kept.starts_with("a  forged: line [2J"), "{kept}");
    assert_eq!(kept.len(), 256);
    // Without a word it is taken out all the same.
    health.take_out("");
    let report = health.snapshot_for(&Probe::Readiness);
    assert_eq!(
        (report.reason, report.message),
        (Some(Reason::Maintenance), None)
    );
}

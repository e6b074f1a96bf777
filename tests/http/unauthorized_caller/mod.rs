//! An unauthorized caller walks every form, path and query, and learns the status and no more.
//!
//! Two apps are asked the same: one full of secrets, one with nothing to hide, both in the same
//! state. What an unauthorized caller gets from them must not differ by a byte. Whatever a secret could do to an
//! answer, in its text, its length, its headers or its code, would show.

use crate::helpers::wire;
use apps::{MARK, NUMBER, PATHS, STATES, State, TOKEN, open, secretive, serve};
use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::net::TcpListener;
use tower_health::{Access, HealthLayer};
use walk::{Question, walk};

mod apps;
mod walk;

/// All of an answer but the time of day.
type Answer = (StatusCode, HeaderMap, Bytes);

async fn ask(connection: &mut SendRequest<Full<Bytes>>, question: &Question) -> Answer {
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(&question.target)
        .header("host", "test");
    for (name, value) in &question.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::default()).expect("valid");
    let response = wire::soon(connection.send_request(request))
        .await
        .expect("answers");
    let (mut parts, body) = response.into_parts();
    parts.headers.remove("date");
    let body = wire::soon(body.collect()).await.expect("a body").to_bytes();
    (parts.status, parts.headers, body)
}

/// Whether `bytes` hold anything that belongs to the app alone.
fn tells(answer: &Answer) -> bool {
    let text = format!("{:?} {}", answer.1, String::from_utf8_lossy(&answer.2)).to_lowercase();
    text.contains(MARK) || text.contains(&NUMBER.to_string()) || text.contains("mismatch")
}

#[tokio::test]
async fn an_unauthorized_caller_learns_the_status_and_no_more() {
    let questions = walk();
    for state in STATES {
        let mut secretive = wire::http1(serve(secretive(state)).await).await;
        let mut open = wire::http1(serve(open(state)).await).await;
        let mut learnt = false;
        // The first caller finds a cold cache; whoever comes later must not know the difference.
        for question in &questions {
            let answer = ask(&mut secretive, question).await;
            assert!(!tells(&answer), "{state:?} {question:?} {answer:?}");
            let expected = ask(&mut open, question).await;
            assert_eq!(answer, expected, "{state:?} {question:?}");
            learnt |= question.target == "/readyz" && answer.2.starts_with(br#"{"status":"#);
        }
        // Two apps that say nothing at all are alike, too.
        assert!(learnt, "{state:?}");
    }
}

/// Else the walk would prove nothing: the secrets are there, and each form tells them to operators.
#[tokio::test]
async fn an_operator_learns_what_the_walk_looks_for() {
    const OPERATOR: (&str, &str) = ("authorization", "Bearer zq-token");
    let mut connection = wire::http1(serve(secretive(State::Down)).await).await;
    for path in PATHS
        .iter()
        .filter(|path| !["/livez", "/startupz", "/foreign"].contains(path))
    {
        let question = Question {
            method: Method::GET,
            target: (*path).to_owned(),
            headers: vec![OPERATOR],
        };
        let known = cfg!(feature = "html") || *path != "/page";
        let answer = ask(&mut connection, &question).await;
        assert_eq!(tells(&answer), known, "{path} {answer:?}");
    }
    let mut text = String::new();
    for target in ["/own", "/health/zq-database", "/own/zq-search"] {
        let question = Question {
            method: Method::GET,
            target: target.to_owned(),
            headers: vec![OPERATOR],
        };
        text += &String::from_utf8_lossy(&ask(&mut connection, &question).await.2);
    }
    for secret in [
        "zq-database",
        "zq-search",
        "zq-group",
        "zq-kind",
        "zq-host:7313",
        "zq-field",
        "zq-9.8.7",
        "zq-7313",
        "zq-observation",
        "zq-value",
        "zq-failure 7313",
        "7313,",
        "Mismatch",
    ] {
        assert!(text.contains(secret), "{secret} in {text}");
    }
    // Raw text of errors is for the log alone.
    assert!(!text.contains("zq-cause"), "{text}");
}

/// Who may not even probe learns that it may not, or nothing at all.
#[tokio::test]
async fn who_may_not_probe_learns_less_than_the_status() {
    let questions: Vec<_> = walk()
        .into_iter()
        .filter(|question| question.target.starts_with("/readyz"))
        .collect();
    let mut answers = Vec::new();
    for state in STATES {
        let layer = HealthLayer::new(secretive(state)).allow(Access::bearer([TOKEN]));
        for layer in [layer.clone(), layer.forward_denied()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let address = listener.local_addr().expect("bound");
            let app = Router::new().layer(layer);
            tokio::spawn(async move { axum::serve(listener, app).await });
            let mut connection = wire::http1(address).await;
            let mut seen = Vec::new();
            for question in &questions {
                seen.push(ask(&mut connection, question).await);
            }
            answers.push(seen);
        }
    }
    for pair in answers.chunks(2) {
        assert_eq!(pair[0], answers[0], "the state shows");
        assert_eq!(pair[1], answers[1], "the state shows");
    }
    // All that is below a probe path is the app's to those who may not probe.
    let is_probe = |question: &Question| {
        let path = question.target.split('?').next();
        path == Some("/readyz")
    };
    let (mut forbidden, mut others) = (0, 0);
    for (question, answer) in questions.iter().zip(&answers[0]) {
        if is_probe(question) {
            let found = (answer.0, answer.2.len());
            assert_eq!(found, (StatusCode::FORBIDDEN, 0), "{question:?}");
            forbidden += 1;
        } else {
            assert_eq!(answer.0, StatusCode::NOT_FOUND, "{question:?}");
            others += 1;
        }
    }
    assert!(forbidden > 0 && others > 0, "{forbidden} {others}");
    assert_eq!(answers[1].len(), questions.len());
    assert!(
        answers[1]
            .iter()
            .all(|answer| answer.0 == StatusCode::NOT_FOUND)
    );
    assert!(!answers.iter().flatten().any(tells));
}

//! A stranger walks every form, path and query, and learns the status and no more.
//!
//! Two apps are asked the same: one full of secrets, one with nothing to hide, both in the same
//! state. What a stranger gets from them must not differ by a byte. Whatever a secret could do to an
//! answer, in its text, its length, its headers or its code, would show.
#![cfg(feature = "axum")]
#![allow(missing_docs)]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, PoolNumbers, Probe, Reason,
    Render, View,
};

mod wire;

/// The beginning of every name and text that nobody may see.
const MARK: &str = "zq";
/// Every number that nobody may see is made of it.
const NUMBER: u32 = 7_313;
const TOKEN: &str = "zq-token";

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Up,
    Degraded,
    Down,
    Starting,
    Draining,
    Maintenance,
}

const STATES: [State; 6] = [
    State::Up,
    State::Degraded,
    State::Down,
    State::Starting,
    State::Draining,
    State::Maintenance,
];

/// All that an app can say about itself.
fn secretive(state: State) -> Health {
    let up = async || {
        tokio::time::sleep(Duration::from_millis(3)).await;
        Ok(Outcome::up()
            .message("zq-message")
            .observe("zq-observation", NUMBER)
            .pool(PoolNumbers::new(NUMBER, NUMBER, NUMBER)))
    };
    let down = async || {
        Err(Failure::new(Reason::Mismatch)
            .message("zq-failure 7313")
            .caused_by("zq-cause")
            .observe("zq-observation", "zq-value")
            .pool(PoolNumbers::new(NUMBER, 0, 0)))
    };
    let named = |dependency: Dependency| {
        dependency
            .group("zq-group")
            .group("storage")
            .kind("zq-kind")
    };
    let mut builder = Health::builder()
        .add(named(Dependency::new("zq-database", up)))
        .add(named(Dependency::new("zq\"<b>\u{e9}", up)))
        .info("zq-field", "zq-9.8.7")
        .info("version", "zq-7313");
    builder = match state {
        State::Degraded => builder.add(named(Dependency::new("zq-search", down)).optional()),
        State::Down => builder.add(named(Dependency::new("zq-search", down))),
        State::Starting => builder
            .add(named(hanging("zq-search")))
            .answer_within(Duration::ZERO),
        _ => builder,
    };
    put_into(builder.build(), state, "zq-maintenance 7313")
}

/// The same states of an app with nothing to hide.
fn open(state: State) -> Health {
    let up = async || Ok(Outcome::up());
    let down = async || Err(Failure::new(Reason::Failed));
    let mut builder = Health::builder().add(Dependency::new("a", up).group("storage"));
    builder = match state {
        State::Degraded => builder.add(Dependency::new("b", down).group("storage").optional()),
        State::Down => builder.add(Dependency::new("b", down).group("storage")),
        State::Starting => builder
            .add(hanging("b").group("storage"))
            .answer_within(Duration::ZERO),
        _ => builder,
    };
    put_into(builder.build(), state, "x")
}

fn hanging(name: &'static str) -> Dependency {
    let hangs = async || {
        std::future::pending::<()>().await;
        Ok(Outcome::up())
    };
    Dependency::new(name, hangs).timeout(Duration::from_secs(3_600))
}

fn put_into(health: Health, state: State, why: &'static str) -> Health {
    match state {
        State::Starting => {}
        State::Draining => health.set_draining(true),
        State::Maintenance => health.take_out(why),
        _ => health.set_started(),
    }
    health
}

/// Writes all that it is given, by every means that a renderer has.
struct Blabbing;

impl Render for Blabbing {
    fn content_type(&self) -> &'static str {
        "application/x-all"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let entries = view.entries().iter().map(|entry| {
            let observations: Vec<_> = entry.observations().collect();
            format!("{entry:?} {observations:?} {:?}", view.time_of(entry))
        });
        let entries: String = entries.collect();
        let whole = (
            view.reason(),
            view.message(),
            view.info(),
            view.groups(),
            view.made_at(),
        );
        format!("{view:?} {whole:?} {entries}").into_bytes()
    }
}

/// Where the path has the same name, whatever the app.
const PATHS: [&str; 13] = [
    "/livez",
    "/readyz",
    "/startupz",
    "/health",
    "/storage",
    "/json",
    "/health-json",
    "/spring",
    "/text",
    "/openmetrics",
    "/own",
    "/page",
    "/foreign",
];

async fn serve(health: Health) -> SocketAddr {
    let operators = Access::networks(["203.0.113.0/24"])
        .and_then(|access| access.trusted_proxies(["198.51.100.7"]))
        .expect("valid");
    let mut layer = HealthLayer::new(health)
        .details(Access::bearer([TOKEN]).or(operators))
        .path("/storage", Probe::group("storage"));
    for (path, format) in [
        ("/json", Format::json()),
        ("/health-json", Format::health_json()),
        ("/spring", Format::spring()),
        ("/text", Format::text()),
        ("/openmetrics", Format::openmetrics()),
        ("/own", Format::custom(Blabbing)),
        #[cfg(feature = "html")]
        ("/page", Format::html()),
    ] {
        layer = layer.path_with_format(path, Probe::Readiness, format);
    }
    let app = Router::new()
        .route("/foreign", get(async || "the app's own"))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What is asked, and by whom it pretends to be.
#[derive(Clone, Debug)]
struct Question {
    method: Method,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
}

fn walk() -> Vec<Question> {
    let below = [
        "/zq-database",
        "/zq%2Ddatabase",
        "/zq%22%3Cb%3E%C3%A9",
        "/nobody",
        "/",
        "/a/b",
    ];
    let queries = [
        "",
        "?verbose",
        "?exclude=zq-search",
        "?verbose=1&exclude=zq-group&exclude=nobody",
    ];
    let accepts = [
        "*/*",
        "application/json",
        "application/health+json",
        "application/vnd.spring-boot.actuator.v3+json",
        "text/plain",
        "application/openmetrics-text",
        "text/html",
        "application/vnd.tower-health.page+json",
        "image/png",
    ];
    let disguises = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("authorization", "Bearer"),
        ("authorization", "Bearer zq-toke"),
        ("authorization", "Bearer zq-tokens"),
        ("authorization", "Basic enEtdG9rZW4="),
        ("authorization", "zq-token"),
        ("cookie", "authorization=Bearer zq-token"),
        ("x-http-method-override", "POST"),
        ("range", "bytes=0-1"),
        ("if-none-match", "*"),
        ("origin", "https://example.org"),
        ("te", "trailers"),
    ];
    let methods = [
        "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "ZQ",
    ];
    let mut questions = Vec::new();
    let mut push = |method: &str, target: &str, headers: &[(&'static str, &'static str)]| {
        questions.push(Question {
            method: method.parse().expect("a method"),
            target: target.to_owned(),
            headers: headers.to_vec(),
        });
    };
    for path in PATHS {
        for accept in accepts {
            for query in queries {
                push("GET", &format!("{path}{query}"), &[("accept", accept)]);
            }
            for below in below {
                push("GET", &format!("{path}{below}"), &[("accept", accept)]);
            }
        }
        for below in [""].iter().chain(&below) {
            let target = format!("{path}{below}");
            for query in queries {
                push("GET", &format!("{target}{query}"), &[]);
            }
            for method in methods {
                push(method, &target, &[]);
            }
        }
        for below in ["", below[0]] {
            for disguise in disguises {
                push("GET", &format!("{path}{below}"), &[disguise]);
            }
        }
    }
    questions
}

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
async fn a_stranger_learns_the_status_and_no_more() {
    let questions = walk();
    for state in STATES {
        let mut secretive = wire::http1(serve(secretive(state)).await).await;
        let mut open = wire::http1(serve(open(state)).await).await;
        // The first asker finds a cold cache; whoever comes later must not know the difference.
        for question in &questions {
            let answer = ask(&mut secretive, question).await;
            assert!(!tells(&answer), "{state:?} {question:?} {answer:?}");
            let expected = ask(&mut open, question).await;
            assert_eq!(answer, expected, "{state:?} {question:?}");
        }
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
    let mut answers = Vec::new();
    for state in STATES {
        let layer = HealthLayer::new(secretive(state)).allow(Access::bearer([TOKEN]));
        for layer in [layer.clone(), layer.conceal()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let address = listener.local_addr().expect("bound");
            let app = Router::new().layer(layer);
            tokio::spawn(async move { axum::serve(listener, app).await });
            let mut connection = wire::http1(address).await;
            let mut seen = Vec::new();
            for question in walk()
                .iter()
                .filter(|question| question.target.starts_with("/readyz"))
            {
                seen.push(ask(&mut connection, question).await);
            }
            answers.push(seen);
        }
    }
    for pair in answers.chunks(2) {
        assert_eq!(pair[0], answers[0], "the state shows");
        assert_eq!(pair[1], answers[1], "the state shows");
    }
    for answer in answers[0]
        .iter()
        .filter(|answer| answer.0 != StatusCode::NOT_FOUND)
    {
        assert_eq!((answer.0, answer.2.len()), (StatusCode::FORBIDDEN, 0));
    }
    assert!(
        answers[1]
            .iter()
            .all(|answer| answer.0 == StatusCode::NOT_FOUND)
    );
    assert!(!answers.iter().flatten().any(tells));
}

//! Hostile requests over raw sockets: exact matching, no smuggling past a probe, bounded work, no hang.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    middleware::map_response,
    response::Response,
    routing::{any, post},
};
use bytes::Bytes;
use http::HeaderValue;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tower::{Layer, make::Shared};
use tower_health::{Access, Health, HealthLayer};

use crate::helpers::{
    server::{down, listen, serve_axum, serve_hyper, up},
    wire::{self, Wire, soon},
};

/// More than this of one request is more than any bound.
const ENOUGH: usize = 64 << 20;

/// One hostile connection.
struct Case {
    send: Vec<u8>,
    /// Sent after it, again and again until the server stops reading.
    endless: Vec<u8>,
    /// `probe 200; app 200; probe 200 head`: the sender and code of each response. No body follows a `head`.
    answers: String,
    /// Whether the next request is answered; otherwise the server ends the connection.
    stays_open: bool,
}

const OPEN: bool = true;
const CLOSED: bool = false;

fn case(send: impl AsRef<[u8]>, answers: &str, stays_open: bool) -> Case {
    Case {
        send: send.as_ref().to_vec(),
        endless: Vec::new(),
        answers: answers.to_owned(),
        stays_open,
    }
}

/// `start` is a method and a target; `lines` are further headers, each with its end.
fn request(start: &str, lines: &str) -> String {
    format!("{start} HTTP/1.1\r\nhost: test\r\n{lines}\r\n")
}

/// Targets that match a probe, or a dependency below one.
const PROBES: &str = "/readyz /readyz??&&==%% /readyz?%00%0d%0a /readyz?a=/readyz/x http://test/readyz \
    https://other:99/readyz?x http://user:secret@test/readyz http://[::1]:1/readyz /health/data%62ase";

/// Targets that are similar to one and reach the app.
const OTHERS: &str = "readyz http://test/?/readyz //readyz /./readyz /x/../readyz /readyz/ /readyz/.. \
    /readyz/%2e%2e /readyz/a/b /%72eadyz /READYZ /readyzz /ready /readyz%00 /readyz%0d%0ax-injected:%201 \
    /readyz%2fdatabase /readyz;jsessionid=1 /health/% /health/%zz /health/%ff%fe /health/%2fdatabase \
    /health/database/ /health/database%0d%0aset-cookie:%20a=b /health/b\u{fc}ro /livez/database *";

/// All but `GET` and `HEAD`.
const METHODS: &str = "POST OPTIONS TRACE CONNECT get GETT !#$%&'*+-.^_`|~0";

/// Headers that the layer reads, and two that could end a response early.
const FIELDS: [&str; 7] = [
    "host: other\r\n",
    "accept: \r\naccept: ,;q=x,*/*;q=2,\"\r\n",
    "authorization: Bearer\r\nauthorization: \u{fc}\u{1f980}\r\n",
    "x-forwarded-for: 127.0.0.1, ::1, %00\r\nforwarded: for=\"[::1]\";;=,\\\r\n",
    "x-real-ip: ,\r\nvia: \u{fc}\r\n",
    "expect: 100-continue\r\n",
    "range: bytes=0-1\r\nif-none-match: *\r\naccept-encoding: gzip\r\n",
];

/// Requests for a probe with a body that holds another request, or the beginning of one.
///
/// The body is skipped, or else the connection ends: no part of it becomes a request.
fn smuggling() -> Vec<Case> {
    let get = request("GET /smuggled", "");
    let (length, chunked) = (get.len(), "transfer-encoding: chunked\r\n");
    let exact = format!("content-length: {length}\r\n");
    let longer = format!("content-length: {}\r\n", length + 1);
    let both = format!("{chunked}content-length: 3\r\n");
    let mut cases = Vec::new();
    for (method, answer) in [("POST", "probe 405"), ("GET", "probe 200")] {
        for (lines, body, stays_open) in [
            (&*exact, get.clone(), OPEN),
            (&longer, get.clone(), CLOSED),
            (chunked, format!("{length:x}\r\n{get}\r\n0\r\n\r\n"), OPEN),
            (chunked, format!("ffffffffffffffff\r\n{get}"), CLOSED),
            (&both, format!("0\r\n\r\n{get}"), CLOSED),
        ] {
            let head = request(&format!("{method} /readyz"), lines);
            cases.push(case(head + &body, answer, stays_open));
        }
    }
    cases
}

/// Large or endless parts of a request.
fn bounds() -> Vec<Case> {
    let long = "a".repeat(60_000);
    let (encoded, segments) = ("%61".repeat(20_000), "/x".repeat(30_000));
    let fields = format!("x-forwarded-for: {long}\r\naccept: {long}\r\n");
    let mut cases = vec![case(request("GET /readyz", &fields), "probe 200", OPEN)];
    for (target, answer) in [
        (format!("/readyz?{long}"), "probe 200"),
        (format!("/health/{long}"), "app 200"),
        (format!("/health/{encoded}"), "app 200"),
        (segments, "app 200"),
    ] {
        cases.push(case(request(&format!("GET {target}"), ""), answer, OPEN));
    }
    // The answer does not wait for the body, and the rest of it is not read.
    for (start, answer) in [("POST /readyz", "probe 405"), ("GET /readyz", "probe 200")] {
        for (lines, endless) in [
            ("content-length: 1000000000\r\n", vec![b'x'; 65_536]),
            (
                "transfer-encoding: chunked\r\n",
                b"1\r\nx\r\n".repeat(1_000),
            ),
        ] {
            let case = case(request(start, lines), answer, CLOSED);
            cases.push(Case { endless, ..case });
        }
    }
    cases
}

fn pipelines() -> Vec<Case> {
    let mixed = [
        request("GET /readyz", "content-length: 5\r\n") + "hello",
        request("GET /", ""),
        request("POST /health", "transfer-encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        request("HEAD /readyz", ""),
        request("POST /echo", "content-length: 5\r\n") + "hello",
    ];
    let answers = "probe 200; app 200; probe 405; probe 200 head; app 200";
    let last = request("GET /readyz", "connection: close\r\n");
    vec![
        case(mixed.concat().repeat(50), &[answers; 50].join("; "), OPEN),
        case(last + &request("GET /smuggled", ""), "probe 200", CLOSED),
        case("GET /readyz HTTP/1.0\r\n\r\n", "probe 200", CLOSED),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = smuggling();
    cases.extend(bounds());
    cases.extend(pipelines());
    for (targets, answer) in [(PROBES, "probe 200"), (OTHERS, "app 200")] {
        let requests = targets
            .split(' ')
            .map(|target| request(&format!("GET {target}"), ""));
        cases.extend(requests.map(|request| case(request, answer, OPEN)));
    }
    let requests = METHODS
        .split(' ')
        .map(|name| request(&format!("{name} /readyz"), ""));
    cases.extend(requests.map(|request| case(request, "probe 405", OPEN)));
    let requests = FIELDS.map(|lines| request("GET /readyz", lines));
    cases.extend(requests.map(|request| case(request, "probe 200", OPEN)));
    cases
}

/// Each of its responses has a header that the layer does not send.
fn app(smuggled: &Arc<AtomicBool>) -> Router {
    let smuggled = smuggled.clone();
    Router::new()
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/smuggled",
            any(async move || smuggled.store(true, Ordering::SeqCst)),
        )
        .fallback(async || "app")
        .layer(map_response(async |mut response: Response| {
            let headers = response.headers_mut();
            headers.insert("x-inner", HeaderValue::from_static("yes"));
            response
        }))
}

/// The rules read all their headers, and then every caller gets details.
fn layer(health: Health) -> HealthLayer {
    let proxied = Access::networks(["203.0.113.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.1"]))
        .expect("valid");
    let details = Access::bearer(["token"])
        .or(proxied)
        .or(Access::everybody());
    HealthLayer::new(health).details(details)
}

async fn assert_survives(address: SocketAddr, smuggled: &AtomicBool, up: bool) {
    let mut faults = Vec::new();
    for case in cases() {
        let answers = match up {
            true => case.answers.clone(),
            false => case.answers.replace("probe 200", "probe 503"),
        };
        let (found, next) = converse(address, &case).await;
        let after = case.stays_open.then_some("probe 200");
        let is_smuggled = smuggled.swap(false, Ordering::SeqCst);
        if found != answers || next.as_deref() != after || is_smuggled {
            let sent = String::from_utf8_lossy(&case.send).into_owned();
            faults.push(format!(
                "{sent:.200?}: {found:.200}, {next:?}, {is_smuggled}"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(wire::get(address, "/").await.body, "app");
}

/// The answers, and the one that follows: to a further request if the connection should be open.
async fn converse(address: SocketAddr, case: &Case) -> (String, Option<String>) {
    let mut wire = Wire::connect(address).await;
    let mut write = wire.write.take().expect("is there");
    let (send, endless) = (case.send.clone(), case.endless.clone());
    // The server may stop reading: then the writes fail.
    let sending = tokio::spawn(async move {
        write.write_all(&send).await.ok()?;
        let rounds = ENOUGH.checked_div(endless.len()).unwrap_or(0);
        for _ in 0..rounds {
            write.write_all(&endless).await.ok()?;
        }
        assert_eq!(rounds, 0, "the server read {ENOUGH} bytes of one request");
        Some(write)
    });
    let mut answers = Vec::new();
    for expected in case.answers.split("; ") {
        let is_head = expected.ends_with(" head");
        let Some(answer) = answer(&mut wire, is_head).await else {
            break;
        };
        answers.push(answer + if is_head { " head" } else { "" });
    }
    let mut writer = soon(sending).await.expect("no panic");
    if case.stays_open
        && let Some(write) = writer.as_mut()
    {
        let _ = write.write_all(request("GET /livez", "").as_bytes()).await;
    }
    (answers.join("; "), answer(&mut wire, false).await)
}

/// The sender and the code of the next response; `None` if the connection ends before it.
async fn answer(wire: &mut Wire, is_head: bool) -> Option<String> {
    let answer = wire.try_answer(is_head).await?;
    let from = match answer.header("x-inner") {
        Some(_) => "app",
        None if answer.is_probe() => "probe",
        None => "server",
    };
    Some(format!("{from} {}", answer.code))
}

#[tokio::test]
async fn a_router_with_the_layer_survives() {
    let smuggled = Arc::default();
    let address = serve_axum(app(&smuggled).layer(layer(up()))).await;
    assert_survives(address, &smuggled, true).await;
}

#[tokio::test]
async fn a_wrapped_router_that_is_down_survives() {
    let smuggled = Arc::default();
    let service = Shared::new(layer(down()).keep_body_type().layer(app(&smuggled)));
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, service).await });
    assert_survives(address, &smuggled, false).await;
}

#[tokio::test]
async fn plain_hyper_survives() {
    let smuggled = Arc::default();
    let service = TowerToHyperService::new(layer(up()).layer(app(&smuggled)));
    assert_survives(serve_hyper(service).await, &smuggled, true).await;
}

//! Hostile requests over raw sockets: no target evades the matching, and no body of a probe becomes a request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tower::{BoxError, Layer, service_fn};
use tower_health::{Access, HealthLayer};

use crate::helpers::{
    server::{serve_hyper, up},
    wire::Wire,
};

/// Targets that match a probe, or a dependency below one.
const PROBES: &str = "/readyz /readyz??&&==%% /readyz?%00%0d%0a /readyz?a=/readyz/x http://test/readyz \
    https://other:99/readyz?x http://user:secret@test/readyz http://[::1]:1/readyz /health/data%62ase";

/// Targets that are similar to one and reach the app.
const OTHERS: &str = "readyz http://test/?/readyz //readyz /./readyz /x/../readyz /readyz/ /readyz/.. \
    /readyz/%2e%2e /readyz/a/b /%72eadyz /READYZ /readyz%00 /readyz%0d%0ax-injected:%201 \
    /readyz%2fdatabase /readyz;jsessionid=1 /health/% /health/%zz /health/%ff%fe /health/%2fdatabase \
    /health/database/ /health/database%0d%0aset-cookie:%20a=b /health/b\u{fc}ro /livez/database *";

/// `start` is a method and a target; `lines` are further headers, each with its end.
fn request(start: &str, lines: &str) -> String {
    format!("{start} HTTP/1.1\r\nhost: test\r\n{lines}\r\n")
}

/// What is sent over one connection; the sender and code of each response, `head` if it has no body; and
/// whether the next request is answered. Otherwise the server ends the connection.
type Case = (String, String, bool);

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
            (&*exact, get.clone(), true),
            (&longer, get.clone(), false),
            // The answer does not wait for the body.
            ("content-length: 1000000000\r\n", String::new(), false),
            (chunked, String::new(), false),
            (chunked, format!("{length:x}\r\n{get}\r\n0\r\n\r\n"), true),
            (chunked, format!("ffffffffffffffff\r\n{get}"), false),
            (&both, format!("0\r\n\r\n{get}"), false),
        ] {
            let head = request(&format!("{method} /readyz"), lines);
            cases.push((head + &body, answer.to_owned(), stays_open));
        }
    }
    cases
}

fn cases() -> Vec<Case> {
    let mut cases = smuggling();
    let mixed = [
        request("GET /readyz", "content-length: 5\r\n") + "hello",
        request("GET /", ""),
        request("POST /health", "transfer-encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        request("HEAD /readyz", ""),
        request("POST /", "content-length: 5\r\n") + "hello",
    ];
    let answers = "probe 200; app 200; probe 405; probe 200 head; app 200";
    cases.push((mixed.concat().repeat(9), [answers; 9].join("; "), true));
    for (targets, answer) in [(PROBES, "probe 200"), (OTHERS, "app 200")] {
        for target in targets.split(' ') {
            let request = request(&format!("GET {target}"), "");
            cases.push((request, answer.to_owned(), true));
        }
    }
    cases
}

/// The sender and the code of the next response; `None` if the connection ends before it.
async fn answer(wire: &mut Wire, is_head: bool) -> Option<String> {
    let answer = wire.try_answer(is_head).await?;
    let from = match answer.is_probe() {
        true => "probe",
        false if answer.body == "app" => "app",
        false => "server",
    };
    let head = if is_head { " head" } else { "" };
    Some(format!("{from} {}{head}", answer.code))
}

#[tokio::test]
async fn no_probe_hides_a_request_and_no_target_evades_matching() {
    let passed = Arc::new(AtomicUsize::new(0));
    let count = passed.clone();
    let app = service_fn(move |request: Request<Incoming>| {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            drop(request);
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("app")))
        }
    });
    let layer = HealthLayer::new(up()).details(Access::everybody());
    let address = serve_hyper(TowerToHyperService::new(layer.layer(app))).await;
    for (sent, expected, stays_open) in cases() {
        let mut wire = Wire::connect(address).await;
        wire.send(&sent).await;
        let mut answers = Vec::new();
        for expected in expected.split("; ") {
            answers.extend(answer(&mut wire, expected.ends_with(" head")).await);
        }
        assert_eq!(answers.join("; "), expected, "{sent:?}");
        let mut write = wire.write.take().expect("is there");
        // The server may have ended the connection: then the write fails.
        let _ = write.write_all(request("GET /livez", "").as_bytes()).await;
        let next = answer(&mut wire, false).await;
        assert_eq!(
            next.as_deref(),
            stays_open.then_some("probe 200"),
            "{sent:?}"
        );
        let expected = expected.matches("app").count();
        assert_eq!(passed.swap(0, Ordering::SeqCst), expected, "{sent:?}");
    }
}

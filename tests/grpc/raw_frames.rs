//! Calls that no well-behaved client sends, frame by frame: tonic's answers, and our limits on top.

use std::{convert::Infallible, time::Duration};

use crate::helpers::frames::{CHECK, EMPTY, GRPC, call, request};
use crate::helpers::grpc::serve;
use http::{Method, StatusCode};
use tower_health::{Dependency, Health, Outcome};

#[tokio::test]
async fn a_well_formed_call_ends_with_trailers() {
    let address = serve(Health::builder().build().grpc_service()).await;
    // Cut in different ways.
    let table: [&[&'static [u8]]; 3] = [
        &[EMPTY],
        &[b"\0", b"\0\0\0", b"\0"],
        &[b"\0\0\0\0\x02", b"\x10\x07"],
    ];
    for chunks in table {
        let found = call(address, request(Method::POST, CHECK, &[GRPC]), chunks, true).await;
        assert_eq!(found.head.status, StatusCode::OK);
        assert_eq!(found.head.headers["content-type"], "application/grpc");
        assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x01", "{chunks:?}");
        let trailers = found.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert!(!found.head.headers.contains_key("grpc-status"));
        assert!(!found.head.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn malformed_calls_are_refused_in_the_head() {
    let address = serve(Health::builder().build().grpc_service()).await;
    let post = || request(Method::POST, CHECK, &[GRPC]);
    let gzip = [GRPC, ("grpc-encoding", "gzip")];
    // Request, chunks, whether the caller ends its side, grpc-status.
    type Row = (
        &'static str,
        http::request::Builder,
        &'static [&'static [u8]],
        bool,
        &'static str,
    );
    let table: [Row; 12] = [
        ("no message", post(), &[], true, "13"),
        ("half a message", post(), &[b"\0\0\0\0\x05ab"], true, "13"),
        (
            "compressed",
            request(Method::POST, CHECK, &gzip),
            &[b"\x01\0\0\0\0"],
            true,
            "12",
        ),
        (
            "compressed without an encoding",
            post(),
            &[b"\x01\0\0\0\0"],
            true,
            "13",
        ),
        ("an invalid flag", post(), &[b"\x02\0\0\0\0"], false, "13"),
        // One byte over the limit, and none of it is sent.
        ("too large", post(), &[b"\0\0\0\x04\x01"], false, "11"),
        (
            "the largest number",
            post(),
            &[b"\0\xff\xff\xff\xff"],
            false,
            "11",
        ),
        (
            "no protobuf",
            post(),
            &[b"\0\0\0\0\x02\xff\xff"],
            true,
            "13",
        ),
        (
            "no UTF-8",
            post(),
            &[b"\0\0\0\0\x03\x0a\x01\xff"],
            true,
            "13",
        ),
        (
            "unknown method",
            request(Method::POST, "/grpc.health.v1.Health/Cheque", &[GRPC]),
            &[EMPTY],
            true,
            "12",
        ),
        (
            "unknown service",
            post(),
            &[b"\0\0\0\0\x03\x0a\x01x"],
            true,
            "5",
        ),
        (
            "a GET without a message",
            request(Method::GET, CHECK, &[GRPC]),
            &[],
            true,
            "13",
        ),
    ];
    for (case, request, chunks, ends, status) in table {
        let found = call(address, request, chunks, ends).await;
        assert_eq!(found.head.status, StatusCode::OK, "{case}");
        assert_eq!(found.status(), Some(status), "{case}");
        assert_eq!(
            found.head.headers["content-type"], "application/grpc",
            "{case}"
        );
        // Trailers-only.
        assert_eq!((found.body.len(), found.trailers), (0, None), "{case}");
    }
}

/// tonic does not read it, and neither does tonic-health.
#[tokio::test]
async fn the_content_type_is_read_as_by_tonic_health() {
    let ours = serve(Health::builder().build().grpc_service()).await;
    let theirs = tonic_health::server::health_reporter().1;
    let theirs = crate::helpers::grpc::serve_any(theirs).await;
    for content_type in [
        "",
        "application/json",
        "application/grpc-web",
        "application/grpc+proto",
    ] {
        let mut answers = Vec::new();
        for address in [ours, theirs] {
            let headers = [("content-type", content_type)];
            let headers = if content_type.is_empty() {
                &[][..]
            } else {
                &headers
            };
            let request = request(Method::POST, CHECK, headers);
            let found = call(address, request, &[EMPTY], true).await;
            let status = found.status().map(ToOwned::to_owned);
            answers.push((found.head.status, status, found.body));
        }
        assert_eq!(answers[0], answers[1], "{content_type:?}");
    }
}

#[tokio::test]
async fn compression_may_be_announced_and_not_used() {
    let address = serve(Health::builder().build().grpc_service()).await;
    let headers = [GRPC, ("grpc-accept-encoding", "gzip")];
    let request = request(Method::POST, CHECK, &headers);
    let found = call(address, request, &[EMPTY], true).await;
    assert_eq!(found.status(), Some("0"));
}

/// Without a result in time a check is answered, and not left to the client's deadline.
#[tokio::test]
async fn a_check_is_answered_within_the_maximum_wait() {
    let hangs = Dependency::new("hangs", async || {
        std::future::pending::<Infallible>().await;
        Ok(Outcome::up())
    });
    let health = Health::builder()
        .add(hangs.timeout(Duration::from_secs(600)))
        .answer_within(Duration::from_millis(50))
        .build();
    let address = serve(health.grpc_service()).await;
    let request = request(Method::POST, CHECK, &[GRPC, ("grpc-timeout", "20S")]);
    let found = call(address, request, &[EMPTY], true).await;
    assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x02");
    assert_eq!(found.status(), Some("0"));
}

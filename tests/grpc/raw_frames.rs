//! What is no well-formed call gets the status that the protocol has for it, and at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::helpers::frames::{CHECK, EMPTY, GRPC, call, request};
use crate::helpers::grpc::serve;
use http::{Method, StatusCode};
use tower_health::{Dependency, Health, HealthLayer, Outcome};

#[tokio::test]
async fn a_good_call_ends_with_trailers() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    // However the frame is cut, and whether or not the caller has ended its side.
    let table: [(&[&'static [u8]], bool); 4] = [
        (&[EMPTY], true),
        (&[EMPTY], false),
        (&[b"\0", b"\0\0\0", b"\0"], true),
        (&[b"\0\0\0\0\x02", b"\x10\x07"], false),
    ];
    for (chunks, ends) in table {
        let found = call(address, request(Method::POST, CHECK, &[GRPC]), chunks, ends).await;
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
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    let post = |headers: &[(&str, &str)]| request(Method::POST, CHECK, headers);
    let gzip = [GRPC, ("grpc-encoding", "gzip")];
    // Request, chunks, whether the caller ends its side, HTTP code, grpc-status.
    type Row = (
        &'static str,
        http::request::Builder,
        &'static [&'static [u8]],
        bool,
        u16,
        &'static str,
    );
    let table: [Row; 22] = [
        (
            "GET",
            request(Method::GET, CHECK, &[GRPC]),
            &[],
            true,
            405,
            "13",
        ),
        (
            "PUT",
            request(Method::PUT, CHECK, &[GRPC]),
            &[EMPTY],
            true,
            405,
            "13",
        ),
        ("no content-type", post(&[]), &[EMPTY], true, 415, "3"),
        (
            "JSON",
            post(&[("content-type", "application/json")]),
            &[EMPTY],
            true,
            415,
            "3",
        ),
        (
            "grpc-web",
            post(&[("content-type", "application/grpc-web")]),
            &[EMPTY],
            true,
            415,
            "3",
        ),
        (
            "a codec of its own",
            post(&[("content-type", "application/grpc+json")]),
            &[EMPTY],
            true,
            200,
            "12",
        ),
        ("no message", post(&[GRPC]), &[], true, 200, "13"),
        ("half a prefix", post(&[GRPC]), &[b"\0\0"], true, 200, "13"),
        (
            "half a message",
            post(&[GRPC]),
            &[b"\0\0\0\0\x05ab"],
            true,
            200,
            "13",
        ),
        (
            "compressed",
            post(&gzip),
            &[b"\x01\0\0\0\0"],
            true,
            200,
            "12",
        ),
        (
            "compressed by nothing",
            post(&[GRPC]),
            &[b"\x01\0\0\0\0"],
            true,
            200,
            "13",
        ),
        (
            "a flag that is none",
            post(&[GRPC]),
            &[b"\x02\0\0\0\0"],
            false,
            200,
            "13",
        ),
        (
            "two messages",
            post(&[GRPC]),
            &[b"\0\0\0\0\0\0\0\0\0\0"],
            true,
            200,
            "13",
        ),
        (
            "too large",
            post(&[GRPC]),
            &[b"\0\0\x01\0\x01"],
            false,
            200,
            "8",
        ),
        (
            "the largest number",
            post(&[GRPC]),
            &[b"\0\xff\xff\xff\xff"],
            false,
            200,
            "8",
        ),
        (
            "no protobuf",
            post(&[GRPC]),
            &[b"\0\0\0\0\x02\xff\xff"],
            true,
            200,
            "13",
        ),
        (
            "no UTF-8",
            post(&[GRPC]),
            &[b"\0\0\0\0\x03\x0a\x01\xff"],
            true,
            200,
            "13",
        ),
        (
            "no timeout",
            post(&[GRPC, ("grpc-timeout", "soon")]),
            &[EMPTY],
            true,
            200,
            "13",
        ),
        (
            "never sent",
            post(&[GRPC, ("grpc-timeout", "50m")]),
            &[],
            false,
            200,
            "4",
        ),
        (
            "never all sent",
            post(&[GRPC, ("grpc-timeout", "50m")]),
            &[b"\0\0\0\0\x02a"],
            false,
            200,
            "4",
        ),
        (
            "unknown method",
            request(Method::POST, "/grpc.health.v1.Health/Cheque", &[GRPC]),
            &[EMPTY],
            true,
            200,
            "12",
        ),
        (
            "unknown service",
            post(&[GRPC]),
            &[b"\0\0\0\0\x03\x0a\x01x"],
            true,
            200,
            "5",
        ),
    ];
    for (case, request, chunks, ends, code, status) in table {
        let found = call(address, request, chunks, ends).await;
        assert_eq!(found.head.status.as_u16(), code, "{case}");
        assert_eq!(found.status(), Some(status), "{case}");
        // Trailers-only.
        assert_eq!(
            found.head.headers["content-type"], "application/grpc",
            "{case}"
        );
        assert!(found.head.headers.contains_key("grpc-message"), "{case}");
        assert_eq!((found.body.len(), found.trailers), (0, None), "{case}");
    }
    let not_allowed = call(address, request(Method::GET, CHECK, &[]), &[], true).await;
    assert_eq!(not_allowed.head.headers["allow"], "POST");
    let compressed = call(address, post(&gzip), &[b"\x01\0\0\0\0"], true).await;
    assert_eq!(compressed.head.headers["grpc-accept-encoding"], "identity");
}

#[tokio::test]
async fn compression_may_be_announced_and_not_used() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    let headers = [
        GRPC,
        ("grpc-encoding", "gzip"),
        ("grpc-accept-encoding", "gzip"),
    ];
    let found = call(
        address,
        request(Method::POST, CHECK, &headers),
        &[EMPTY],
        true,
    )
    .await;
    assert_eq!(found.status(), Some("0"));
}

#[tokio::test]
async fn other_paths_reach_the_inner_service() {
    let address = serve(HealthLayer::new(Health::builder().build())).await;
    for path in [
        "/grpc.health.v1.Health",
        "/grpc.health.v1.Health/",
        "/grpc.health.v1.Health/Check/x",
        "/grpc.health.v1.health/Check",
        "/grpc.health.v2.Health/Check",
        "/x/grpc.health.v1.Health/Check",
    ] {
        let found = call(
            address,
            request(Method::POST, path, &[GRPC]),
            &[EMPTY],
            true,
        )
        .await;
        // tonic's word for a service that it has not; ours comes with a message.
        assert_eq!(found.status(), Some("12"), "{path}");
        assert!(!found.head.headers.contains_key("grpc-message"), "{path}");
    }
}

#[tokio::test]
async fn the_deadline_bounds_the_wait() {
    let hangs = || {
        Dependency::new("hangs", async || {
            std::future::pending::<()>().await;
            Ok(Outcome::up())
        })
        .timeout(Duration::from_secs(600))
    };
    let unknown = serve(HealthLayer::new(
        Health::builder()
            .add(hangs())
            .answer_within(Duration::from_secs(600))
            .build(),
    ))
    .await;
    let headers = [GRPC, ("grpc-timeout", "100m")];
    let ask = || request(Method::POST, CHECK, &headers);
    let found = call(unknown, ask(), &[EMPTY], true).await;
    assert_eq!(found.status(), Some("4"), "no verdict");
    // A watch ends with its deadline, and has said what it knew.
    let watch = request(Method::POST, "/grpc.health.v1.Health/Watch", &headers);
    let found = call(unknown, watch, &[EMPTY], true).await;
    assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x02");
    assert_eq!(found.status(), Some("4"));

    // The first run is quick, all others hang: its verdict is the last.
    let first = Arc::new(AtomicBool::new(true));
    let health = Health::builder()
        .add(
            Dependency::new("database", move || {
                let quick = first.swap(false, Ordering::SeqCst);
                async move {
                    if !quick {
                        std::future::pending::<()>().await;
                    }
                    Ok(Outcome::up())
                }
            })
            .cache_for(Duration::ZERO)
            .timeout(Duration::from_secs(600)),
        )
        .answer_within(Duration::from_secs(600))
        .build();
    assert!(health.report().await.status.is_serving());
    let known = serve(HealthLayer::new(health)).await;
    let found = call(known, ask(), &[EMPTY], true).await;
    assert_eq!(&found.body[..], b"\0\0\0\0\x02\x08\x01", "the last verdict");
    assert_eq!(found.status(), Some("0"));
}

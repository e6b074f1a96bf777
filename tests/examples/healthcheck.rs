//! `examples/healthcheck.rs` against servers that are up, down, silent, absent or no servers at all.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use crate::support::{Ended, run_example, unused_port};
use axum::{Router, routing::get};
use tokio::task::block_in_place;
use tower_health::{Failure, Health, HealthLayer, Outcome, Reason};

fn check(arguments: &[&str]) -> Ended {
    run_example("healthcheck", &[], arguments)
}

/// With a timeout for a busy machine.
fn check_slowly(url: &str) -> Ended {
    check(&["--timeout", "30", url])
}

/// A server that sends `bytes` for every request; then it closes the connection or stays silent.
fn answering(bytes: &'static [u8], closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let addr = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // To its end: a close with unread bytes resets the connection.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole request");
            request.extend(byte);
        }
        stream.write_all(bytes).expect("sends");
        if !closes {
            thread::park();
        }
    });
    addr
}

async fn app(address: &str) -> SocketAddr {
    let bad = async || Err::<Outcome, _>(Failure::new(Reason::Refused));
    let health = Health::builder().check("cache", bad).build();
    let router = Router::new()
        .route(
            "/",
            get(async |request: axum::extract::Request| format!("{:?}", request.uri().query())),
        )
        .layer(HealthLayer::new(health));
    let listener = tokio::net::TcpListener::bind(address).await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(axum::serve(listener, router).into_future());
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn up_exits_0_and_down_exits_1_with_one_line() {
    let addr = app("127.0.0.1:0").await;
    for (target, code, line) in [
        ("/livez", 0, "200 {\"status\":\"up\"}\n"),
        ("/readyz", 1, "503 {\"status\":\"down\"}\n"),
        ("/nothing", 1, "404 \n"),
        ("", 0, "200 None\n"),
        ("?a=b", 0, "200 Some(\"a=b\")\n"),
        ("/?a=b#c", 0, "200 Some(\"a=b\")\n"),
    ] {
        let ended = block_in_place(|| check_slowly(&format!("http://{addr}{target}")));
        assert_eq!((ended.code, &*ended.stdout), (Some(code), line), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ipv6_are_found() {
    let port = app("127.0.0.1:0").await.port();
    // `localhost` may resolve to `::1` first, without a listener there.
    let ended = block_in_place(|| check_slowly(&format!("http://localhost:{port}/livez")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: IPv6 is not proved, because nothing binds to it here ({error})");
        return;
    }
    let addr = app("[::1]:0").await;
    let ended = block_in_place(|| check_slowly(&format!("http://{addr}/livez")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Built as its documentation says.
#[test]
fn it_is_one_file_that_needs_std_alone() {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("healthcheck");
    let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "-O",
            "--edition",
            "2024",
            "-C",
            "target-feature=+crt-static",
        ])
        .args(["-C", "strip=symbols", "-o"])
        .arg(&binary)
        .arg("examples/healthcheck.rs")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(rustc.expect("rustc starts").success());
    let addr = answering(b"HTTP/1.1 200 OK\r\n\r\n", true);
    let ended = Command::new(binary)
        .arg(format!("http://{addr}/readyz"))
        .output();
    assert_eq!(ended.expect("starts").status.code(), Some(0));
}

#[test]
fn a_timeout_exits_1() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let silent = silent.local_addr().expect("bound");
    let half = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", false);
    let head = answering(b"HTTP/1.1 20", false);
    for addr in [silent, half, head] {
        let url = format!("http://{addr}/readyz");
        let ended = check(&["--timeout", "0.2", &url]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
}

#[test]
fn refused_and_not_http_exit_1() {
    let refused = format!("http://127.0.0.1:{}/readyz", unused_port());
    let ended = check_slowly(&refused);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("unhealthy: "), "{ended:?}");
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"",
        b"HTTP/1.1 2xx\r\n\r\n",
        b"\xff\xfe\xff\xfe\xff\xfe",
    ] {
        let ended = check_slowly(&format!("http://{}/", answering(bytes, true)));
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
}

#[test]
fn a_long_or_colored_body_is_one_short_line() {
    let addr = answering(b"HTTP/1.1 200 OK\r\n\r\n\x1b[31mred\r\nsecond", true);
    let ended = check_slowly(&format!("http://{addr}/"));
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "200 [31mred\n"));
    let endless: &'static [u8] = Box::leak(
        [b"HTTP/1.1 503 No\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]]
            .concat()
            .into(),
    );
    let listener = answering(endless, false);
    let ended = check_slowly(&format!("http://{listener}/"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.starts_with("503 xxx") && ended.stdout.len() < 600);
}

#[test]
fn invalid_arguments_exit_64_with_the_cause() {
    for (arguments, part) in [
        (&[][..], "the URL is missing"),
        (&["https://127.0.0.1/"], "http://"),
        (&["127.0.0.1/"], "http://"),
        (&["http://"], "no host"),
        (&["http://user:hunter2@host/"], "user"),
        (&["http://host:port/"], "port"),
        (&["http://host:99999/"], "port"),
        (&["http://host/a b"], "character"),
        (&["http://host/\r\nx: y"], "character"),
        (&["http://host/", "http://host/"], "unexpected argument"),
        (&["--help"], "unexpected argument"),
        (&["--timeout", "0", "http://host/"], "--timeout"),
        (&["--timeout", "-1", "http://host/"], "--timeout"),
        (&["--timeout", "soon", "http://host/"], "--timeout"),
        (&["http://host/", "--timeout"], "--timeout"),
    ] {
        let ended = check(arguments);
        assert_eq!(ended.code, Some(64), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains(part), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains("usage: healthcheck"), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
}

//! `examples/healthcheck.rs` against servers that are up, down, silent, absent or no servers at all.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use axum::{Router, extract::Request, routing::get};
use tokio::task::block_in_place;

use crate::support::{Ended, run_example, unused_port};

fn check(arguments: &[&str]) -> Ended {
    run_example("healthcheck", &[], arguments)
}

/// With a timeout for a busy machine.
fn check_slowly(url: &str) -> Ended {
    check(&["--timeout", "30", url])
}

/// A server that sends `bytes` for a request; then it closes the connection or stays silent.
fn answering(bytes: impl Into<Vec<u8>>, closes: bool) -> SocketAddr {
    let bytes = bytes.into();
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
        stream.write_all(&bytes).expect("sends");
        if !closes {
            thread::park();
        }
    });
    addr
}

async fn app(address: &str) -> SocketAddr {
    let query = get(async |request: Request| format!("{:?}", request.uri().query()));
    let down = get(async || (http::StatusCode::SERVICE_UNAVAILABLE, "down"));
    let router = Router::new().route("/", query).route("/readyz", down);
    let listener = tokio::net::TcpListener::bind(address).await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(axum::serve(listener, router).into_future());
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn up_exits_0_and_down_exits_1_with_one_line() {
    let addr = app("127.0.0.1:0").await;
    // `localhost` may resolve to `::1` first, without a listener there.
    let named = format!("localhost:{}", addr.port());
    for (authority, target, code, line) in [
        (addr.to_string(), "/readyz", 1, "503 down\n"),
        (addr.to_string(), "/nothing", 1, "404 \n"),
        (addr.to_string(), "", 0, "200 None\n"),
        (addr.to_string(), "?a=b", 0, "200 Some(\"a=b\")\n"),
        (addr.to_string(), "/?a=b#c", 0, "200 Some(\"a=b\")\n"),
        (named, "/", 0, "200 None\n"),
    ] {
        let ended = block_in_place(|| check_slowly(&format!("http://{authority}{target}")));
        assert_eq!((ended.code, &*ended.stdout), (Some(code), line), "{target}");
    }
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: IPv6 is not proved, because nothing binds to it here ({error})");
        return;
    }
    let addr = app("[::1]:0").await;
    let ended = block_in_place(|| check_slowly(&format!("http://{addr}/")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Built as its documentation says.
#[test]
fn it_is_one_file_that_needs_std_alone() {
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("healthcheck");
    let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["-O", "--edition", "2024", "-C", "strip=symbols"])
        .args(["-C", "target-feature=+crt-static", "-o"])
        .arg(&binary)
        .arg("examples/healthcheck.rs")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(rustc.expect("rustc starts").success());
    let addr = answering("HTTP/1.1 200 OK\r\n\r\n", true);
    let url = format!("http://{addr}/readyz");
    let ended = Command::new(binary).arg(url).output();
    assert_eq!(ended.expect("starts").status.code(), Some(0));
}

#[test]
fn no_response_or_no_http_exits_1() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let silent = silent.local_addr().expect("bound");
    let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", false);
    let head = answering("HTTP/1.1 20", false);
    for addr in [silent, half, head] {
        let ended = check(&["--timeout", "0.2", &format!("http://{addr}/readyz")]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
    let no_http = [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"",
        b"HTTP/1.1 2xx\r\n\r\n",
        b"\xff\xfe\xff\xfe\xff\xfe",
    ];
    let refused = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    for addr in no_http
        .map(|bytes| answering(bytes, true))
        .into_iter()
        .chain([refused])
    {
        let ended = check_slowly(&format!("http://{addr}/"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.starts_with("unhealthy: "), "{ended:?}");
    }
}

#[test]
fn a_long_or_colored_body_is_one_short_line() {
    let addr = answering("HTTP/1.1 200 OK\r\n\r\n\x1b[31mred\r\nsecond", true);
    let ended = check_slowly(&format!("http://{addr}/"));
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "200 [31mred\n"));
    let endless = format!("HTTP/1.1 503 No\r\n\r\n{}", "x".repeat(1 << 20));
    let ended = check_slowly(&format!("http://{}/", answering(endless, false)));
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

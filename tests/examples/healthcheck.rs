//! `examples/healthcheck.rs` against servers that are up, down, silent, absent or no servers at all.

use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use crate::support::{Ended, run_example, unused_port};

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

fn check(arguments: &[&str]) -> Ended {
    run_example("healthcheck", &[], arguments)
}

/// Checks `target` with a timeout for a busy machine.
fn check_slowly(address: impl Display, target: &str) -> Ended {
    check(&["--timeout", "30", &format!("http://{address}{target}")])
}

/// A server for one request. It sends `response`, with `REQUEST` replaced by
/// the request line; then it closes the connection or stays silent.
fn answering(response: &str, closes: bool) -> SocketAddr {
    serve(
        TcpListener::bind("127.0.0.1:0").expect("binds"),
        response,
        closes,
    )
}

fn serve(listener: TcpListener, response: &str, closes: bool) -> SocketAddr {
    let address = listener.local_addr().expect("bound");
    let response = response.to_owned();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // To its end: a close with unread bytes resets the connection.
        let lines = BufReader::new(&stream)
            .lines()
            .map(|line| line.expect("text"));
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let response = response.replace("REQUEST", &head[0]);
        stream.write_all(response.as_bytes()).expect("sends");
        if !closes {
            thread::park();
        }
    });
    address
}

#[test]
fn up_exits_0_and_other_responses_exit_1_with_one_line() {
    let echo = "HTTP/1.1 200 OK\r\n\r\nREQUEST";
    let colored = "HTTP/1.1 200 OK\r\n\r\n\x1b[31mred\r\nsecond";
    let not_http = "unhealthy: the response is not HTTP\n";
    for (target, response, code, line) in [
        ("/readyz", "HTTP/1.1 503 No\r\n\r\ndown", 1, "503 down\n"),
        ("/", "HTTP/1.1 404 Not Found\r\n\r\n", 1, "404 \n"),
        ("", echo, 0, "200 GET / HTTP/1.1\n"),
        ("?a=b", echo, 0, "200 GET /?a=b HTTP/1.1\n"),
        ("/?a=b#c", echo, 0, "200 GET /?a=b HTTP/1.1\n"),
        // One line, without the escape of a color.
        ("/", colored, 0, "200 [31mred\n"),
        ("/", "SSH-2.0-OpenSSH_9.2\r\n", 1, not_http),
        ("/", "HTTP/1.1 2xx\r\n\r\n", 1, not_http),
    ] {
        let address = answering(response, true);
        let ended = check_slowly(address, target);
        assert_eq!((ended.code, &*ended.stdout), (Some(code), line), "{target}");
    }
    let endless = format!("HTTP/1.1 503 No\r\n\r\n{}", "x".repeat(1 << 20));
    let ended = check_slowly(answering(&endless, false), "/");
    assert_eq!((ended.code, ended.stdout.len()), (Some(1), 505));
}

#[test]
fn a_host_may_be_a_name_or_an_ipv6_address() {
    // `localhost` may resolve to `::1` first, without a listener there.
    let named = format!("localhost:{}", answering(OK, true).port());
    assert_eq!(check_slowly(named, "/").code, Some(0));
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return eprintln!("skipped: IPv6 is not proved, because nothing binds to it here");
    };
    let ended = check_slowly(serve(listener, OK, true), "/");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn no_response_exits_1() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let silent = silent.local_addr().expect("bound");
    let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", false);
    for address in [silent, half] {
        let ended = check(&["--timeout", "0.2", &format!("http://{address}/readyz")]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
    let ended = check_slowly(format!("127.0.0.1:{}", unused_port()), "/");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("unhealthy: "), "{ended:?}");
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
    let url = format!("http://{}/readyz", answering(OK, true));
    let ended = Command::new(binary).arg(url).output();
    assert_eq!(ended.expect("starts").status.code(), Some(0));
}

#[test]
fn invalid_arguments_exit_64_with_the_cause() {
    for (arguments, part) in [
        (&[][..], "the URL is missing"),
        (&["https://127.0.0.1/"], "http://"),
        (&["http://"], "no host"),
        (&["http://user:hunter2@host/"], "user"),
        (&["http://host:99999/"], "port"),
        (&["http://host/\r\nx: y"], "character"),
        (&["http://host/", "http://host/"], "unexpected argument"),
        (&["--help"], "unexpected argument"),
        (&["--timeout", "0", "http://host/"], "--timeout"),
        (&["--timeout", "-1", "http://host/"], "--timeout"),
        (&["http://host/", "--timeout"], "--timeout"),
    ] {
        let ended = check(arguments);
        assert_eq!(ended.code, Some(64), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains(part), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains("usage: healthcheck"), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
}

//! A probe client for images without a shell and without curl: one file, `std` alone.
//!
//! ```sh
//! healthcheck [--timeout SECONDS] http://HOST[:PORT]/PATH
//! ```
//!
//! | exit code | |
//! |---|---|
//! | 0 | the status code is 200 to 299 |
//! | 1 | another status code, or no response: refused, not HTTP, or later than the timeout (default: 2 s) |
//! | 64 | the arguments are invalid |
//!
//! Docker uses 0 and 1 and reserves 2. `docker inspect` shows the printed line.
//!
//! ```dockerfile
//! FROM rust AS build
//! COPY examples/healthcheck.rs .
//! RUN rustc -O --edition 2024 -C target-feature=+crt-static -C strip=symbols -o /healthcheck healthcheck.rs
//!
//! FROM scratch
//! COPY --from=build /healthcheck /healthcheck
//! HEALTHCHECK --interval=5s --timeout=3s --retries=3 CMD ["/healthcheck", "http://127.0.0.1:3000/readyz"]
//! ```
//!
//! Use an address, not a name: a scratch image has no resolver.

use std::{
    env,
    io::{self, Read, Write},
    net::TcpStream,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

const USAGE: &str = "usage: healthcheck [--timeout SECONDS] http://HOST[:PORT]/PATH";

/// Longer than any response head and the printed part of a body.
const MAX_READ: u64 = 16 * 1024;

/// `EX_USAGE` of `sysexits.h`.
const WRONG_USAGE: u8 = 64;

struct ProbeRequest {
    host: String,
    port: u16,
    /// The value of the `host` header.
    authority: String,
    target: String,
    timeout: Duration,
}

fn main() -> ExitCode {
    let request = match parse(env::args().skip(1)) {
        Ok(request) => request,
        Err(fault) => {
            eprintln!("{fault}\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let timeout = request.timeout;
    let (sender, result) = mpsc::channel();
    // In a separate thread: no socket option limits DNS, connect and response together.
    thread::spawn(move || sender.send(probe(&request)));
    match result.recv_timeout(timeout) {
        Ok(Ok((code, line))) => {
            println!("{code} {line}");
            ExitCode::from(u8::from(!(200..300).contains(&code)))
        }
        Ok(Err(error)) => {
            println!("unhealthy: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("unhealthy: no response within {} s", timeout.as_secs_f64());
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<ProbeRequest, String> {
    let mut timeout = Duration::from_secs(2);
    let mut url = None;
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--timeout" {
            let seconds = arguments.next().unwrap_or_default();
            timeout = (seconds.parse().ok())
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|timeout| !timeout.is_zero())
                .ok_or(format!("--timeout {seconds:?} is not a number of seconds"))?;
        } else if argument.starts_with('-') || url.replace(argument.clone()).is_some() {
            return Err(format!("unexpected argument {argument:?}"));
        }
    }
    let url = url.ok_or("the URL is missing")?;
    // Not the URL itself: it may contain a password, and the message may reach a log.
    let fault = |what| format!("the URL {what}");
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| fault("does not begin with http://"))?;
    // A space or a line end would end the request line.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("contains an invalid character"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return Err(fault("contains a user"));
    }
    // A colon in brackets is part of an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse().map_err(|_| fault("has an invalid port"))?,
        ),
        _ => (authority, 80),
    };
    if host.is_empty() {
        return Err(fault("has no host"));
    }
    Ok(ProbeRequest {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        authority: authority.to_owned(),
        target: if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        },
        timeout,
    })
}

/// Returns the status code, and the first line of the body.
fn probe(request: &ProbeRequest) -> io::Result<(u16, String)> {
    // Each address in turn: `localhost` may resolve to `::1` without a listener there.
    let mut stream = TcpStream::connect((&*request.host, request.port))?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: healthcheck\r\nconnection: close\r\n\r\n",
        request.target, request.authority
    );
    // One write: `write!` would send a packet for each part.
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    let end = stream.take(MAX_READ).read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response);
    let code = (response.strip_prefix("HTTP/1."))
        .and_then(|rest| rest.get(2..5)?.parse().ok())
        // What was received counts even if the connection then broke.
        .ok_or_else(|| {
            end.err()
                .unwrap_or_else(|| io::Error::other("the response is not HTTP"))
        })?;
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let line = body.lines().next().unwrap_or_default();
    Ok((
        code,
        line.chars()
            .filter(|letter| !letter.is_control())
            .take(500)
            .collect(),
    ))
}

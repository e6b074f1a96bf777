//! A probe client for images without a shell and without curl: one file, `std` alone.
//!
//! ```sh
//! healthcheck [--timeout SECONDS] http://HOST[:PORT]/PATH
//! ```
//!
//! | exit code | |
//! |---|---|
//! | 0 | the answer's code is 200 to 299 |
//! | 1 | it is another, or there is none: nobody listens, no HTTP, none in time (2 s unless told) |
//! | 64 | it was called the wrong way |
//!
//! Docker knows 0 and 1 and reserves 2. The one line that is printed stands in `docker inspect`.
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
//! An address and no name: a scratch image has nothing that resolves one.

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

/// More than any head and all that is printed of a body.
const MOST: u64 = 16 * 1024;

/// `EX_USAGE` of `sysexits.h`.
const WRONG_USAGE: u8 = 64;

struct Question {
    host: String,
    port: u16,
    /// As the `host` header wants it.
    authority: String,
    target: String,
    timeout: Duration,
}

fn main() -> ExitCode {
    let question = match question(env::args().skip(1)) {
        Ok(question) => question,
        Err(fault) => {
            eprintln!("{fault}\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let timeout = question.timeout;
    let (tell, told) = mpsc::channel();
    // In a thread of its own: no option of a socket bounds name, connect and answer together.
    thread::spawn(move || tell.send(ask(&question)));
    match told.recv_timeout(timeout) {
        Ok(Ok((code, line))) => {
            println!("{code} {line}");
            ExitCode::from(u8::from(!(200..300).contains(&code)))
        }
        Ok(Err(error)) => {
            println!("unhealthy: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("unhealthy: no answer within {} s", timeout.as_secs_f64());
            ExitCode::FAILURE
        }
    }
}

fn question(arguments: impl Iterator<Item = String>) -> Result<Question, String> {
    let mut timeout = Duration::from_secs(2);
    let mut url = None;
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--timeout" {
            let seconds = arguments.next().unwrap_or_default();
            timeout = (seconds.parse().ok())
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|timeout| !timeout.is_zero())
                .ok_or(format!("--timeout {seconds:?} is no number of seconds"))?;
        } else if argument.starts_with('-') || url.replace(argument.clone()).is_some() {
            return Err(format!("what is {argument:?}?"));
        }
    }
    let url = url.ok_or("no URL")?;
    // Not the URL itself: who puts a password there finds it in no log.
    let fault = |what| format!("the URL {what}");
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| fault("does not begin with http://"))?;
    // What would end the request's line, or start another.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("has a character that no URL has"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return Err(fault("has a user, and a probe has none"));
    }
    // A colon in brackets is part of an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse()
                .map_err(|_| fault("has no port from 0 to 65535"))?,
        ),
        _ => (authority, 80),
    };
    if host.is_empty() {
        return Err(fault("has no host"));
    }
    Ok(Question {
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

/// The code of the answer, and the first line of its body.
fn ask(question: &Question) -> io::Result<(u16, String)> {
    // Every address of the name in turn: `localhost` may be `::1`, where nobody listens.
    let mut stream = TcpStream::connect((&*question.host, question.port))?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: healthcheck\r\nconnection: close\r\n\r\n",
        question.target, question.authority
    );
    // In one piece: `write!` would send a packet for each part of it.
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let end = stream.take(MOST).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let code = (answer.strip_prefix("HTTP/1."))
        .and_then(|rest| rest.get(2..5)?.parse().ok())
        // What was received counts even if the connection then broke.
        .ok_or_else(|| {
            end.err()
                .unwrap_or_else(|| io::Error::other("the answer is no HTTP"))
        })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let line = body.lines().next().unwrap_or_default();
    Ok((
        code,
        line.chars()
            .filter(|letter| !letter.is_control())
            .take(500)
            .collect(),
    ))
}

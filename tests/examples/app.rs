//! An example as a process: its start, its answers, its end, and starts that fail.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{MAXIMUM_WAIT, Program, ask, becomes, run_example, wait_until};

/// The password in the settings of the examples, which no output may contain.
pub const PASSWORD: &str = "hunter2";

pub struct App {
    pub program: Program,
    pub address: SocketAddr,
}

impl App {
    /// Starts the example `name` with these variables only, and waits until it listens.
    pub async fn start(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut program = Program::example(name, &with_address(variables));
        let line = program.says("http://").await;
        let (_, url) = line.split_once("http://").expect("a URL");
        let (address, _) = url.split_once('/').expect("a path");
        let address = address.parse().expect("an address");
        Self { program, address }
    }

    pub async fn send(&self, method: Method, path: &str, body: &'static str) -> (u16, String) {
        let request = Request::builder().method(method);
        let request = request.uri(format!("http://{}{path}", self.address));
        let (code, body) = ask(request.body(Full::from(body)).expect("valid"), None).await;
        assert!(!body.contains(PASSWORD), "{body}");
        (code.as_u16(), body)
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        self.send(Method::GET, path, "").await
    }

    /// The code and the JSON that answer `path`.
    pub async fn json(&self, path: &str) -> (u16, Value) {
        let (code, body) = self.get(path).await;
        (code, serde_json::from_str(&body).expect("JSON"))
    }

    /// Waits until `path` is answered with `code`, and returns that answer's body.
    pub async fn becomes(&self, path: &str, code: u16) -> String {
        let code = StatusCode::from_u16(code).expect("a code");
        becomes(&format!("http://{}{path}", self.address), code).await
    }

    /// Waits until `path` is answered with exactly this.
    pub async fn shows(&self, path: &str, code: u16, body: &str) {
        let what = format!("{path} is {code} {body}");
        wait_until(&what, MAXIMUM_WAIT, async || {
            self.get(path).await == (code, body.to_owned())
        })
        .await;
    }

    /// Asserts that after SIGTERM `path` is still answered, with `code`, and that no password was logged.
    pub async fn drains(mut self, path: &str, code: u16) {
        self.program.signal(Signal::SIGTERM);
        self.program.says(" draining").await;
        assert_eq!(self.get(path).await.0, code);
        assert!(self.program.ends().await.success());
        let log = self.program.log();
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

/// Asserts that the example does not start with these variables, and returns its last words.
pub fn refused(name: &'static str, variables: &[(&str, &str)]) -> String {
    let ended = run_example(name, &with_address(variables), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!format!("{ended:?}").contains(PASSWORD), "{ended:?}");
    ended.stderr
}

/// Of two values of a variable the later counts.
fn with_address<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("ADDR", "127.0.0.1:0")], variables].concat()
}

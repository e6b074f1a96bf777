//! An example as a process: its start, its answers, and starts that fail.

use std::net::SocketAddr;

use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::support::{MAXIMUM_WAIT, Program, ask, run_example, wait_until};

/// The password in the settings of the examples, which no output may contain.
pub const PASSWORD: &str = "hunter2";

pub struct App {
    pub program: Program,
    pub address: SocketAddr,
}

impl App {
    /// Starts the example `name` with these variables only, and waits until it listens.
    pub async fn start(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("ADDR", "127.0.0.1:0")];
        all.extend(variables);
        let mut program = Program::example(name, &all);
        let line = program.says("http://").await;
        let (_, url) = line.split_once("http://").expect("a URL");
        let (address, _) = url.split_once('/').expect("a path");
        let address = address.parse().expect("an address");
        Self { program, address }
    }

    pub async fn send(&self, method: Method, path: &str, body: &'static str) -> (u16, String) {
        let request = Request::builder().method(method);
        let request = request.uri(format!("http://{}{path}", self.address));
        let request = request.body(Full::from(body)).expect("valid");
        let (code, body) = ask(request, None).await;
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
        let mut body = String::new();
        wait_until(&format!("{path} is {code}"), MAXIMUM_WAIT, async || {
            let answer = self.get(path).await;
            body = answer.1;
            answer.0 == code
        })
        .await;
        body
    }

    /// The same with the body as a value.
    pub async fn becomes_json(&self, path: &str, code: u16) -> Value {
        serde_json::from_str(&self.becomes(path, code).await).expect("JSON")
    }

    pub fn assert_no_password_is_logged(&self) {
        let log = self.program.log();
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

/// Asserts that the example does not start with these variables, and returns its last words.
pub fn refused(name: &'static str, variables: &[(&str, &str)]) -> String {
    let mut all = vec![("ADDR", "127.0.0.1:0")];
    // The later of two values counts.
    all.extend(variables);
    let ended = run_example(name, &all, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!format!("{ended:?}").contains(PASSWORD), "{ended:?}");
    ended.stderr
}

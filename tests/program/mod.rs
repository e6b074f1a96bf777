//! An example as its user sees it: a process with variables, output, an exit code and HTTP.

// Every test binary compiles this module and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::support::wait_until;

/// Far more than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A running example. Dropped, it is killed.
pub struct Program {
    name: &'static str,
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// What an example that has ended leaves behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts the example `name` with these variables and no others.
    pub fn start(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut child = command(name)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
        }
    }

    /// The rest of the first line that begins with `start`, once it was printed.
    pub async fn says(&mut self, start: &str) -> String {
        let mut found = None;
        wait_until(&format!("{} says {start}", self.name), LIMIT, async || {
            found = self
                .stdout()
                .lines()
                .find_map(|line| line.strip_prefix(start).map(ToOwned::to_owned));
            let ended = self.child.try_wait().expect("our own child").is_some();
            assert!(
                found.is_some() || !ended,
                "{} ended: {}",
                self.name,
                self.stderr()
            );
            found.is_some()
        })
        .await;
        found.expect("waited for")
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("no panic under it").clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no panic under it").clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} printed:\n{}{}", self.name, self.stdout(), self.stderr());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the example `name` to its end.
pub fn run(name: &'static str, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let output = command(name)
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the example starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Asks for `url`.
pub async fn get(url: &str) -> (StatusCode, String) {
    ask(Method::GET, url, None).await
}

/// Asks for `url`, from `source` if one is given.
pub async fn ask(method: Method, url: &str, source: Option<IpAddr>) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::<Bytes>::default())
        .expect("valid");
    let mut connector = HttpConnector::new();
    connector.set_local_address(source);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let whole = async {
        let (head, body) = client.request(request).await?.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        Ok::<_, hyper_util::client::legacy::Error>((head.status, body))
    };
    let (code, body) = tokio::time::timeout(LIMIT, whole)
        .await
        .expect("in time")
        .expect("an answer");
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

/// Waits until `url` is answered with `code`, and returns that answer's body.
pub async fn becomes(url: &str, code: StatusCode) -> String {
    let mut last = String::new();
    wait_until(&format!("{url} is {code}"), LIMIT, async || {
        let (seen, body) = get(url).await;
        last = body;
        seen == code
    })
    .await;
    last
}

fn command(name: &'static str) -> Command {
    let mut command = Command::new(built(name));
    // The caller's settings are nobody's business here.
    command.env_clear();
    command
}

/// The example's program, built by `cargo test` along with this one, or now.
fn built(name: &'static str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);

    let mut built = BUILT.lock().expect("the build succeeds");
    let built = built.get_or_insert_default();
    built
        .entry(name)
        .or_insert_with(|| {
            let status = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--all-features", "--example", name])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status()
                .expect("cargo starts");
            assert!(status.success());
            // target/debug/deps/test-123 is this program.
            let own = env::current_exe().expect("has a path");
            let profile = own.ancestors().nth(2).expect("a target folder");
            profile.join("examples").join(name)
        })
        .clone()
}

/// Reads `pipe` to its end: a program whose output nobody reads hangs.
fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = text.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut text = sink.lock().expect("no panic under it");
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

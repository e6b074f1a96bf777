//! A real headless Chromium, driven over its debugging pipe, and an app for it.
//!
//! The pipe instead of the usual web socket: it needs no port and no client library, and the
//! browser ends with it, however the test ends.

pub mod sample;

use std::{env, fs, net::SocketAddr, process::Stdio, thread::sleep, time::Duration};

use axum::Router;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tower_health::{Access, Health, HealthLayer};

use super::server::serve_axum;
use crate::support::{unused_port, wait_until};

/// Far more than anything here takes, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --hide-scrollbars --remote-debugging-pipe";

/// `TOWER_HEALTH_CHROMIUM`, or the first that is installed. The browser reads commands from descriptor 3
/// and answers on 4.
const LAUNCH: &str = r#"
for name in chromium chromium-browser google-chrome chrome; do
    browser=${browser:-$(command -v "$name")}
done
exec "${TOWER_HEALTH_CHROMIUM:-$browser}" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1
"#;

/// An app behind the layer, on a real socket.
pub struct Site(SocketAddr);

impl Site {
    /// Shows every caller the details.
    pub async fn open(health: &Health) -> Self {
        Self::of(pages(health).details(Access::everybody())).await
    }

    /// Shows every caller the status.
    pub async fn closed(health: &Health) -> Self {
        Self::of(pages(health)).await
    }

    pub async fn of(layer: HealthLayer) -> Self {
        Self(serve_axum(Router::new().layer(layer)).await)
    }

    pub fn port(&self) -> u16 {
        self.0.port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0)
    }
}

fn pages(health: &Health) -> HealthLayer {
    let paths = ["/health", "/readyz", "/livez", "/startupz"].into_iter();
    paths.fold(HealthLayer::new(health.clone()), HealthLayer::page)
}

/// The source of axe-core: `TOWER_HEALTH_AXE`, or where `tests/setup.sh` puts it.
pub fn axe() -> String {
    let usual = "target/page/node_modules/axe-core/axe.min.js";
    let usual = format!("{}/{usual}", env!("CARGO_MANIFEST_DIR"));
    let file = env::var("TOWER_HEALTH_AXE").unwrap_or(usual);
    fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("no axe-core at {file} ({error}): run tests/setup.sh, or set TOWER_HEALTH_AXE")
    })
}

/// A browser with one open page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    profile: String,
    session: Value,
    calls: u64,
    events: Vec<Value>,
}

impl Browser {
    pub async fn launch() -> Self {
        // A number that no other browser has.
        let profile = format!("{}/browser-{}", env!("CARGO_TARGET_TMPDIR"), unused_port());
        let mut child = Command::new("sh")
            .args(["-c", LAUNCH, "sh"])
            .args(FLAGS.split_whitespace())
            .arg(format!("--user-data-dir={profile}"))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let mut browser = Self {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
            profile,
            session: Value::Null,
            calls: 0,
            events: Vec::new(),
        };
        let blank = json!({"url": "about:blank"});
        let target = browser.call("Target.createTarget", blank).await;
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let mut attached = browser.call("Target.attachToTarget", target).await;
        browser.session = attached["sessionId"].take();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// One command of the DevTools protocol and its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut command = json!({"id": self.calls, "method": method, "params": params});
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        let bytes = format!("{command}\0").into_bytes();
        self.input.write_all(&bytes).await.expect("a live browser");
        loop {
            let mut bytes = Vec::new();
            let read = timeout(SOON, self.output.read_until(0, &mut bytes)).await;
            read.expect("in time").expect("a pipe");
            assert_eq!(bytes.pop(), Some(0), "it has ended, or run tests/setup.sh");
            let mut message: Value = serde_json::from_slice(&bytes).expect("JSON");
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// Opens `url` and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
        self.settled("document.readyState === 'complete'").await;
    }

    /// Opens `url` and waits until its script has the first answer.
    pub async fn open_live(&mut self, url: &str) {
        self.open(url).await;
        self.settled("document.getElementById('live').textContent.startsWith('Live')")
            .await;
    }

    /// The value of a JavaScript expression in the page, of its promise if it is one.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut result = self.call("Runtime.evaluate", params).await;
        let exception = &result["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        result["result"]["value"].take()
    }

    pub async fn text(&mut self, selector: &str) -> String {
        let text = format!("document.querySelector('{selector}').innerText.trim()");
        let found = self.evaluate(&text).await;
        found.as_str().expect("text").to_owned()
    }

    /// Waits until a JavaScript condition holds.
    pub async fn settled(&mut self, condition: &str) {
        wait_until(condition, SOON, async || {
            self.evaluate(condition).await == true
        })
        .await;
    }

    /// As a reader has set it: `light` or `dark`, and a width and height in CSS pixels.
    pub async fn view(&mut self, scheme: &str, width: u32, height: u32) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"features": features});
        self.call("Emulation.setEmulatedMedia", media).await;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1.6, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn without_scripts(&mut self) {
        let value = json!({"value": true});
        self.call("Emulation.setScriptExecutionDisabled", value)
            .await;
    }

    /// Presses the key of that name, which types `text`.
    pub async fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// The addresses of all requests so far, in order.
    pub fn requests(&self) -> Vec<String> {
        let is_sent = |event: &&Value| event["method"] == "Network.requestWillBeSent";
        let url = |event: &Value| {
            event["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        self.events.iter().filter(is_sent).filter_map(url).collect()
    }

    /// All that the console shows as an error or a warning: exceptions, violations of the policy, failed
    /// requests. The browser reports a 503 as one, but the page is its answer.
    pub fn complaints(&self) -> Vec<String> {
        let is_complaint = |event: &&Value| {
            let params = &event["params"];
            let level = match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => return true,
                Some("Log.entryAdded") => &params["entry"]["level"],
                Some("Runtime.consoleAPICalled") => &params["type"],
                _ => return false,
            };
            let text = params["entry"]["text"].as_str().unwrap_or_default();
            ["error", "warning", "assert"]
                .iter()
                .any(|bad| level == bad)
                && !text.contains("responded with a status of 503")
        };
        let complaints = self.events.iter().filter(is_complaint);
        complaints.map(Value::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // Until its end it writes into the folder.
        while let Ok(None) = self.child.try_wait() {
            sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}

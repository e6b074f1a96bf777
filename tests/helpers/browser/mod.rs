//! A real headless Chromium, driven over its debugging pipe.
//!
//! The pipe instead of the usual web socket: it needs no port and no client library, and the
//! browser ends with it, however the test ends.

mod binary;
pub mod sample;
mod site;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

pub use binary::axe;
pub use site::Site;

/// Far more than anything here takes, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser with one open page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    profile: PathBuf,
    session: String,
    calls: u64,
    events: Vec<Value>,
}

impl Browser {
    pub async fn launch() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("browser-{}-{number}", process::id()));
        // The browser reads commands from descriptor 3 and answers on 4; a shell hands them over.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#)
            .arg(binary::chromium())
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
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
            session: String::new(),
            calls: 0,
            events: Vec::new(),
        };
        let target = browser
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attached = browser
            .call(
                "Target.attachToTarget",
                json!({"targetId": target["targetId"], "flatten": true}),
            )
            .await;
        browser.session = attached["sessionId"].as_str().expect("a session").into();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// One command of the DevTools protocol and its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut command = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).await.expect("a live browser");
        loop {
            let message = self.message().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    async fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = timeout(SOON, self.output.read_until(0, &mut bytes)).await;
        read.expect("in time").expect("a pipe");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Opens `url` and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
        self.settled("document.readyState === 'complete'").await;
    }

    /// The value of a JavaScript expression in the page, of its promise if it is one.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params).await;
        let exception = &result["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        result["result"]["value"].clone()
    }

    pub async fn text(&mut self, selector: &str) -> String {
        let found = self
            .evaluate(&format!("document.querySelector('{selector}').innerText"))
            .await;
        found.as_str().expect("text").trim().to_owned()
    }

    /// Waits until a JavaScript condition holds.
    pub async fn settled(&mut self, condition: &str) {
        let wait = async {
            while self.evaluate(condition).await != true {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(SOON, wait).await.is_err() {
            panic!("waited in vain until {condition}");
        }
    }

    /// As a reader has set it: `light` or `dark`, and a width and height in CSS pixels.
    pub async fn view(&mut self, scheme: &str, width: u32, height: u32) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1.6, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    pub async fn without_scripts(&mut self) {
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": true}),
        )
        .await;
    }

    /// Opens `url` and waits until its script has the first answer.
    pub async fn open_live(&mut self, url: &str) {
        self.open(url).await;
        self.settled("document.getElementById('live').textContent.startsWith('Live')")
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

    /// A picture of the page as PNG in base64.
    pub async fn screenshot(&mut self) -> String {
        let shot = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        shot["data"].as_str().expect("a picture").to_owned()
    }

    /// The addresses of all requests so far, in order.
    pub fn requests(&self) -> Vec<String> {
        self.of("Network.requestWillBeSent")
            .map(|event| event["request"]["url"].as_str().expect("a URL").to_owned())
            .collect()
    }

    /// All that the console shows as an error or a warning: exceptions, violations of the policy, failed
    /// requests. The browser reports a 503 as one, but the page is its answer.
    pub fn complaints(&self) -> Vec<String> {
        let exceptions = self.of("Runtime.exceptionThrown");
        let logged = self.of("Log.entryAdded").filter(|event| {
            let text = event["entry"]["text"].as_str().unwrap_or_default();
            ["error", "warning"].contains(&event["entry"]["level"].as_str().unwrap_or_default())
                && !text.contains("responded with a status of 503")
        });
        let called = self.of("Runtime.consoleAPICalled").filter(|event| {
            ["error", "warning", "assert"].contains(&event["type"].as_str().unwrap_or_default())
        });
        exceptions
            .chain(logged)
            .chain(called)
            .map(Value::to_string)
            .collect()
    }

    fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["method"] == method)
            .map(|event| &event["params"])
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

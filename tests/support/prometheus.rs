//! A private Prometheus server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, dirs, ports};

/// A private server on 127.0.0.1 that scrapes one target and evaluates one file of rules, each
/// five times a second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: u16,
}

impl Prometheus {
    /// Starts a server that scrapes `target` (`host:port`) as job `app`, and waits until it is ready.
    pub async fn start(target: &str, rules: &Path) -> Self {
        let mut process = Process::new("prometheus", Signal::SIGTERM);
        let port = ports::unused_port();
        let directory = process.directory().to_owned();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = directory.join(name);
            dirs::write(&path, text);
            path
        };
        let rules = std::fs::read_to_string(rules).expect("the rules");
        file("rules.yml", &rules);
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        let config = file("prometheus.yml", &config);
        let mut command = dirs::command(&binaries::prometheus());
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        process.spawn(&mut command);
        let mut server = Self { process, port };
        wait_until("prometheus is ready", MAXIMUM_WAIT, async || {
            assert!(!server.process.has_ended(), "prometheus does not start");
            server.get("/-/ready").await.is_some()
        })
        .await;
        server
    }

    /// The result of an instant query now: one value per series.
    ///
    /// # Panics
    ///
    /// When the query is refused.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|b| format!("%{b:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        let answer = answer.unwrap_or_else(|| panic!("{expression} is refused"));
        match answer["data"]["result"].as_array() {
            Some(series) => series.clone(),
            None => panic!("{expression}: {answer}"),
        }
    }

    /// The JSON answer, or null where it is none; nothing unless it is 200.
    async fn get(&self, path: &str) -> Option<Value> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let uri = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client.get(uri.parse().expect("a URL"));
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let answer = answer.ok()?.ok()?;
        let good = answer.status() == 200;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        good.then(|| serde_json::from_slice(&body).unwrap_or_default())
    }
}

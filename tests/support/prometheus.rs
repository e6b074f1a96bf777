//! A private Prometheus server.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpStream;

use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, client, dirs, ports};

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
        let rules = std::fs::read_to_string(rules).expect("the rules");
        dirs::write(&directory.join("rules.yml"), &rules);
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        dirs::write(&directory.join("prometheus.yml"), &config);
        // It runs in its directory.
        let mut command = dirs::command(&binaries::installed("prometheus"));
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
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
        TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let (code, body) = client::get(&format!("http://127.0.0.1:{}{path}", self.port)).await;
        (code == 200).then(|| serde_json::from_str(&body).unwrap_or_default())
    }
}

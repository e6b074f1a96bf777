//! A private Prometheus server.

use std::path::Path;

use http::StatusCode;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::client::{becomes, get};
use super::program::Program;
use super::{binaries, dirs, ports};

/// A private server on 127.0.0.1 that scrapes one target and evaluates one file of rules, each
/// five times a second.
#[derive(Debug)]
pub struct Prometheus {
    _program: Program,
    url: String,
}

impl Prometheus {
    /// Starts a server that scrapes `target` (`host:port`) as job `app`, and waits until it is ready.
    pub async fn start(target: &str, rules: &Path) -> Self {
        let mut program = Program::new("prometheus", Signal::SIGTERM);
        let port = ports::unused_port();
        let rules = std::fs::read_to_string(rules).expect("the rules");
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        dirs::write(&program.directory().join("rules.yml"), &rules);
        dirs::write(&program.directory().join("prometheus.yml"), &config);
        let mut command = dirs::command(&binaries::installed("prometheus"));
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        program.spawn(&mut command);
        program.listens(port).await;
        let url = format!("http://127.0.0.1:{port}");
        becomes(&format!("{url}/-/ready"), StatusCode::OK).await;
        Self {
            _program: program,
            url,
        }
    }

    /// The result of an instant query now: one value per series. Panics when it is refused.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|b| format!("%{b:02X}")).collect();
        let (_, answer) = get(&format!("{}/api/v1/query?query={encoded}", self.url)).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        match answer["data"]["result"].as_array() {
            Some(series) => series.clone(),
            None => panic!("{expression}: {answer}"),
        }
    }
}

//! Envoy with the configuration in `examples/deploy`.

use std::{net::SocketAddr, process::Command, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{net::TcpStream, time::Instant};

use super::LIMIT;
use crate::support::{Program, get, unused_port, wait_until, wheel};

const CONFIG: &str = include_str!("../../../examples/deploy/envoy.yaml");

/// The ports in the file, in their order: those of Envoy, and those of its clusters.
const OWN: [u16; 2] = [9901, 8080];
const HTTP: [u16; 3] = [3001, 3002, 3003];
const GRPC: [u16; 3] = [50051, 50052, 50053];

#[derive(Debug)]
pub struct Envoy {
    admin: SocketAddr,
    address: SocketAddr,
    program: Program,
}

/// The cluster of the file that a test is about.
#[derive(Clone, Copy, Debug)]
pub enum Cluster {
    Http,
    Grpc,
}

impl Envoy {
    /// Starts in front of `instances` and waits until all of them are in rotation.
    pub async fn start(cluster: Cluster, instances: [SocketAddr; 3]) -> Self {
        let own = OWN.map(|_| SocketAddr::from(([127, 0, 0, 1], unused_port())));
        let ports = OWN.into_iter().chain(match cluster {
            Cluster::Http => HTTP,
            Cluster::Grpc => GRPC,
        });
        let mut config = CONFIG.to_owned();
        for (port, address) in ports.zip(own.into_iter().chain(instances)) {
            let placed = format!("port_value: {port}}}");
            assert_eq!(config.matches(&placed).count(), 1, "{placed}");
            config = config.replace(&placed, &format!("port_value: {}}}", address.port()));
        }
        let mut command = Command::new(wheel("envoy"));
        command.args("--disable-hot-restart --concurrency 2 -l warning".split(' '));
        command.args(["--config-yaml", &config]);
        let envoy = Self {
            admin: own[0],
            address: own[1],
            program: Program::start("envoy", &mut command),
        };
        wait_until("Envoy listens", LIMIT, async || {
            TcpStream::connect(envoy.address).await.is_ok()
        })
        .await;
        for instance in instances {
            envoy.until(instance, true).await;
        }
        envoy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `instance` is in or out of rotation; how long that took.
    pub async fn until(&self, instance: SocketAddr, up: bool) -> Duration {
        let start = Instant::now();
        let what = format!("{instance} is {}", if up { "in" } else { "out" });
        wait_until(&what, LIMIT, async || self.is_up(instance).await == up).await;
        start.elapsed()
    }

    /// Waits until `instance` has got more requests than now.
    pub async fn until_used(&self, instance: SocketAddr) {
        let before = self.requests(instance).await;
        wait_until("it gets requests", LIMIT, async || {
            self.requests(instance).await > before
        })
        .await;
    }

    pub async fn is_up(&self, instance: SocketAddr) -> bool {
        let host = self.host(instance).await;
        let flags = &host["health_status"];
        let taken_out = |flag| flags[flag] == Value::Bool(true);
        flags["eds_health_status"] == "HEALTHY"
            && !taken_out("failed_active_health_check")
            && !taken_out("excluded_via_immediate_hc_fail")
    }

    async fn requests(&self, instance: SocketAddr) -> u64 {
        let host = self.host(instance).await;
        let mut numbers = host["stats"].as_array().expect("numbers").iter();
        let total = numbers.find(|number| number["name"] == "rq_total");
        // Numbers of 64 bits are text in the JSON of Protocol Buffers, and absent when 0.
        let total = total.expect("a total")["value"].as_str();
        total.map_or(0, |total| total.parse().expect("a number"))
    }

    async fn host(&self, instance: SocketAddr) -> Value {
        let answer = self.ask("/clusters?format=json").await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let clusters = answer["cluster_statuses"].as_array().into_iter().flatten();
        let mut hosts =
            clusters.flat_map(|cluster| cluster["host_statuses"].as_array().into_iter().flatten());
        let host =
            hosts.find(|host| host["address"]["socket_address"]["port_value"] == instance.port());
        host.expect("the file names it").clone()
    }

    /// A counter, such as `cluster.app.upstream_rq_retry`.
    pub async fn counter(&self, name: &str) -> u64 {
        let answer = self.ask(&format!("/stats?filter=^{name}$")).await;
        let (found, value) = answer.trim().split_once(": ").expect("a counter");
        assert_eq!(found, name);
        value.parse().expect("a number")
    }

    async fn ask(&self, target: &str) -> String {
        let (code, body) = get(&format!("http://{}{target}", self.admin)).await;
        assert_eq!(code, 200, "{body}");
        body
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.program.signal(Signal::SIGTERM);
    }
}

//! Envoy with the configuration in `examples/deploy`.

use std::{net::SocketAddr, process::Command, time::Duration};

use tokio::time::Instant;

use super::LIMIT;
use crate::support::{Program, get, unused_port, wait_until, wheel};

const CONFIG: &str = include_str!("../../../examples/deploy/envoy.yaml");

#[derive(Debug)]
pub struct Envoy {
    admin: SocketAddr,
    address: SocketAddr,
    _program: Program,
}

/// The cluster of the file that a test is about, with the first of its three ports.
#[derive(Clone, Copy, Debug)]
pub enum Cluster {
    Http = 3001,
    Grpc = 50051,
}

impl Envoy {
    /// Starts in front of `instances` and waits until all of them are in rotation.
    pub async fn start(cluster: Cluster, instances: [SocketAddr; 3]) -> Self {
        let [admin, address] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], unused_port())));
        let first = cluster as u16;
        let ports = [9901, 8080].into_iter().chain(first..first + 3);
        let mut config = CONFIG.to_owned();
        for (port, address) in ports.zip([admin, address].into_iter().chain(instances)) {
            let placed = format!("port_value: {port}}}");
            assert_eq!(config.matches(&placed).count(), 1, "{placed}");
            config = config.replace(&placed, &format!("port_value: {}}}", address.port()));
        }
        let mut command = Command::new(wheel("envoy"));
        command.args("--disable-hot-restart --concurrency 2 -l warning".split(' '));
        let mut program = Program::start("envoy", command.args(["--config-yaml", &config]));
        program.listens(address.port()).await;
        let envoy = Self {
            admin,
            address,
            _program: program,
        };
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
        let requests = async || self.of(instance, "rq_total").await.parse::<u64>();
        let before = requests().await.expect("a number");
        wait_until("it gets requests", LIMIT, async || {
            requests().await.expect("a number") > before
        })
        .await;
    }

    pub async fn is_up(&self, instance: SocketAddr) -> bool {
        self.of(instance, "health_flags").await == "healthy"
    }

    /// What Envoy says of `instance` under this name.
    async fn of(&self, instance: SocketAddr, name: &str) -> String {
        let clusters = self.ask("/clusters").await;
        let name = format!("::{instance}::{name}::");
        let value = clusters.lines().find_map(|line| line.split_once(&name));
        value.expect("the file names it").1.to_owned()
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

//! HAProxy with the configuration in `examples/deploy`.

use std::{collections::HashMap, io, net::SocketAddr, process::Command, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::{Instance, LIMIT};
use crate::support::{Program, installed, unused_port, wait_until};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deploy/haproxy.cfg");

#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    program: Program,
}

/// What HAProxy says of one instance.
#[derive(Clone, Debug)]
pub struct Server {
    pub is_up: bool,
    /// Of the last check.
    pub code: String,
    pub requests: u64,
    /// Attempts to connect that had to be made again, and those made with another instance.
    pub retries: u64,
}

impl Balancer {
    /// Starts in front of `instances` and waits until all of them are checked and up.
    pub async fn start(instances: &[Instance; 3]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], unused_port()));
        let mut command = Command::new(installed("haproxy"));
        command.args(["-db", "-f", CONFIG]);
        command.env("LISTEN", address.to_string());
        command.env("STATS_SOCKET", "unix@stats.sock");
        for (number, instance) in (1..).zip(instances) {
            command.env(format!("APP_{number}"), instance.address().to_string());
        }
        let program = Program::start("haproxy", &mut command);
        let balancer = Self { address, program };
        wait_until("HAProxy has checked all instances", LIMIT, async || {
            // It may not listen yet.
            let servers = balancer.ask().await.unwrap_or_default();
            let is_ready = |server: &Server| server.is_up && server.code == "200";
            !servers.is_empty() && servers.iter().all(is_ready)
        })
        .await;
        balancer
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn server(&self, index: usize) -> Server {
        self.servers().await.swap_remove(index)
    }

    /// Waits until instance `index` is in or out of rotation; how long that took.
    pub async fn until(&self, index: usize, up: bool) -> Duration {
        let start = Instant::now();
        let what = format!("instance {index} is {}", if up { "in" } else { "out" });
        wait_until(&what, LIMIT, async || self.server(index).await.is_up == up).await;
        start.elapsed()
    }

    /// Waits until instance `index` has got more requests than now.
    pub async fn until_used(&self, index: usize) {
        let before = self.server(index).await.requests;
        wait_until("it gets requests", LIMIT, async || {
            self.server(index).await.requests > before
        })
        .await;
    }

    pub async fn servers(&self) -> Vec<Server> {
        self.ask().await.expect("HAProxy answers")
    }

    /// The table of `show stat`: nothing in it is optional.
    async fn ask(&self) -> io::Result<Vec<Server>> {
        let socket = self.program.directory().join("stats.sock");
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"show stat\n").await?;
        let mut table = String::new();
        stream.read_to_string(&mut table).await?;
        let mut lines = table.lines().map(|line| line.split(','));
        let heads: Vec<_> = lines.next().expect("heads").collect();
        let rows = lines.map(|line| heads.iter().copied().zip(line).collect());
        let is_server = |row: &HashMap<_, _>| {
            row["# pxname"] == "app" && !["FRONTEND", "BACKEND"].contains(&row["svname"])
        };
        let servers: Vec<_> = rows
            .filter(is_server)
            .map(|row| {
                let number = |head| row[head].parse::<u64>().expect("a number");
                Server {
                    is_up: row["status"].starts_with("UP"),
                    code: row["check_code"].to_owned(),
                    requests: number("stot"),
                    retries: number("wretr") + number("wredis"),
                }
            })
            .collect();
        assert_eq!(servers.len(), 3, "{table}");
        Ok(servers)
    }
}

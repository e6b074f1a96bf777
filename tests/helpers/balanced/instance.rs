//! One instance of the demo, as its own process on a port that it keeps over restarts.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::helpers::wire;
use crate::support::{Postgres, Program, Redis, example, unused_port};

/// Above the 1.3 s that HAProxy may need to notice: see `examples/deploy/haproxy.cfg`.
pub const DRAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Instance {
    address: SocketAddr,
    command: Command,
    program: Program,
}

impl Instance {
    /// Starts it and waits until it listens.
    pub async fn start(postgres: &Postgres, redis: &Redis) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], unused_port()));
        let mut command = Command::new(example("quickstart"));
        command
            .env("ADDR", address.to_string())
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url())
            .env("DRAIN_SECONDS", DRAIN.as_secs().to_string());
        let mut program = Program::start("quickstart", &mut command);
        program.listens(address.port()).await;
        Self {
            address,
            command,
            program,
        }
    }

    /// Three that share their servers.
    pub async fn three(postgres: &Postgres, redis: &Redis) -> [Self; 3] {
        Self::one_apart(postgres, postgres, redis).await
    }

    /// Three that share their servers, but for the Postgres of the first.
    pub async fn one_apart(own: &Postgres, shared: &Postgres, redis: &Redis) -> [Self; 3] {
        let start = async |postgres| Self::start(postgres, redis).await;
        tokio::join!(start(own), start(shared), start(shared)).into()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The code of the answer to `path`, without the balancer.
    pub async fn code(&self, path: &str) -> u16 {
        wire::get(self.address, path).await.code
    }

    pub fn terminate(&self) {
        self.program.signal(Signal::SIGTERM);
    }

    /// Waits until the process has ended by itself; how it ended.
    pub async fn ends(&mut self) -> ExitStatus {
        self.program.ends().await
    }

    /// Ends it as an orchestrator does, and starts another one in its place.
    pub async fn restart(&mut self) {
        self.terminate();
        let end = self.ends().await;
        assert!(end.success(), "{end}:\n{}", self.program.log());
        self.program = Program::start("quickstart", &mut self.command);
        self.program.listens(self.address.port()).await;
    }
}

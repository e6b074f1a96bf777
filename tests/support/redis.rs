//! A private Redis server.

use std::ops::{Deref, DerefMut};
use std::process::Command;

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{AsyncConnectionConfig, Client};
use nix::sys::signal::Signal;

use super::program::Program;
use super::wait::MAXIMUM_WAIT;
use super::{binaries, dirs, ports};

/// A private server on 127.0.0.1 that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    program: Program,
    command: Command,
    port: u16,
    password: Option<String>,
}

/// What differs from a plain server.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    arguments: Vec<String>,
    password: Option<String>,
}

impl RedisBuilder {
    /// An option of the command line, such as `arg("--maxclients", "3")`.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// A line of `redis.conf`, such as `user probe on >word ~* +@all -ping`.
    pub fn config_line(mut self, line: &str) -> Self {
        let line = format!("--{line}");
        self.arguments.extend(line.split(' ').map(Into::into));
        self
    }

    /// Asks for this password; the server's own URL, pool and connection know it.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.arg("--requirepass", password)
    }

    /// Starts the server and waits until it listens.
    pub async fn start(self) -> Redis {
        let port = ports::unused_port();
        let mut command = dirs::command(&binaries::installed("redis-server"));
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .args(self.arguments);
        let mut server = Redis {
            program: Program::new("redis-server", Signal::SIGTERM),
            command,
            port,
            password: self.password,
        };
        server.restart().await;
        server
    }
}

impl Redis {
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Ends the server if it runs, starts it on the same port, and waits until it listens. It comes
    /// back empty.
    pub async fn restart(&mut self) {
        self.program.stop();
        self.program.spawn(&mut self.command);
        self.program.listens(self.port).await;
    }

    /// Its port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection string.
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same by way of another port, such as a [`Proxy`](super::Proxy)'s.
    pub fn url_through(&self, port: u16) -> String {
        let password = self.password.as_deref();
        let password = password.map_or_else(String::new, |word| format!(":{word}@"));
        format!("redis://{password}127.0.0.1:{port}/")
    }

    pub fn pool(&self, max_size: u32) -> bb8::Pool<RedisConnectionManager> {
        self.pool_through(self.port, max_size)
    }

    pub fn pool_through(&self, port: u16, max_size: u32) -> bb8::Pool<RedisConnectionManager> {
        let manager = RedisConnectionManager::new(self.url_through(port)).expect("a valid URL");
        let pool = bb8::Pool::builder().max_size(max_size);
        pool.build_unchecked(manager)
    }

    /// A connection for the test itself.
    pub async fn connection(&self) -> MultiplexedConnection {
        // The defaults (1 s, 500 ms) are too short for a machine that is busy with tests.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(MAXIMUM_WAIT))
            .set_response_timeout(Some(MAXIMUM_WAIT));
        let client = Client::open(self.url()).expect("a valid URL");
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.expect("a connection")
    }
}

impl Deref for Redis {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

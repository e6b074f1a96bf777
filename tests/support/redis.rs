//! A private Redis server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{AsyncConnectionConfig, Client};
use nix::sys::signal::Signal;

use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, dirs, ports};

const HOST: &str = "127.0.0.1";
const ATTEMPTS: u32 = 5;

/// A private server on 127.0.0.1 that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    binary: PathBuf,
    arguments: Vec<String>,
    port: u16,
    password: Option<String>,
}

/// What differs from a plain server.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    arguments: Vec<String>,
    password: Option<String>,
    port: Option<u16>,
}

impl RedisBuilder {
    /// An option of the command line, such as `arg("--maxclients", "3")`.
    #[must_use]
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// A line of `redis.conf`, such as `user probe on >word ~* +@all -ping`.
    #[must_use]
    pub fn config_line(mut self, line: &str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a line is not empty");
        self.arguments.push(format!("--{name}"));
        self.arguments.extend(words.map(Into::into));
        self
    }

    /// Asks for this password; the server's own URL, pool and connection know it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self.arg("--requirepass", password)
    }

    /// Listens on this port, for instance one that was [unused](super::unused_port) until now.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server and waits until it answers: `PONG` or an error such as `NOAUTH`.
    pub async fn start(self) -> Redis {
        let mut server = Redis {
            binary: binaries::redis(),
            process: Process::new("redis-server", Signal::SIGTERM),
            arguments: self.arguments,
            port: self.port.unwrap_or_else(ports::unused_port),
            password: self.password,
        };
        for attempt in 1.. {
            if server.try_start_process().await {
                break;
            }
            // Another process took the port since we looked.
            let taken = server.process.log().contains("Address already in use");
            if !taken || self.port.is_some() || attempt == ATTEMPTS {
                panic!("redis-server does not start");
            }
            server.port = ports::unused_port();
        }
        server
    }
}

impl Redis {
    /// Starts a plain server.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a server with extras.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
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
        format!("redis://{password}{HOST}:{port}/")
    }

    /// An application's pool.
    pub fn pool(&self, max_size: u32) -> bb8::Pool<RedisConnectionManager> {
        self.pool_through(self.port, max_size)
    }

    /// An application's pool by way of another port.
    pub fn pool_through(&self, port: u16, max_size: u32) -> bb8::Pool<RedisConnectionManager> {
        let manager = RedisConnectionManager::new(self.url_through(port)).expect("a valid URL");
        bb8::Pool::builder()
            .max_size(max_size)
            .build_unchecked(manager)
    }

    /// A connection for the test itself.
    pub async fn connection(&self) -> MultiplexedConnection {
        // The defaults (1 s, 500 ms) are too short for a machine that is busy with tests.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(MAXIMUM_WAIT))
            .set_response_timeout(Some(MAXIMUM_WAIT));
        Client::open(self.url())
            .expect("a valid URL")
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .expect("a connection")
    }

    /// What the server has logged since it was made.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where it keeps its log; gone after `Drop`.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Stops it: nothing is answered and nothing is closed, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Continues.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Ends it at once (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends the server if it runs, starts it on the same port, and waits until it answers. It comes
    /// back empty.
    pub async fn restart(&mut self) {
        self.process.end();
        assert!(
            self.try_start_process().await,
            "redis-server does not start"
        );
    }

    async fn try_start_process(&mut self) -> bool {
        let mut command = dirs::command(&self.binary);
        command
            .args(["--bind", HOST, "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.process.directory())
            .args(&self.arguments);
        self.process.spawn(&mut command);
        let port = self.port;
        wait_until("redis-server answers", MAXIMUM_WAIT, async || {
            let answers = tokio::task::spawn_blocking(move || answers(port)).await;
            self.process.has_ended() || answers.unwrap()
        })
        .await;
        !self.process.has_ended()
    }
}

// Any reply will do: without the password it is an error, but the server is there.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0];
        stream.read_exact(&mut reply)?;
        Ok::<_, std::io::Error>(matches!(&reply, b"+" | b"-"))
    };
    ask().unwrap_or(false)
}

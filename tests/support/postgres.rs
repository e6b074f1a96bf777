//! A private PostgreSQL server.

use std::fmt::Write as _;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bb8_postgres::PostgresConnectionManager;
use nix::sys::signal::Signal;
use tokio_postgres::{Client, Config, NoTls};

use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, dirs, ports, template};

const HOST: &str = "127.0.0.1";
const ATTEMPTS: u32 = 5;

/// A private server on 127.0.0.1 with the superuser and the database `postgres`.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    bin: PathBuf,
    port: u16,
    password: Option<String>,
}

/// What differs from a plain server.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    password: Option<String>,
    port: Option<u16>,
    tls: bool,
    standby: bool,
    primary: Option<u16>,
}

impl PostgresBuilder {
    /// A line of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// A line of `pg_hba.conf`. The first one replaces the default, which trusts every client.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Requires a password of the superuser (SCRAM), unless [`hba`](Self::hba) overrides it. Costs
    /// 60 ms per connection in a debug build.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Listens on this port, for instance one that was [unused](super::unused_port) until now.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Offers TLS with a self-signed certificate for `localhost`; needs the `openssl` program.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Stays in recovery: reads are answered, writes are refused.
    #[must_use]
    pub fn standby(mut self) -> Self {
        self.standby = true;
        self
    }

    /// Is a standby of `primary`, copied from it now, and replays what it streams.
    #[must_use]
    pub fn standby_of(mut self, primary: &Postgres) -> Self {
        self.primary = Some(primary.port);
        self.standby()
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self) -> Postgres {
        let bin = binaries::postgres();
        let process = Process::new("postgres", Signal::SIGQUIT);
        let data = process.directory().join("data");
        let template = {
            let (bin, primary) = (bin.clone(), self.primary);
            move || match primary {
                Some(port) => template::copy_of_primary(&bin, &data, port),
                None => template::instantiate(&bin, &data),
            }
        };
        tokio::task::spawn_blocking(template)
            .await
            .expect("a data directory");

        let mut server = Postgres {
            process,
            bin,
            port: self.port.unwrap_or_else(ports::unused_port),
            password: None,
        };
        server.configure(&self);
        if let Some(password) = &self.password {
            // The role must have one before the server requires it.
            server.start_process().await;
            let sql = format!(
                "ALTER ROLE postgres PASSWORD '{}'",
                password.replace('\'', "''")
            );
            server.client().await.batch_execute(&sql).await.unwrap();
            server.process.end();
            server.password = self.password.clone();
        }
        server.write_hba(&self);
        if self.standby {
            dirs::write(&server.data().join("standby.signal"), "");
        }

        for attempt in 1.. {
            if server.try_start_process().await {
                break;
            }
            // Another process took the port since we looked.
            let taken = server.process.log().contains("could not bind");
            if !taken || self.port.is_some() || attempt == ATTEMPTS {
                panic!("postgres does not start");
            }
            server.port = ports::unused_port();
        }
        server
    }
}

impl Postgres {
    /// Starts a plain server.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a server with extras.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// Its port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection string for the superuser.
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same by way of another port, such as a [`Proxy`](super::Proxy)'s.
    pub fn url_through(&self, port: u16) -> String {
        let password = self.password.as_deref();
        let password = password.map_or_else(String::new, |word| format!(":{word}"));
        format!("postgres://postgres{password}@{HOST}:{port}/postgres")
    }

    /// The same as a value.
    pub fn config(&self) -> Config {
        self.config_through(self.port)
    }

    /// The same by way of another port.
    pub fn config_through(&self, port: u16) -> Config {
        let mut config = Config::new();
        config
            .host(HOST)
            .port(port)
            .user("postgres")
            .dbname("postgres");
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }

    /// An application's pool.
    pub fn pool(&self, max_size: u32) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
        self.pool_through(self.port, max_size)
    }

    /// An application's pool by way of another port.
    pub fn pool_through(
        &self,
        port: u16,
        max_size: u32,
    ) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
        let manager = PostgresConnectionManager::new(self.config_through(port), NoTls);
        bb8::Pool::builder()
            .max_size(max_size)
            .build_unchecked(manager)
    }

    /// A connection for the test itself.
    pub async fn client(&self) -> Client {
        let (client, connection) = self.config().connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// The certificate of [`PostgresBuilder::tls`], PEM.
    pub fn certificate(&self) -> PathBuf {
        self.process.directory().join("server.crt")
    }

    /// What the server has logged since it was made.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where it keeps everything; gone after `Drop`.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Stops every process: nothing is answered and nothing is closed, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Stops the children that exist now: their connections hang, new ones are served.
    pub fn freeze_backends(&self) {
        self.process.freeze_descendants();
    }

    /// Stops the parent: connections are served, new ones hang.
    pub fn freeze_postmaster(&self) {
        self.process.freeze_root();
    }

    /// Continues whatever was frozen.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Ends every process at once (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Begins a smart shutdown (`SIGTERM`): connections live on, new ones are refused, and the
    /// server ends with the last of them.
    pub async fn stop_smart(&self) {
        self.process.signal(Signal::SIGTERM);
        wait_until(
            "the postmaster announces its end",
            MAXIMUM_WAIT,
            async || self.status().as_deref() == Some("stopping") || !self.pid_file().exists(),
        )
        .await;
    }

    /// Ends the server if it runs, starts it on the same port and data, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.process.end();
        self.start_process().await;
    }

    async fn start_process(&mut self) {
        assert!(self.try_start_process().await, "postgres does not start");
    }

    async fn try_start_process(&mut self) -> bool {
        let mut command = dirs::command(&self.bin.join("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string())
            // Each changes what a connection sees.
            .env_remove("PGOPTIONS")
            .env_remove("PGDATA");
        self.process.spawn(&mut command);
        wait_until("postgres is ready", MAXIMUM_WAIT, async || {
            self.process.has_ended() || self.status().as_deref() == Some("ready")
        })
        .await;
        !self.process.has_ended()
    }

    // Line 8 of postmaster.pid, if this process wrote the file, and not one before it.
    fn status(&self) -> Option<String> {
        let text = read_to_string(self.pid_file()).ok()?;
        let mut lines = text.lines();
        let owner: u32 = lines.next()?.trim().parse().ok()?;
        (Some(owner) == self.process.id()).then_some(())?;
        Some(lines.nth(6)?.trim().to_owned())
    }

    fn configure(&self, builder: &PostgresBuilder) {
        let mut text = format!(
            "listen_addresses = '{HOST}'\n\
             unix_socket_directories = ''\n\
             fsync = off\n\
             full_page_writes = off\n\
             shared_buffers = 16MB\n\
             autovacuum = off\n\
             jit = off\n\
             # In the data directory, so that a killed server leaves nothing in /dev/shm.\n\
             dynamic_shared_memory_type = mmap\n"
        );
        if builder.tls {
            self.make_certificate();
            text.push_str(
                "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n",
            );
        }
        if let Some(port) = builder.primary {
            let _ = writeln!(
                text,
                "primary_conninfo = 'host={HOST} port={port} user=postgres'"
            );
        }
        for (name, value) in &builder.settings {
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        dirs::write(&self.data().join("postgresql.conf"), &text);
    }

    fn write_hba(&self, builder: &PostgresBuilder) {
        let text = if !builder.hba.is_empty() {
            builder.hba.join("\n") + "\n"
        } else if builder.password.is_some() {
            format!("host all all {HOST}/32 scram-sha-256\n")
        } else {
            return;
        };
        dirs::write(&self.data().join("pg_hba.conf"), &text);
    }

    fn make_certificate(&self) {
        let output = dirs::command(Path::new("openssl"))
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            // Of a server, not of an authority, which rustls rejects for a server.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "server.key", "-out", "server.crt"])
            .current_dir(self.process.directory())
            .stdin(Stdio::null())
            .output()
            .expect("openssl (package openssl) starts");
        assert!(
            output.status.success(),
            "openssl failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn data(&self) -> PathBuf {
        self.process.directory().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process.end();
        // A server that was killed leaves the file, and the System V segment named in its line 7:
        // a few bytes, but the kernel has a limit on their number.
        let Ok(text) = read_to_string(self.pid_file()) else {
            return;
        };
        if let Some(segment) = text
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1))
        {
            let _ = Command::new("ipcrm")
                .args(["-m", segment])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

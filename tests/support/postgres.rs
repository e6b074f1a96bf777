//! A private PostgreSQL server.

use std::fmt::Write as _;
use std::fs::read_to_string;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bb8_postgres::PostgresConnectionManager;
use nix::sys::signal::Signal;
use tokio_postgres::{Client, Config, NoTls};

use super::program::Program;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, dirs, ports, template};

const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
autovacuum = off
jit = off
# In the data directory, so that a killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap
";

/// A private server on 127.0.0.1 with the superuser and the database `postgres`.
#[derive(Debug)]
pub struct Postgres {
    program: Program,
    command: Box<Command>,
    port: u16,
    password: Option<String>,
}

/// What differs from a plain server.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    settings: String,
    hba: String,
    password: Option<String>,
    tls: bool,
    standby: bool,
}

impl PostgresBuilder {
    /// A line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.settings, "{name} = '{value}'");
        self
    }

    /// A line of `pg_hba.conf`. The first one replaces the default, which trusts every client.
    pub fn hba(mut self, line: &str) -> Self {
        let _ = writeln!(self.hba, "{line}");
        self
    }

    /// Requires a password of the superuser (SCRAM), unless [`hba`](Self::hba) overrides it. Costs
    /// 60 ms per connection in a debug build.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Offers TLS with a self-signed certificate for `localhost`; needs the `openssl` program.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.setting("ssl", "on")
            .setting("ssl_cert_file", "../server.crt")
            .setting("ssl_key_file", "../server.key")
    }

    /// Stays in recovery: reads are answered, writes are refused.
    pub fn standby(mut self) -> Self {
        self.standby = true;
        self
    }

    /// Is a standby of `primary`, and replays what it streams: all that was written since both had the
    /// same template.
    pub fn standby_of(self, primary: &Postgres) -> Self {
        let origin = format!("host=127.0.0.1 port={} user=postgres", primary.port);
        self.standby().setting("primary_conninfo", &origin)
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self) -> Postgres {
        let port = ports::unused_port();
        let program = Program::new("postgres", Signal::SIGQUIT);
        let directory = program.directory().to_path_buf();
        let password = self.password.clone();
        let prepared = tokio::task::spawn_blocking(move || self.prepare(&directory, port));
        let command = prepared.await.expect("a data directory");
        let mut server = Postgres {
            program,
            command: Box::new(command),
            port,
            password,
        };
        server.restart().await;
        server
    }

    /// Makes the data directory and its files; the command of the server.
    fn prepare(self, directory: &Path, port: u16) -> Command {
        let bin = binaries::postgres();
        let data = directory.join("data");
        template::instantiate(&bin, &data);
        let settings = format!("{SETTINGS}{}", self.settings);
        dirs::write(&data.join("postgresql.conf"), &settings);
        let mut hba = self.hba;
        if let Some(password) = self.password {
            let sql = format!("ALTER ROLE postgres PASSWORD '{password}';\n");
            template::execute(&bin, &data, &sql);
            if hba.is_empty() {
                hba = "host all all 127.0.0.1/32 scram-sha-256\n".into();
            }
        }
        if !hba.is_empty() {
            dirs::write(&data.join("pg_hba.conf"), &hba);
        }
        if self.tls {
            make_certificate(directory);
        }
        if self.standby {
            dirs::write(&data.join("standby.signal"), "");
        }
        let mut command = dirs::command(&bin.join("postgres"));
        command.args(["-D", "data", "-p", &port.to_string()]);
        // It changes what a connection sees.
        command.env_remove("PGOPTIONS");
        command
    }
}

fn make_certificate(directory: &Path) {
    let output = dirs::command(Path::new("openssl"))
        .args("req -x509 -newkey ec -nodes -days 30 -subj /CN=localhost".split(' '))
        .args("-pkeyopt ec_paramgen_curve:prime256v1".split(' '))
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        // Of a server, not of an authority, which rustls rejects for a server.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(directory)
        .output()
        .expect("openssl (package openssl) starts");
    assert!(output.status.success(), "openssl failed: {output:?}");
}

impl Postgres {
    pub async fn start() -> Self {
        Self::builder().start().await
    }

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
        format!("postgres://postgres{password}@127.0.0.1:{port}/postgres")
    }

    pub fn config(&self) -> Config {
        self.config_through(self.port)
    }

    pub fn config_through(&self, port: u16) -> Config {
        self.url_through(port).parse().expect("a valid URL")
    }

    pub fn pool(&self, max_size: u32) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
        self.pool_through(self.port, max_size)
    }

    pub fn pool_through(
        &self,
        port: u16,
        max_size: u32,
    ) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
        let manager = PostgresConnectionManager::new(self.config_through(port), NoTls);
        let pool = bb8::Pool::builder().max_size(max_size);
        pool.build_unchecked(manager)
    }

    /// A connection for the test itself.
    pub async fn client(&self) -> Client {
        let (client, connection) = self.config().connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// The certificate of [`PostgresBuilder::tls`], PEM.
    pub fn certificate(&self) -> PathBuf {
        self.directory().join("server.crt")
    }

    /// Begins a smart shutdown (`SIGTERM`): connections live on, new ones are refused, and the
    /// server ends with the last of them.
    pub async fn stop_smart(&self) {
        self.signal(Signal::SIGTERM);
        wait_until("the postmaster stops", MAXIMUM_WAIT, async || {
            self.status().as_deref() == Some("stopping") || self.lock_file().is_empty()
        })
        .await;
    }

    /// Ends the server if it runs, starts it on the same port and data, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.program.stop();
        self.program.spawn(&mut self.command);
        wait_until("postgres is ready", MAXIMUM_WAIT, async || {
            assert!(self.end().is_none(), "postgres does not start");
            self.status().as_deref() == Some("ready")
        })
        .await;
    }

    // Line 8 of postmaster.pid, if this process wrote the file, and not one before it.
    fn status(&self) -> Option<String> {
        let lines = self.lock_file();
        let owner: u32 = lines.first()?.parse().ok()?;
        lines
            .into_iter()
            .nth(7)
            .filter(|_| Some(owner) == self.id())
    }

    /// The lines of postmaster.pid, which a server that has ended in an orderly way removes.
    fn lock_file(&self) -> Vec<String> {
        let text = read_to_string(self.directory().join("data/postmaster.pid"));
        let text = text.unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Deref for Postgres {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.program.stop();
        // A server that was killed leaves the System V segment named in line 7: a few bytes, but the
        // kernel has a limit on their number.
        let lines = self.lock_file();
        if let Some(segment) = lines.get(6).and_then(|line| line.split_whitespace().nth(1)) {
            let mut remove = Command::new("ipcrm");
            let remove = remove.args(["-m", segment]).stdout(Stdio::null());
            let _ = remove.stderr(Stdio::null()).status();
        }
    }
}

//! A private PgBouncer in front of a private PostgreSQL server.

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::postgres::Postgres;
use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};
use super::{binaries, dirs, ports};

/// A private pooler on 127.0.0.1 that trusts every user.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
}

impl PgBouncer {
    /// Starts one in transaction mode in front of `server`, or says that the program is missing.
    pub async fn start(server: &Postgres) -> Option<Self> {
        Self::start_with(server, "").await
    }

    /// The same with further lines of the section `[pgbouncer]`; the last of a name counts.
    pub async fn start_with(server: &Postgres, settings: &str) -> Option<Self> {
        let Some(program) = binaries::find("pgbouncer") else {
            eprintln!("skipped: the program `pgbouncer` is missing (package pgbouncer)");
            return None;
        };
        let port = ports::unused_port();
        let mut bouncer = Self {
            // It holds nothing outside of its directory, and its versions differ in which other signal
            // ends it at once.
            process: Process::new("pgbouncer", Signal::SIGKILL),
            port,
        };
        let directory = bouncer.process.directory().to_path_buf();
        let users = directory.join("users.txt");
        dirs::write(&users, "\"postgres\" \"\"\n");
        let file = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             auth_type = trust\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             unix_socket_dir =\n\
             server_login_retry = 1\n\
             {settings}\n",
            server.port(),
            users.display(),
        );
        dirs::write(&file, &text);
        // It refuses to run as root, as PostgreSQL does.
        bouncer.process.spawn(dirs::command(&program).arg(&file));
        wait_until("pgbouncer listens", MAXIMUM_WAIT, async || {
            assert!(!bouncer.process.has_ended(), "pgbouncer does not start");
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Some(bouncer)
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

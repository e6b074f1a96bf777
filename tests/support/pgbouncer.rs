//! A private PgBouncer in front of a private PostgreSQL server.

use nix::sys::signal::Signal;

use super::postgres::Postgres;
use super::program::Program;
use super::{binaries, dirs, ports};

/// A private pooler on 127.0.0.1 that trusts every user.
#[derive(Debug)]
pub struct PgBouncer {
    _program: Program,
    port: u16,
}

impl PgBouncer {
    /// Starts one in transaction mode in front of `server`, or says that the program is missing.
    pub async fn start(server: &Postgres) -> Option<Self> {
        Self::start_with(server, "").await
    }

    /// The same with further lines of the section `[pgbouncer]`; the last of a name counts.
    pub async fn start_with(server: &Postgres, settings: &str) -> Option<Self> {
        let Some(binary) = binaries::find("pgbouncer") else {
            eprintln!("skipped: the program `pgbouncer` is missing (package pgbouncer)");
            return None;
        };
        // It holds nothing outside of its directory, and its versions differ in which other signal
        // ends it at once.
        let mut program = Program::new("pgbouncer", Signal::SIGKILL);
        let port = ports::unused_port();
        let text = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             auth_type = trust\n\
             auth_file = users.txt\n\
             pool_mode = transaction\n\
             unix_socket_dir =\n\
             server_login_retry = 1\n\
             {settings}\n",
            server.port(),
        );
        let directory = program.directory();
        dirs::write(&directory.join("users.txt"), "\"postgres\" \"\"\n");
        dirs::write(&directory.join("pgbouncer.ini"), &text);
        // It refuses to run as root, as PostgreSQL does.
        program.spawn(dirs::command(&binary).arg("pgbouncer.ini"));
        program.listens(port).await;
        Some(Self {
            _program: program,
            port,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

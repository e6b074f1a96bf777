//! PgBouncer in front of a private PostgreSQL server.

use std::env::temp_dir;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User};
use tokio::net::TcpStream;

use super::ports;
use super::postgres::Postgres;
use super::wait::{PATIENCE, wait_until};

/// A PgBouncer of its own, on 127.0.0.1, in transaction mode.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl PgBouncer {
    /// Starts one in front of `server`; `None` where the program is missing.
    pub async fn start(server: &Postgres) -> Option<Self> {
        Self::start_with(server, "").await
    }

    /// The same with more lines in the section `[pgbouncer]` of its settings.
    pub async fn start_with(server: &Postgres, extra_settings: &str) -> Option<Self> {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
        ];
        let Some(program) = program.iter().find(|path| Path::new(path).exists()) else {
            eprintln!("skipped: the program `pgbouncer` is missing (package pgbouncer)");
            return None;
        };
        let port = ports::unused_port();
        let directory = temp_dir().join(format!("tower-health-bouncer-{port}"));
        fs::create_dir_all(&directory).unwrap();
        let users = directory.join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let settings = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\nunix_socket_dir =\nserver_login_retry = 1\n\
             {extra_settings}\n",
            server.port(),
            users.display(),
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new(program);
        // It refuses to run as root.
        if Uid::current().is_root() {
            let nobody = User::from_name("nobody")
                .unwrap()
                .expect("there is a user nobody");
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        }
        let process = command
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bouncer = Self {
            process,
            port,
            directory,
        };
        wait_until("pgbouncer listens", PATIENCE, async || {
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

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

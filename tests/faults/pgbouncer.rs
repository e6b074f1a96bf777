//! Postgres behind PgBouncer, where a login proves nothing: the proxy answers it itself.
//!
//! Skipped, with the reason printed, where the `pgbouncer` program is missing.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::{Postgres, Proxy, judged_on_time, unused_port, wait_until};
use bb8_postgres::PostgresConnectionManager;
use nix::unistd::{Uid, User};
use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::{Config, NoTls};
use tower_health::{Check, Reason, Status, checks};

type Verdict = (Status, Option<Reason>);

const UP: Verdict = (Status::Up, None);
const SOON: Duration = Duration::from_secs(20);

struct Bouncer {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl Bouncer {
    /// One in transaction mode in front of `server`, or `None` where there is no program.
    async fn start(server: &Postgres) -> Option<Self> {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
        ];
        let Some(program) = program.iter().find(|path| Path::new(path).exists()) else {
            eprintln!("skipped: the program `pgbouncer` is missing (package pgbouncer)");
            return None;
        };
        let port = unused_port();
        let directory = env::temp_dir().join(format!("tower-health-bouncer-{port}"));
        fs::create_dir_all(&directory).unwrap();
        let users = directory.join("users.txt");
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let settings = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\nunix_socket_dir =\nserver_login_retry = 1\n",
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
        wait_until("pgbouncer listens", SOON, async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Some(bouncer)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A verdict that `is_right`, or else one found while the machine was on time.
async fn look(check: &impl Check, is_right: impl Fn(Verdict) -> bool) -> Verdict {
    judged_on_time(async || look_once(check).await, |found| is_right(*found)).await
}

async fn look_once(check: &impl Check) -> Verdict {
    let result = timeout(Duration::from_millis(1500), check.check()).await;
    match result.expect("it ends within its budget") {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => (Status::Down, Some(failure.reason())),
    }
}

async fn through(proxy: &Proxy, tested: bool) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(proxy.port())
        .user("postgres")
        .dbname("postgres");
    bb8::Pool::builder()
        .max_size(2)
        .test_on_check_out(tested)
        .build_unchecked(PostgresConnectionManager::new(config, NoTls))
}

#[tokio::test]
async fn a_dead_and_a_frozen_backend_are_found_out_behind_it_without_a_storm() {
    for (tested, warm) in [(true, true), (true, false), (false, true), (false, false)] {
        let context = format!("tested {tested}, warm {warm}");
        let mut server = Postgres::start().await;
        let Some(bouncer) = Bouncer::start(&server).await else {
            return;
        };
        let proxy = Proxy::start(bouncer.port).await;
        let pool = through(&proxy, tested).await;
        let check = checks::postgres(pool.clone());
        if warm {
            assert_eq!(look(&check, |found| found == UP).await, UP, "{context}");
        }
        server.freeze();
        for _ in 0..2 {
            let before = proxy.connections();
            // Whatever the machine does, nothing answers.
            let verdict = look_once(&check).await;
            assert_eq!(verdict, (Status::Down, Some(Reason::Timeout)), "{context}");
            assert!(proxy.connections() - before <= 3, "{context}");
        }
        server.thaw();
        wait_until(&context, SOON, async || look_once(&check).await == UP).await;
        server.kill();
        for run in 0..3 {
            let before = proxy.connections();
            let verdict = look_once(&check).await;
            let made = proxy.connections() - before;
            println!("{context}: backend killed, run {run}: {verdict:?}, {made} connections");
            // PgBouncer drops the first client when it finds out.
            let allowed = [
                Reason::Unreachable,
                Reason::Reset,
                Reason::Timeout,
                Reason::Loading,
            ];
            assert!(
                verdict.0 == Status::Down && allowed.contains(&verdict.1.unwrap()),
                "{context}: {verdict:?}"
            );
            assert!(made <= 4, "{context}: {made} connections");
        }
        server.restart().await;
        // It tries again once a second itself.
        wait_until(&context, SOON, async || look_once(&check).await == UP).await;
        let connection = timeout(SOON, pool.get()).await.unwrap().unwrap();
        wait_until(&context, SOON, async || {
            connection.simple_query("SELECT 1").await.is_ok()
        })
        .await;
    }
}

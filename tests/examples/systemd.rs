//! `examples/systemd.rs` on a notify socket, as systemd reads it.

use std::{
    env, fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use crate::support::{Program, example, unused_port, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
/// The time without `WATCHDOG=1` that proves a blocked runtime: the worker sends it each 100 ms.
const WATCHDOG: Duration = Duration::from_millis(200);

struct Worker {
    program: Program,
    socket: UnixDatagram,
    received: Vec<String>,
    path: PathBuf,
}

impl Worker {
    fn start(target: SocketAddr) -> Self {
        let path = temporary("socket");
        let socket = UnixDatagram::bind(&path).expect("a free path");
        socket.set_nonblocking(true).expect("a socket");
        let mut command = Command::new(example("systemd"));
        command
            .env_clear()
            .env("TARGET", target.to_string())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Self {
            program: Program::start("worker", &mut command),
            socket,
            received: Vec::new(),
            path,
        }
    }

    /// Receives what has arrived, and returns the number of new lines.
    fn receive(&mut self) -> usize {
        let before = self.received.len();
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    self.received.extend(text.lines().map(ToOwned::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.received.len() - before
    }

    fn has(&self, line: &str) -> bool {
        self.received.iter().any(|received| received == line)
    }

    /// Waits for `line`, and forgets all that came before it.
    async fn sends(&mut self, line: &str) {
        wait_until(line, LIMIT, async || {
            self.receive();
            self.has(line)
        })
        .await;
        let at = self.received.iter().position(|received| received == line);
        self.received.drain(..=at.expect("received"));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A path that no other test uses.
fn temporary(extension: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("worker-{}-{number}.{extension}", process::id()))
}

#[tokio::test]
async fn a_worker_is_ready_once_its_dependency_was_up() {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
    let mut worker = Worker::start(target);
    worker.sends("STATUS=starting").await;
    worker.sends("STATUS=database is down: refused").await;
    assert!(!worker.has("READY=1"));
    let listener = TcpListener::bind(target).await.expect("unused");
    worker.sends("READY=1").await;
    worker.sends("WATCHDOG=1").await;
    drop(listener);
    worker.sends("STATUS=database is down: refused").await;
    // A dependency that is down does not justify a restart.
    worker.sends("WATCHDOG=1").await;
    worker.program.signal(Signal::SIGTERM);
    worker.sends("STOPPING=1").await;
    assert_eq!(worker.program.ends().await.code(), Some(0));
}

#[tokio::test]
async fn a_blocked_runtime_sends_no_watchdog() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let mut worker = Worker::start(listener.local_addr().expect("bound"));
    worker.sends("READY=1").await;
    worker.sends("WATCHDOG=1").await;
    worker.program.signal(Signal::SIGUSR1);
    // A notification that was in flight may still arrive.
    wait_until("five silent watchdog periods", LIMIT, async || {
        worker.receive();
        tokio::time::sleep(WATCHDOG * 5).await;
        worker.receive() == 0
    })
    .await;
    assert!(worker.program.end().is_none(), "the worker runs");
}

#[test]
fn systemd_accepts_the_unit_file() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/deploy/systemd/worker.service"
    );
    // The program of the unit is not installed here.
    let text = fs::read_to_string(unit).expect("the unit file");
    let copy = temporary("service");
    fs::write(&copy, text.replace("/usr/local/bin/worker", "/bin/true")).expect("written");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&copy)
        .output();
    let _ = fs::remove_file(&copy);
    match verified {
        Ok(verified) => {
            let errors = String::from_utf8_lossy(&verified.stderr);
            assert!(!errors.contains("worker-"), "{errors}");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("not verified: systemd-analyze is not installed");
        }
        Err(error) => panic!("{error}"),
    }
}

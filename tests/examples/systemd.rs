//! `examples/systemd.rs` on a notify socket, as systemd reads it.

use std::{
    env, fs, net::SocketAddr, os::unix::net::UnixDatagram, path::PathBuf, process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use crate::support::{MAXIMUM_WAIT, Program, example, unused_port, wait_until};

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
        let path = env::temp_dir().join(format!("tower-health-notify-{}", unused_port()));
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
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.received.extend(text.lines().map(ToOwned::to_owned));
        }
        self.received.len() - before
    }

    /// Waits for `line`, and forgets all that came before it.
    async fn sends(&mut self, line: &str) {
        wait_until(line, MAXIMUM_WAIT, async || {
            self.receive();
            let at = self.received.iter().position(|received| received == line);
            at.map(|at| self.received.drain(..=at)).is_some()
        })
        .await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn a_worker_is_ready_once_its_dependency_was_up() {
    let target = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let mut worker = Worker::start(target);
    worker.sends("STATUS=starting").await;
    worker.sends("STATUS=database is down: refused").await;
    assert!(!worker.received.contains(&"READY=1".to_owned()));
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
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut worker = Worker::start(listener.local_addr().expect("bound"));
    worker.sends("READY=1").await;
    worker.sends("WATCHDOG=1").await;
    worker.program.signal(Signal::SIGUSR1);
    // A notification that was in flight may still arrive.
    wait_until("five silent watchdog periods", MAXIMUM_WAIT, async || {
        worker.receive();
        tokio::time::sleep(WATCHDOG * 5).await;
        worker.receive() == 0
    })
    .await;
    assert!(worker.program.end().is_none(), "the worker runs");
}

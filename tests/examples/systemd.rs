//! `examples/systemd.rs` on a notify socket, and with its unit file under a real systemd.

use std::{
    env, fs, net::SocketAddr, os::unix::net::UnixDatagram, path::Path, path::PathBuf,
    process::Command, time::Duration,
};

use nix::{sys::signal::Signal, unistd::geteuid};
use tokio::net::TcpListener;

use crate::support::{MAXIMUM_WAIT, Program, example, unused_port, wait_until};

const DOWN: &str = "database is down: refused";
/// The time without `WATCHDOG=1` that proves a blocked runtime: the worker sends it each 100 ms.
const WATCHDOG: Duration = Duration::from_millis(200);
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Starts systemd as process 1 of new namespaces. It writes to no file outside.
const START: &str = r#"
set -e
units=$1
mount -t tmpfs run /run
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
export container=tests SYSTEMD_UNIT_PATH="$units"
export SYSTEMD_GENERATOR_PATH="$units/none" SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$units/none"
exec "$2" --system --log-target=console --show-status=no
"#;

fn unused_address() -> SocketAddr {
    ([127, 0, 0, 1], unused_port()).into()
}

struct Worker {
    program: Program,
    socket: UnixDatagram,
    path: PathBuf,
}

impl Worker {
    fn start(target: SocketAddr) -> Self {
        let path = env::temp_dir().join(format!("tower-health-notify-{}", unused_port()));
        let socket = UnixDatagram::bind(&path).expect("a free path");
        let silence = socket.set_read_timeout(Some(WATCHDOG * 5));
        silence.expect("a socket");
        let variables = [
            ("TARGET", &*target.to_string()),
            ("NOTIFY_SOCKET", path.to_str().expect("text")),
            ("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string()),
        ];
        let program = Program::example("systemd", &variables);
        Self {
            program,
            socket,
            path,
        }
    }

    /// The next notification, or `None` after five watchdog periods of silence.
    fn receive(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Waits for `line`, and returns the notifications before it.
    async fn sends(&self, line: &str) -> Vec<String> {
        let mut before = Vec::new();
        wait_until(line, MAXIMUM_WAIT, async || {
            let received = self.receive().unwrap_or_default();
            let is_line = received.lines().any(|received| received == line);
            before.push(received);
            is_line
        })
        .await;
        before
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn a_worker_is_ready_once_its_dependency_was_up() {
    let target = unused_address();
    let down = format!("STATUS={DOWN}");
    let mut worker = Worker::start(target);
    worker.sends("STATUS=starting").await;
    let before = worker.sends(&down).await.concat();
    assert!(!before.contains("READY=1"), "{before}");
    let listener = TcpListener::bind(target).await.expect("unused");
    worker.sends("READY=1").await;
    worker.sends("WATCHDOG=1").await;
    drop(listener);
    worker.sends(&down).await;
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
    wait_until("it is silent", MAXIMUM_WAIT, async || {
        worker.receive().is_none()
    })
    .await;
    assert!(worker.program.end().is_none(), "the worker runs");
}

/// A systemd whose only unit is the worker.
fn manager(target: SocketAddr) -> Program {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
    fs::create_dir_all(folder.join("worker.service.d")).expect("a folder");
    let unit = include_str!("../../examples/deploy/systemd/worker.service");
    let all = "[Unit]\nDefaultDependencies=no\nWants=worker.service\nAllowIsolate=yes\n";
    let changed = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\nExecStart={}\n\
         Environment=TARGET={target}\nWatchdogSec=2s\nRestartSec=3s\n",
        example("systemd").display()
    );
    for (name, text) in [
        ("worker.service", unit),
        ("default.target", all),
        ("worker.service.d/test.conf", &changed),
    ] {
        fs::write(folder.join(name), text).expect("written");
    }
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
        .args(["--cgroup", "--ipc", "--uts", "bash", "-c", START, "start"])
        .arg(&folder)
        .arg(SYSTEMD);
    Program::start("systemd", &mut command)
}

fn systemctl(manager: &Program, arguments: &[&str]) -> String {
    let unshare = manager.id().expect("systemd runs");
    let children = format!("/proc/{unshare}/task/{unshare}/children");
    let first = fs::read_to_string(children).unwrap_or_default();
    let output = Command::new("nsenter")
        .args(["--mount", "--pid", "--target", first.trim(), "systemctl"])
        .args(arguments)
        .output()
        .expect("nsenter starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the worker has the properties.
async fn shows(manager: &Program, properties: &[&str]) {
    wait_until(&properties.join(", "), MAXIMUM_WAIT * 2, async || {
        let shown = systemctl(manager, &["show", "worker.service"]);
        let is_shown = |property: &&str| shown.lines().any(|line| line == *property);
        properties.iter().all(is_shown)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs root and a machine that no systemd manages"]
async fn systemd_starts_restarts_and_stops_the_worker() {
    let is_managed = Path::new("/run/systemd/system").exists();
    if !geteuid().is_root() || is_managed || !Path::new(SYSTEMD).exists() {
        println!("not tested: a private systemd cannot run here");
        return;
    }
    let target = unused_address();
    let manager = manager(target);
    let down = &format!("StatusText={DOWN}");
    // The last of the first three transitions may be that of another check.
    shows(&manager, &["ActiveState=activating", "SubState=start"]).await;
    let listener = TcpListener::bind(target).await.expect("unused");
    shows(&manager, &["ActiveState=active", "NRestarts=0"]).await;
    drop(listener);
    shows(&manager, &["ActiveState=active", down]).await;
    let _listener = TcpListener::bind(target).await.expect("unused");
    systemctl(&manager, &["kill", "--signal=SIGUSR1", "worker.service"]);
    // The signal itself ends nothing.
    shows(&manager, &["Result=watchdog"]).await;
    shows(&manager, &["ActiveState=active", "NRestarts=1"]).await;
    systemctl(&manager, &["stop", "worker.service"]);
    shows(&manager, &["ActiveState=inactive", "Result=success"]).await;
}

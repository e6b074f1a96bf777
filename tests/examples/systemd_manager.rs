//! The worker and its unit file under a real systemd, which manages nothing else.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::net::TcpListener;

use crate::support::{Program, example, unused_port, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
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

/// A systemd whose only unit is the worker.
struct Manager(Program);

impl Manager {
    fn start(target: SocketAddr) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
        let settings = folder.join("worker.service.d");
        fs::create_dir_all(&settings).expect("a folder");
        let unit = include_str!("../../examples/deploy/systemd/worker.service");
        let all = "[Unit]\nDefaultDependencies=no\nWants=worker.service\nAllowIsolate=yes\n";
        let changed = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\nExecStart={}\n\
             Environment=TARGET={target}\nWatchdogSec=2s\nRestartSec=3s\n",
            example("systemd").display()
        );
        fs::write(folder.join("worker.service"), unit).expect("written");
        fs::write(folder.join("default.target"), all).expect("written");
        fs::write(settings.join("test.conf"), changed).expect("written");
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--cgroup", "--ipc", "--uts", "bash", "-c", START, "start"])
            .arg(&folder)
            .arg(SYSTEMD);
        Self(Program::start("systemd", &mut command))
    }

    fn systemctl(&self, arguments: &[&str]) -> String {
        let unshare = self.0.id().expect("systemd runs");
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
    async fn shows(&self, properties: &[&str]) {
        wait_until(&properties.join(", "), LIMIT, async || {
            let shown = self.systemctl(&["show", "worker.service"]);
            properties
                .iter()
                .all(|property| shown.lines().any(|line| line == *property))
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs root and a machine that no systemd manages"]
async fn systemd_starts_restarts_and_stops_the_worker() {
    let is_managed = Path::new("/run/systemd/system").exists();
    if !geteuid().is_root() || is_managed || !Path::new(SYSTEMD).exists() {
        println!("not tested: a private systemd cannot run here");
        return;
    }
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
    let manager = Manager::start(target);
    let down = "StatusText=database is down: refused";
    manager.shows(&["ActiveState=activating", down]).await;
    let listener = TcpListener::bind(target).await.expect("unused");
    manager.shows(&["ActiveState=active", "NRestarts=0"]).await;
    drop(listener);
    manager.shows(&["ActiveState=active", down]).await;
    let _listener = TcpListener::bind(target).await.expect("unused");
    manager.systemctl(&["kill", "--signal=SIGUSR1", "worker.service"]);
    // The signal itself ends nothing.
    manager.shows(&["Result=watchdog"]).await;
    manager.shows(&["ActiveState=active", "NRestarts=1"]).await;
    manager.systemctl(&["stop", "worker.service"]);
    manager
        .shows(&["ActiveState=inactive", "Result=success"])
        .await;
}

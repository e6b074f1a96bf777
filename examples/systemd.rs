//! A worker without HTTP under systemd: start, status, watchdog and stop over the notify socket.
//!
//! The unit file is `examples/deploy/systemd/worker.service`. `systemctl status worker` shows the last transition.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM | `STOPPING=1`, then the worker drains for 1 s and ends |
//! | SIGUSR1 | blocks every thread of the runtime: without `WATCHDOG=1` systemd ends and restarts the worker |
//!
//! `TARGET` (`127.0.0.1:5432`) is the dependency: it is up if a connect succeeds.
#![allow(missing_docs)]

use std::{env, error::Error, future::pending, thread, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::{interval, sleep},
};
use tower_health::{
    Health, Outcome, Probe,
    checks::{Heartbeat, RuntimeLag},
    health::Transition,
};

const THREADS: usize = 2;
const DRAIN: Duration = Duration::from_secs(1);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET").unwrap_or_else(|_| "127.0.0.1:5432".to_owned());
    let connect = move || {
        let target = target.clone();
        async move {
            TcpStream::connect(target).await?;
            Ok(Outcome::up())
        }
    };
    let heartbeat = Heartbeat::new(Duration::from_secs(30));
    let health = Health::builder()
        .check("database", connect)
        .liveness_check("worker", heartbeat.clone())
        .liveness_check("runtime", RuntimeLag::new(Duration::from_millis(100)))
        .build();
    let mut stop = signal(SignalKind::terminate())?;
    let mut block = signal(SignalKind::user_defined1())?;
    tokio::spawn(work(heartbeat));
    tokio::spawn(report(health.clone()));
    tokio::select! {
        _ = stop.recv() => {}
        _ = block.recv() => {
            for _ in 0..THREADS {
                tokio::spawn(async { thread::sleep(Duration::MAX) });
            }
            pending().await
        }
    }
    notify(&[NotifyState::Stopping]);
    health.drain(DRAIN).await;
    Ok(())
}

/// The jobs of the worker.
async fn work(heartbeat: Heartbeat) {
    loop {
        sleep(Duration::from_millis(100)).await;
        heartbeat.beat();
    }
}

/// Reports the start, each transition, and while liveness is up the watchdog.
async fn report(health: Health) {
    let mut transitions = health.subscribe();
    notify(&[NotifyState::Status("starting")]);
    let ready = async {
        // `TimeoutStartSec` of the unit is the limit.
        if health.wait_until_ready(Duration::MAX).await.is_ok() {
            notify(&[NotifyState::Ready, NotifyState::Status("started")]);
        }
    };
    let status = async {
        while let Some(transition) = transitions.recv().await {
            notify(&[NotifyState::Status(&line(&transition))]);
        }
    };
    let watchdog = async {
        let Some(limit) = sd_notify::watchdog_enabled() else {
            return;
        };
        // Half of `WatchdogSec`, as sd_watchdog_enabled(3) recommends.
        let mut ticks = interval(limit / 2);
        loop {
            ticks.tick().await;
            if health
                .report_for(&Probe::Liveness)
                .await
                .status
                .is_serving()
            {
                notify(&[NotifyState::Watchdog]);
            }
        }
    };
    tokio::join!(ready, status, watchdog);
}

fn line(transition: &Transition) -> String {
    match transition.reason {
        Some(reason) => format!("{} is {}: {reason}", transition.name, transition.to),
        None => format!("{} is {}", transition.name, transition.to),
    }
}

/// Without systemd the socket is missing, and this does nothing.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        eprintln!("systemd cannot be notified: {error}");
    }
}

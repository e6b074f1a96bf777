// Real time and not tokio's: a clock that a test has paused stands still for a thread, too.
#![allow(clippy::disallowed_types)]

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::window::Window;

/// A thread that measures a runtime from outside. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    reading: Arc<Mutex<Reading>>,
    /// Nothing is sent: the thread notices that it is gone.
    _alive: Sender<()>,
}

/// What was measured last.
#[derive(Debug)]
pub(super) struct Reading {
    measured_at: Instant,
    /// For how long the present canary has waited to be run.
    pub(super) waiting: Duration,
    window: Window,
}

impl Reading {
    /// The longest that a canary has waited lately.
    pub(super) fn worst(&self) -> Duration {
        self.window.worst()
    }

    /// How old the measurement is.
    pub(super) fn age(&self) -> Duration {
        self.measured_at.elapsed()
    }
}

impl Watchdog {
    /// Measures `runtime` each `period`.
    ///
    /// # Panics
    ///
    /// If the system refuses a thread.
    pub(super) fn start(runtime: Handle, period: Duration) -> Self {
        let reading = Arc::new(Mutex::new(Reading {
            measured_at: Instant::now(),
            waiting: Duration::ZERO,
            window: Window::default(),
        }));
        let (alive, end) = channel();
        let sink = reading.clone();
        thread::Builder::new()
            .name("runtime-lag".into())
            .spawn(move || watch(&runtime, period, &sink, &end))
            .expect("the documented panic: the system refuses a thread");
        Self {
            reading,
            _alive: alive,
        }
    }

    pub(super) fn reading(&self) -> MutexGuard<'_, Reading> {
        lock(&self.reading)
    }
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(runtime: &Handle, period: Duration, reading: &Mutex<Reading>, end: &Receiver<()>) {
    let mut canary = CanaryTask::spawn(runtime);
    let mut measured_at = Instant::now();
    while end.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // If this thread did not run either, the machine was short of CPU and not the runtime blocked: a
        // process that was stopped and goes on must not be restarted for it.
        let elapsed = now.saturating_duration_since(measured_at).min(period * 2);
        measured_at = now;

        let late = match canary.ran_after() {
            Some(late) => {
                canary = CanaryTask::spawn(runtime);
                late
            }
            None => {
                canary.waited += elapsed;
                canary.waited
            }
        };
        let mut reading = lock(reading);
        reading.measured_at = now;
        reading.waiting = canary.waited;
        reading.window.push(late);
    }
}

/// An empty task that waits to be run. There is one at a time, so that a runtime that runs none does
/// not fill up with them.
struct CanaryTask {
    spawned: Instant,
    ran_at: Arc<OnceLock<Instant>>,
    waited: Duration,
}

impl CanaryTask {
    fn spawn(runtime: &Handle) -> Self {
        let ran_at = Arc::new(OnceLock::new());
        let sink = ran_at.clone();
        let spawned = Instant::now();
        runtime.spawn(async move {
            let _ = sink.set(Instant::now());
        });
        Self {
            spawned,
            ran_at,
            waited: Duration::ZERO,
        }
    }

    fn ran_after(&self) -> Option<Duration> {
        let ran_at = self.ran_at.get()?;
        Some(ran_at.saturating_duration_since(self.spawned))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread::yield_now, time::Duration};

    use tokio::runtime::Handle;

    use super::Watchdog;

    #[tokio::test]
    async fn the_thread_ends_with_its_watchdog_though_the_period_is_long() {
        let watchdog = Watchdog::start(Handle::current(), Duration::from_secs(3_600));
        let seen = Arc::downgrade(&watchdog.reading);
        assert_eq!(seen.strong_count(), 2, "the thread has one");
        drop(watchdog);
        // Endless if it did not.
        while seen.strong_count() > 0 {
            yield_now();
        }
    }
}

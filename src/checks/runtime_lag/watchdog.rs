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

use super::{
    standstill::{Mark, Standstill},
    window::Window,
};

/// A thread that looks at a runtime from outside. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    seen: Arc<Mutex<Seen>>,
    /// Nothing is sent: the thread notices that it is gone.
    _alive: Sender<()>,
}

/// What the last look saw.
#[derive(Debug)]
pub(super) struct Seen {
    looked: Instant,
    /// For how long the task that is on its way has waited to be run.
    pub(super) waiting: Duration,
    /// For how long the worker thread has not moved that has stood still longest.
    pub(super) standstill: Duration,
    window: Window,
}

impl Seen {
    /// The longest that anything waits at present.
    pub(super) fn present(&self) -> Duration {
        self.waiting.max(self.standstill)
    }

    /// The longest that anything has waited lately.
    pub(super) fn worst(&self) -> Duration {
        self.window.worst()
    }

    /// How long nobody has looked.
    pub(super) fn age(&self) -> Duration {
        self.looked.elapsed()
    }
}

impl Watchdog {
    /// Looks at `runtime` each `period`.
    ///
    /// # Panics
    ///
    /// When there is no thread to be had.
    pub(super) fn start(runtime: Handle, period: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            looked: Instant::now(),
            waiting: Duration::ZERO,
            standstill: Duration::ZERO,
            window: Window::default(),
        }));
        let (alive, end) = channel();
        let sink = seen.clone();
        thread::Builder::new()
            .name("runtime-lag".into())
            .spawn(move || watch(&runtime, period, &sink, &end))
            .expect("the documented panic: no thread is to be had");
        Self {
            seen,
            _alive: alive,
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(runtime: &Handle, period: Duration, seen: &Mutex<Seen>, end: &Receiver<()>) {
    let mut envoy = Envoy::send(runtime);
    let mut standstill = Standstill::default();
    let mut looked = Instant::now();
    while end.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // When this thread did not run either, the machine stood still and not the runtime: a
        // process that was stopped and goes on must not be restarted for it.
        let elapsed = now.saturating_duration_since(looked).min(period * 2);
        looked = now;

        let late = match envoy.arrived_after() {
            Some(late) => {
                envoy = Envoy::send(runtime);
                late
            }
            None => {
                envoy.waited += elapsed;
                envoy.waited
            }
        };
        let metrics = runtime.metrics();
        let longest = (0..metrics.num_workers())
            .map(|worker| {
                let mark = Mark {
                    parks_and_unparks: metrics.worker_park_unpark_count(worker),
                    busy: metrics.worker_total_busy_duration(worker),
                };
                standstill.look(worker, mark, elapsed)
            })
            .max()
            .unwrap_or_default();

        let mut seen = lock(seen);
        seen.looked = now;
        seen.waiting = envoy.waited;
        seen.standstill = longest;
        seen.window.push(late.max(longest));
    }
}

/// An empty task on its way to a worker thread. There is one at a time, so that a runtime that
/// runs none does not fill up with them.
struct Envoy {
    sent: Instant,
    arrived: Arc<OnceLock<Instant>>,
    waited: Duration,
}

impl Envoy {
    fn send(runtime: &Handle) -> Self {
        let arrived = Arc::new(OnceLock::new());
        let sink = arrived.clone();
        let sent = Instant::now();
        runtime.spawn(async move {
            let _ = sink.set(Instant::now());
        });
        Self {
            sent,
            arrived,
            waited: Duration::ZERO,
        }
    }

    fn arrived_after(&self) -> Option<Duration> {
        let arrived = self.arrived.get()?;
        Some(arrived.saturating_duration_since(self.sent))
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
        let seen = Arc::downgrade(&watchdog.seen);
        assert_eq!(seen.strong_count(), 2, "the thread has one");
        drop(watchdog);
        // Endless if it did not.
        while seen.strong_count() > 0 {
            yield_now();
        }
    }
}

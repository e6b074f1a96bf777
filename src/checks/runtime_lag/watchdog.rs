//! The thread that measures a runtime, and what it has measured.

// Real time and not tokio's: a paused test clock would not advance for a thread, either.
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

/// A thread that measures a runtime from outside. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    reading: Arc<Mutex<WatchdogReading>>,
    /// Its drop ends the thread. Nothing is sent.
    _alive: Sender<()>,
}

/// The last measurements.
#[derive(Debug)]
pub(super) struct WatchdogReading {
    measured_at: Instant,
    /// How long the present canary has waited to be run.
    pub(super) waiting: Duration,
    window: Window,
}

impl WatchdogReading {
    /// The longest wait of a canary within the last hundred periods, or up to twice as many.
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
        let reading = Arc::new(Mutex::new(WatchdogReading {
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

    pub(super) fn reading(&self) -> MutexGuard<'_, WatchdogReading> {
        lock(&self.reading)
    }
}

fn lock(reading: &Mutex<WatchdogReading>) -> MutexGuard<'_, WatchdogReading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(runtime: &Handle, period: Duration, reading: &Mutex<WatchdogReading>, end: &Receiver<()>) {
    let mut canary = CanaryTask::spawn(runtime);
    let mut measured_at = Instant::now();
    while end.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // Capped: if this thread was late, too, the machine was short of CPU and the runtime was not blocked. A
        // process that was stopped and continues must not be restarted for it.
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

/// An empty task that waits to be run. At most one exists, so that a blocked runtime does not fill up.
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

/// The worst lag of the last [`LENGTH`](Self::LENGTH) measurements, or of up to twice as many.
///
/// Without it, a spike between two runs of the check would be missed.
#[derive(Debug, Default)]
struct Window {
    count: u32,
    before: Duration,
    present: Duration,
}

impl Window {
    const LENGTH: u32 = 100;

    fn push(&mut self, lag: Duration) {
        if self.count == Self::LENGTH {
            self.count = 0;
            self.before = self.present;
            self.present = Duration::ZERO;
        }
        self.count += 1;
        self.present = self.present.max(lag);
    }

    fn worst(&self) -> Duration {
        self.before.max(self.present)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread::yield_now, time::Duration};

    use tokio::runtime::Handle;

    use super::{Watchdog, Window};

    #[tokio::test]
    async fn the_thread_ends_with_its_watchdog() {
        let watchdog = Watchdog::start(Handle::current(), Duration::from_secs(3_600));
        let reading = Arc::downgrade(&watchdog.reading);
        assert_eq!(reading.strong_count(), 2, "the thread has one");
        drop(watchdog);
        // Endless if the thread waited for its period.
        while reading.strong_count() > 0 {
            yield_now();
        }
    }

    #[test]
    fn a_spike_counts_for_one_to_two_windows() {
        let spike = Duration::from_secs(1);
        for lead in 0..Window::LENGTH {
            let mut window = Window::default();
            for _ in 0..lead {
                window.push(Duration::ZERO);
            }
            window.push(spike);
            let mut counted_for = 0;
            while window.worst() == spike {
                counted_for += 1;
                window.push(Duration::ZERO);
            }
            assert!(
                (Window::LENGTH..=2 * Window::LENGTH).contains(&counted_for),
                "{counted_for}"
            );
        }
    }
}

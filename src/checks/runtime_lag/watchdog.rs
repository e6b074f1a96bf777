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
    pub(super) measured_at: Instant,
    /// How long the present canary has waited to be run.
    pub(super) waiting: Duration,
    pub(super) window: Window,
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
    let mut canary = spawn_canary(runtime);
    let mut waited = Duration::ZERO;
    let mut measured_at = Instant::now();
    while end.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        // Capped: if this thread was late, too, the machine was short of CPU and the runtime was not blocked. A
        // process that was stopped and continues must not be restarted for it.
        let elapsed = now.saturating_duration_since(measured_at).min(period * 2);
        measured_at = now;

        let ran_after = canary.get().copied();
        if ran_after.is_some() {
            canary = spawn_canary(runtime);
            waited = Duration::ZERO;
        } else {
            waited += elapsed;
        }
        let mut reading = lock(reading);
        reading.measured_at = now;
        reading.waiting = waited;
        reading.window.push(ran_after.unwrap_or(waited));
    }
}

/// Spawns an empty task, which records how late it is run.
///
/// At most one waits to be run, so that a blocked runtime does not fill up.
fn spawn_canary(runtime: &Handle) -> Arc<OnceLock<Duration>> {
    let ran_after = Arc::new(OnceLock::new());
    let (sink, spawned) = (ran_after.clone(), Instant::now());
    runtime.spawn(async move {
        let _ = sink.set(spawned.elapsed());
    });
    ran_after
}

/// The worst lag of the last [`LENGTH`](Self::LENGTH) measurements, or of up to twice as many.
///
/// Without it, a spike between two runs of the check would be missed.
#[derive(Debug, Default)]
pub(super) struct Window {
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

    pub(super) fn worst(&self) -> Duration {
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

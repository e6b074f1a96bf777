use std::time::Duration;

/// What a worker thread's counters say: how often it has parked and unparked, and how long it was busy.
///
/// Tokio writes them when a worker parks, when it wakes, and after each 61 polls (its default
/// `event_interval`): one that is awake and leaves both as they were is within one of these stretches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) parks_and_unparks: u64,
    pub(super) busy: Duration,
}

impl Mark {
    /// Counted by one each way, from awake.
    fn is_parked(self) -> bool {
        self.parks_and_unparks % 2 == 1
    }
}

/// How long each worker thread has stood still.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    workers: Vec<Option<(Mark, Duration)>>,
}

impl Standstill {
    /// Takes in that the worker number `worker` shows `mark`, `elapsed` after the last look.
    /// Returns for how long it has shown nothing else while it was awake.
    pub(super) fn look(&mut self, worker: usize, mark: Mark, elapsed: Duration) -> Duration {
        if self.workers.len() <= worker {
            self.workers.resize(worker + 1, None);
        }
        let still = match self.workers[worker] {
            Some((last, still)) if last == mark && !mark.is_parked() => still + elapsed,
            _ => Duration::ZERO,
        };
        self.workers[worker] = Some((mark, still));
        still
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Mark, Standstill};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_awake_and_does_not_move_stands_still() {
        let mut standstill = Standstill::default();
        // Parks and unparks, busy, what it has stood still for 10 ms later.
        let table = [
            (0, 0, 0),
            (0, 0, 10),
            (0, 0, 20),
            // Still awake, and 61 polls on.
            (0, 5, 0),
            (0, 5, 10),
            (1, 6, 0),
            // Asleep is not stuck, however long.
            (1, 6, 0),
            (1, 6, 0),
            (2, 6, 0),
            (2, 6, 10),
            // Slept and woke between two looks.
            (4, 6, 0),
        ];
        for (number, (parks_and_unparks, busy, expected)) in table.into_iter().enumerate() {
            let mark = Mark {
                parks_and_unparks,
                busy: busy * MS,
            };
            assert_eq!(
                standstill.look(1, mark, 10 * MS),
                expected * MS,
                "row {number}"
            );
        }
    }

    #[test]
    fn each_worker_counts_for_itself() {
        let mut standstill = Standstill::default();
        let mark = |busy: u32| Mark {
            parks_and_unparks: 0,
            busy: busy * MS,
        };
        for round in 0..3 {
            assert_eq!(standstill.look(0, mark(round), MS), Duration::ZERO);
            assert_eq!(standstill.look(3, mark(0), MS), round * MS);
        }
    }
}

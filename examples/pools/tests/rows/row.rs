//! One row: its runs, what they should report, and the table of all rows.

use std::{fmt::Debug, time::Duration};

use tokio::time::{Instant, timeout_at};
use tower_health::{Check, Reason, Status};

use crate::{
    answer::{Answer, answer, down},
    support::judged_on_time,
};

/// Connections of each pool.
pub const SIZE: u32 = 3;
/// How long a condition is awaited on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Rows at a time: more would make the machine late.
pub const AT_ONCE: usize = 4;
/// The timeout of a dependency by default.
const RUN: Duration = Duration::from_millis(800);
const RUNS: usize = 3;

/// The faults of a server, and all of them in order.
macro_rules! faults {
    ($($fault:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Fault {
            $($fault),*
        }

        const FAULTS: &[Fault] = &[$(Fault::$fault),*];
    };
}
pub(crate) use faults;

/// What one pool reports in one fault.
#[derive(Debug)]
pub struct Row {
    pub fault: String,
    pub warm: bool,
    pub expected: Answer,
    pub found: Vec<Answer>,
    /// The first run after the recovery.
    pub recovered: Answer,
}

impl Row {
    /// Whether the status is right in each run, and the reason is.
    fn matches(&self) -> (bool, bool) {
        let status = self.found.iter().all(|found| found.0 == self.expected.0);
        let reason = self.found.iter().all(|found| *found == self.expected);
        (status, reason)
    }
}

/// One run as a dependency makes it. Runs again if the machine was late.
pub async fn run(check: &impl Check, wanted: Answer) -> Answer {
    let once = async || {
        let deadline = Instant::now() + RUN;
        match timeout_at(deadline, check.check_until(deadline)).await {
            Ok(result) => answer(&result),
            Err(_) => down(Reason::Timeout),
        }
    };
    judged_on_time(once, |found| *found == wanted).await
}

/// Some runs, one after the other.
pub async fn runs(check: &impl Check, wanted: Answer) -> Vec<Answer> {
    let mut found = Vec::new();
    for _ in 0..RUNS {
        found.push(run(check, wanted).await);
    }
    found
}

/// A pool's result where it differs from that of the checks on `bb8` pools.
pub struct Miss<F> {
    pub fault: F,
    pub warm: bool,
    pub found: Answer,
}

/// The recorded miss of a row, or what is expected of every pool.
pub fn wanted<F: Copy + PartialEq>(
    misses: &[Miss<F>],
    (fault, warm): (F, bool),
    expected: Answer,
) -> Answer {
    let miss = misses
        .iter()
        .find(|miss| miss.fault == fault && miss.warm == warm);
    miss.map_or(expected, |miss| miss.found)
}

/// Prints the rows as the guide has them, and compares them with the recorded misses.
///
/// # Panics
///
/// If a row has another result than expected, and the misses do not name it.
pub fn compare<F: Copy + Debug>(pool: &str, rows: &[Row], misses: &[Miss<F>]) {
    let count =
        |select: fn((bool, bool)) -> bool| rows.iter().filter(|row| select(row.matches())).count();
    println!(
        "{pool}: same status on {} of {} rows, same reason on {}",
        count(|(status, _)| status),
        rows.len(),
        count(|(_, reason)| reason)
    );
    let mut wrong = 0;
    for row in rows {
        let state = if row.warm { "warm" } else { "cold" };
        let miss = misses
            .iter()
            .find(|miss| format!("{:?}", miss.fault) == row.fault && miss.warm == row.warm);
        let wanted = miss.map_or(row.expected, |miss| miss.found);
        // A connection may be free by chance: then the run knows as much as one on a `bb8` pool.
        let is_known = |found: &Answer| [wanted, row.expected].contains(found);
        let is_right = row.found.iter().all(is_known) && row.recovered == (Status::Up, None);
        wrong += usize::from(!is_right);
        let mark = match (is_right, miss) {
            (false, _) => "WRONG",
            (true, Some(_)) => "miss",
            (true, None) => "",
        };
        println!(
            "| {pool} | {} | {state} | {:?} | {:?} | {:?} | {mark} |",
            row.fault, row.expected, row.found, row.recovered
        );
    }
    assert_eq!(wrong, 0, "{pool}: rows with another result");
}

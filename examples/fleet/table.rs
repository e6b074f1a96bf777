//! The figures of a simulation, by phase.

use std::{fmt, ops::Range, time::Duration};

use crate::model::{Course, Scenario, Way};

/// From a deploy until the fleet is steady.
const SETTLING: u64 = 30;

/// Checks per second in one phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) mean: f64,
    pub(crate) peak: u32,
}

impl Rate {
    fn of(counts: &[u32], seconds: Range<u64>) -> Self {
        let within = |second: u64| usize::try_from(second).unwrap_or(usize::MAX);
        let counts = &counts[within(seconds.start)..within(seconds.end)];
        let sum: f64 = counts.iter().copied().map(f64::from).sum();
        Self {
            mean: sum / counts.len() as f64,
            peak: counts.iter().copied().max().unwrap_or(0),
        }
    }

    /// Before the outage.
    pub(crate) fn steady(course: &Course, scenario: &Scenario) -> Self {
        Self::of(&course.arrivals.checks, SETTLING..scenario.fails_at)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {}", self.mean, self.peak)
    }
}

pub(crate) fn head() {
    println!(
        "| checks per second: mean / peak | steady | first 5 s | server down | first 15 s after | connections opened while down | 99 % report down / up after |"
    );
    println!("|---|---|---|---|---|---|---|");
}

pub(crate) fn row(way: Way, course: &Course, scenario: &Scenario) {
    let checks = |seconds| Rate::of(&course.arrivals.checks, seconds);
    println!(
        "| {} | {} | {} | {} | {} | {} | {} / {} |",
        way.name(),
        Rate::steady(course, scenario),
        checks(0..5),
        checks(scenario.fails_at..scenario.returns_at),
        checks(scenario.returns_at..scenario.returns_at + 15),
        Rate::of(
            &course.arrivals.connects,
            scenario.fails_at..scenario.returns_at
        ),
        seconds(course.seen_down),
        seconds(course.seen_up),
    );
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(
        || "never".into(),
        |span| format!("{:.1} s", span.as_secs_f64()),
    )
}

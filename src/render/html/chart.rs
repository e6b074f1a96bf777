//! The last runs drawn: latency as a line, and below it a mark for each run.
//!
//! Newest at the right. A mark's height says what its colour says, for those who see no colours.

use std::fmt;

use super::words::latency;
use crate::report::{CheckRun, Status, rounded_millis};

// Small, since every number is written out once a run.
const WIDTH: usize = 64;
const STEP: usize = 2;
/// The line runs between these two, from the longest run to none.
const TOP: f64 = 4.0;
const BOTTOM: f64 = 44.0;
/// In milliseconds. Differences below one are noise: they must not look like a storm.
const LEAST_SCALE: f64 = 1.0;

/// The drawing of `runs`, with its meaning in words.
pub(super) struct Chart<'a>(pub(super) &'a [CheckRun]);

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0;
        write!(
            f,
            r#"<svg class="chart" viewBox="0 0 64 72" preserveAspectRatio="none" role="img" aria-label="{}">"#,
            Label(runs)
        )?;
        // Where runs will stand that have not been yet.
        f.write_str(r#"<path class="none" d="M.3 67H64"/>"#)?;
        write!(f, r#"<path class="line" d="{}"/>"#, Line(runs))?;
        let last = &runs[runs.len().saturating_sub(1)..];
        write!(
            f,
            r#"<path class="last" d="{}"/>"#,
            Dot(last, longest(runs))
        )?;
        for status in [Status::Up, Status::Degraded, Status::Down] {
            write!(f, r#"<path class="{status}" d="{}"/>"#, Marks(runs, status))?;
        }
        f.write_str("</svg>")
    }
}

/// The latest and the longest latency; nothing before the first run.
pub(super) fn caption(runs: &[CheckRun]) -> String {
    let Some(last) = runs.last() else {
        return String::new();
    };
    let longest = runs
        .iter()
        .map(|run| run.duration)
        .max()
        .unwrap_or_default();
    format!("{} · max {}", latency(last.duration), latency(longest))
}

struct Label<'a>(&'a [CheckRun]);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Last {} runs", self.0.len())?;
        let mut separator = ": ";
        for (status, word) in [
            (Status::Up, "up"),
            (Status::Degraded, "degraded"),
            (Status::Down, "failed"),
        ] {
            let count = self.0.iter().filter(|run| run.status == status).count();
            if count > 0 {
                write!(f, "{separator}{count} {word}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

struct Line<'a>(&'a [CheckRun]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = longest(self.0);
        for (x, run) in placed(self.0) {
            let command = if x == first(self.0) { 'M' } else { 'L' };
            write!(f, "{command}{x} {}", height(run, longest))?;
        }
        Ok(())
    }
}

/// The latest run once more, as a dot.
struct Dot<'a>(&'a [CheckRun], f64);

impl fmt::Display for Dot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (x, run) in placed(self.0) {
            write!(f, "M{x} {}h0", height(run, self.1))?;
        }
        Ok(())
    }
}

/// Upside down, which is shorter; the style turns them over and stands them at the bottom.
struct Marks<'a>(&'a [CheckRun], Status);

impl fmt::Display for Marks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = match self.1 {
            Status::Up => 8,
            Status::Degraded => 14,
            Status::Unknown | Status::Down => 20,
        };
        for (x, _) in placed(self.0).filter(|(_, run)| run.status == self.1) {
            write!(f, "M{x} 0v{height}")?;
        }
        Ok(())
    }
}

fn first(runs: &[CheckRun]) -> usize {
    (WIDTH + STEP / 2).saturating_sub(runs.len() * STEP)
}

/// Runs with the middle of their columns.
fn placed(runs: &[CheckRun]) -> impl Iterator<Item = (usize, &CheckRun)> {
    (first(runs)..).step_by(STEP).zip(runs)
}

fn longest(runs: &[CheckRun]) -> f64 {
    runs.iter()
        .map(|run| rounded_millis(run.duration))
        .fold(LEAST_SCALE, f64::max)
}

fn height(run: &CheckRun, longest: f64) -> f64 {
    // From what the script is told, in its order of operations: else the line would tremble.
    (BOTTOM - (BOTTOM - TOP) * rounded_millis(run.duration) / longest).round()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Chart, caption};
    use crate::report::{History, Status};

    #[test]
    fn the_newest_run_stands_at_the_right_and_the_longest_at_the_top() {
        let history = History::default()
            .then(Status::Up, Duration::from_millis(10))
            .then(Status::Down, Duration::from_millis(40))
            .then(Status::Degraded, Duration::from_millis(20));
        let svg = Chart(history.runs()).to_string();
        assert!(
            svg.contains(r#"class="line" d="M59 34L61 4L63 24""#),
            "{svg}"
        );
        assert!(svg.contains(r#"class="last" d="M63 24h0""#), "{svg}");
        assert!(svg.contains(r#"class="up" d="M59 0v8""#), "{svg}");
        assert!(svg.contains(r#"class="down" d="M61 0v20""#), "{svg}");
        assert!(svg.contains(r#"class="degraded" d="M63 0v14""#), "{svg}");
        assert!(
            svg.contains("Last 3 runs: 1 up, 1 degraded, 1 failed"),
            "{svg}"
        );
        assert_eq!(caption(history.runs()), "20.0 ms · max 40.0 ms");
    }

    #[test]
    fn a_full_history_fills_the_width() {
        let mut history = History::default();
        for _ in 0..History::RUNS {
            history = history.then(Status::Up, Duration::from_micros(300));
        }
        let svg = Chart(history.runs()).to_string();
        assert!(svg.contains(r#"d="M1 32L3 32"#), "{svg}");
    }

    #[test]
    fn no_run_at_all_draws_nothing() {
        let svg = Chart(&[]).to_string();
        assert!(svg.contains(r#"class="line" d="""#), "{svg}");
        assert_eq!(caption(&[]), "");
    }
}

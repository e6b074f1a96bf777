//! The past runs: latency as a line, below it a mark for each run, and their reasons in words.
//!
//! The newest run is at the right. A mark's height repeats what its color says.

use std::fmt;

use super::text::latency;
use crate::report::{CheckRun, Status, rounded_millis};

// Small, because each run writes out its numbers.
const WIDTH: usize = 64;
const STEP: usize = 2;
/// The line lies between these two: the longest run, and a run of no duration.
const TOP: f64 = 4.0;
const BOTTOM: f64 = 44.0;
/// In milliseconds. Shorter differences are noise, and must not look large.
const LEAST_SCALE: f64 = 1.0;

/// The drawing of runs, with a label in words.
pub(super) struct Chart<'a>(pub(super) &'a [CheckRun]);

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0;
        write!(
            f,
            r#"<svg class="chart" viewBox="0 0 64 72" preserveAspectRatio="none" role="img" aria-label="{}">"#,
            Label(runs)
        )?;
        // The places of future runs.
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

/// The latest and the longest duration.
pub(super) fn caption(runs: &[CheckRun]) -> String {
    let last = runs.last().map(|run| run.duration);
    let longest = runs.iter().map(|run| run.duration).max();
    let [last, longest] = [last, longest].map(|time| latency(time.unwrap_or_default()));
    format!("{last} · max {longest}")
}

/// Equal runs in a row as one line with their reason, newest first.
pub(super) struct PastRuns<'a>(pub(super) &'a [CheckRun]);

impl fmt::Display for PastRuns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<ol>")?;
        let equal = |a: &CheckRun, b: &CheckRun| (a.status, a.reason) == (b.status, b.reason);
        let mut groups: Vec<_> = self.0.chunk_by(equal).collect();
        groups.reverse();
        for group in groups {
            // Its end tag is optional, and would be the larger half of a short line.
            f.write_str("<li>")?;
            if group.len() > 1 {
                write!(f, "{} × ", group.len())?;
            }
            match (group[0].status, group[0].reason) {
                (Status::Down, Some(reason)) => reason.fmt(f)?,
                (status, Some(reason)) => write!(f, "{status}: {reason}")?,
                (status, None) => status.fmt(f)?,
            }
        }
        f.write_str("</ol>")
    }
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
    (BOTTOM - (BOTTOM - TOP) * rounded_millis(run.duration) / longest).round()
}

#[cfg(test)]
mod tests {
    use super::{Chart, PastRuns, caption};
    use crate::report::{CheckRun, History, Reason, Status};

    #[test]
    fn the_newest_run_is_at_the_right_and_the_longest_at_the_top() {
        let runs = [
            CheckRun::new(Status::Up, None, 10),
            CheckRun::new(Status::Down, None, 40),
            CheckRun::new(Status::Degraded, None, 20),
        ];
        let svg = Chart(&runs).to_string();
        for part in [
            r#"class="line" d="M59 34L61 4L63 24""#,
            r#"class="last" d="M63 24h0""#,
            r#"class="up" d="M59 0v8""#,
            r#"class="down" d="M61 0v20""#,
            r#"class="degraded" d="M63 0v14""#,
            "Last 3 runs: 1 up, 1 degraded, 1 failed",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(caption(&runs), "20.0 ms · max 40.0 ms");
    }

    #[test]
    fn a_full_history_fills_the_width() {
        let runs = [CheckRun::new(Status::Up, None, 0); History::RUNS];
        let svg = Chart(&runs).to_string();
        assert!(svg.contains(r#"d="M1 44L3 44"#), "{svg}");
    }

    #[test]
    fn equal_past_runs_are_one_line_with_their_reason() {
        let runs = [
            CheckRun::new(Status::Up, None, 1),
            CheckRun::new(Status::Up, None, 2),
            CheckRun::new(Status::Down, Some(Reason::Refused), 3),
            CheckRun::new(Status::Down, Some(Reason::Timeout), 800),
            CheckRun::new(Status::Down, Some(Reason::Timeout), 801),
        ];
        assert_eq!(
            PastRuns(&runs).to_string(),
            "<ol><li>2 × timeout<li>refused<li>2 × up</ol>"
        );
    }
}

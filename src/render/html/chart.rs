//! The past runs: latency as a line, a mark below it for each run, and their reasons as text.
//!
//! The newest run is at the right. The height of a mark repeats the meaning of its color.

use super::text::latency;
use crate::report::{CheckRun, Status, rounded_millis};

// Small, because the numbers of each run are part of the page.
const WIDTH: usize = 64;
const STEP: usize = 2;
/// The line is between these two: the longest run, and a run of no duration.
const TOP: f64 = 4.0;
const BOTTOM: f64 = 44.0;
/// In milliseconds. Shorter differences are noise, and must not appear large.
const MIN_SCALE: f64 = 1.0;

/// Draws `runs`, of which there is at least one.
pub(super) fn chart(runs: &[CheckRun]) -> String {
    let longest = runs
        .iter()
        .map(|run| rounded_millis(run.duration))
        .fold(MIN_SCALE, f64::max);
    let points = with_places(runs).map(|(x, run)| {
        let y = BOTTOM - (BOTTOM - TOP) * rounded_millis(run.duration) / longest;
        format!("{x} {}", y.round())
    });
    let points: Vec<_> = points.collect();
    // Upside down, which is shorter; the style turns them over and moves them to the bottom.
    let marks =
        [(Status::Up, 8), (Status::Degraded, 14), (Status::Down, 20)].map(|(status, height)| {
            let runs = with_places(runs).filter(|(_, run)| run.status == status);
            let marks: String = runs.map(|(x, _)| format!("M{x} 0v{height}")).collect();
            format!(r#"<path class="{status}" d="{marks}"/>"#)
        });
    // The class `none` shows the places of future runs.
    format!(
        r#"<svg class="chart" viewBox="0 0 64 72" preserveAspectRatio="none" role="img" aria-label="{}"><path class="none" d="M.3 67H64"/><path class="line" d="M{}"/><path class="last" d="M{}h0"/>{}</svg>"#,
        label(runs),
        points.join("L"),
        points.last().map_or("", |point| point),
        marks.concat()
    )
}

/// Returns the runs with the middle of their columns.
fn with_places(runs: &[CheckRun]) -> impl Iterator<Item = (usize, &CheckRun)> {
    let first = (WIDTH + STEP / 2).saturating_sub(runs.len() * STEP);
    (first..).step_by(STEP).zip(runs)
}

fn label(runs: &[CheckRun]) -> String {
    let counts = [
        (Status::Up, "up"),
        (Status::Degraded, "degraded"),
        (Status::Down, "failed"),
    ]
    .map(|(status, name)| (runs.iter().filter(|run| run.status == status).count(), name));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    format!("Last {} runs: {}", runs.len(), counts.join(", "))
}

/// Returns the latest and the longest duration.
pub(super) fn caption(runs: &[CheckRun]) -> String {
    let last = runs.last().map(|run| run.duration);
    let longest = runs.iter().map(|run| run.duration).max();
    let [last, longest] = [last, longest].map(|time| latency(time.unwrap_or_default()));
    format!("{last} · max {longest}")
}

/// Lists the runs, newest first; equal runs in a row are one item.
pub(super) fn past_runs(runs: &[CheckRun]) -> String {
    let equal = |a: &CheckRun, b: &CheckRun| (a.status, a.reason) == (b.status, b.reason);
    let groups: Vec<_> = runs.chunk_by(equal).collect();
    let items = groups.iter().rev().map(|group| {
        let times = match group.len() {
            1 => String::new(),
            count => format!("{count} × "),
        };
        let result = match (group[0].status, group[0].reason) {
            (Status::Down, Some(reason)) => reason.to_string(),
            (status, Some(reason)) => format!("{status}: {reason}"),
            (status, None) => status.to_string(),
        };
        // The end tag is optional, and would be the larger half of a short line.
        format!("<li>{times}{result}")
    });
    format!("<ol>{}</ol>", items.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{caption, chart, past_runs};
    use crate::report::{CheckRun, History, Reason, Status};

    #[test]
    fn the_newest_run_is_at_the_right_and_the_longest_at_the_top() {
        let runs = [
            CheckRun::new(Status::Up, None, 10),
            CheckRun::new(Status::Down, None, 40),
            CheckRun::new(Status::Degraded, None, 20),
        ];
        let svg = chart(&runs);
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
        let svg = chart(&[CheckRun::new(Status::Up, None, 0); History::RUNS]);
        assert!(svg.contains(r#"d="M1 44L3 44"#), "{svg}");
        assert!(svg.contains(r#""Last 32 runs: 32 up""#), "{svg}");
    }

    #[test]
    fn equal_past_runs_are_one_item_with_their_reason() {
        let runs = [
            CheckRun::new(Status::Up, None, 1),
            CheckRun::new(Status::Up, None, 2),
            CheckRun::new(Status::Degraded, Some(Reason::Slow), 2),
            CheckRun::new(Status::Down, Some(Reason::Refused), 3),
            CheckRun::new(Status::Down, Some(Reason::Timeout), 800),
            CheckRun::new(Status::Down, Some(Reason::Timeout), 801),
        ];
        assert_eq!(
            past_runs(&runs),
            "<ol><li>2 × timeout<li>refused<li>degraded: slow<li>2 × up</ol>"
        );
    }
}

//! What was measured, and whether it is more than noise.

use std::collections::BTreeMap;

use crate::cell::{Asked, Measured};

/// All runs of one row, by who asked.
pub type Row = BTreeMap<Asked, Vec<Measured>>;

pub const HEAD: &str = "| fault | round trip | pool | asked | served | p99, ms | failed | killed | sockets before, most |\n|---|---|---|---|---|---|---|---|---|";

/// Prints the row's lines; a mark stands where a check's result is outside of what two runs without one differ by.
pub fn print(fault: &str, round_trip: u128, pool: &str, row: &Row) {
    let runs_without = [Asked::Never, Asked::NeverAgain];
    let without: Vec<_> = runs_without
        .iter()
        .filter_map(|asked| row.get(asked))
        .flatten()
        .collect();
    let served = Range::of(without.iter().map(|run| run.served as f64));
    let p99s = Range::of(without.iter().map(|run| p99(run)));
    let sockets = without.iter().map(|run| run.most_sockets).max();
    let start = format!("| {fault} | {round_trip} ms | {pool} |");
    if let Some(sockets) = sockets {
        let failed: u64 = without.iter().map(|run| run.failed).sum();
        let killed: u64 = without.iter().map(|run| run.killed).sum();
        let before = without.iter().map(|run| run.sockets_before).max();
        let before = before.unwrap_or_default();
        println!(
            "{start} never, {} runs | {served} | {p99s} | {failed} | {killed} | {before}, {sockets} |",
            without.len()
        );
    }
    for (asked, runs) in row {
        let words = match asked {
            Asked::Never | Asked::NeverAgain => continue,
            Asked::EachSecond => "each second",
            Asked::FiveTimesASecond => "each 200 ms",
            Asked::ByCrowd => "20 that hang up",
        };
        let count = runs.len() as f64;
        let mean = runs.iter().map(|run| run.served as f64).sum::<f64>() / count;
        let tail = runs.iter().map(p99).sum::<f64>() / count;
        let failed: u64 = runs.iter().map(|run| run.failed).sum();
        let killed: u64 = runs.iter().map(|run| run.killed).sum();
        let before = runs.iter().map(|run| run.sockets_before).max();
        let most = runs.iter().map(|run| run.most_sockets).max();
        let (before, most) = (before.unwrap_or_default(), most.unwrap_or_default());
        let least = (served.low * 0.01).max(1.0);
        let less = mark(mean < served.low - served.width().max(least));
        let later = mark(tail > p99s.high + p99s.width().max(p99s.high * 0.05));
        println!(
            "{start} {words} | {mean:.0}{less} | {tail:.0}{later} | {failed} | {}{killed} | {before}, {most} |",
            mark(killed > 0)
        );
    }
}

fn mark(outside: bool) -> &'static str {
    if outside { " (!)" } else { "" }
}

/// In milliseconds.
fn p99(run: &Measured) -> f64 {
    let mut sorted = run.latencies.clone();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count => sorted[((count - 1) as f64 * 0.99).round() as usize] * 1000.0,
    }
}

struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(all: impl Iterator<Item = f64> + Clone) -> Self {
        Self {
            low: all.clone().fold(f64::INFINITY, f64::min),
            high: all.fold(0.0, f64::max),
        }
    }

    fn width(&self) -> f64 {
        self.high - self.low
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}-{:.0}", self.low, self.high)
    }
}

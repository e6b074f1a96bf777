//! What was measured, and whether it is more than noise.

use std::collections::BTreeMap;

use crate::cell::{Measured, Probing};

/// All runs of one row, by how often the check was probed.
pub type Row = BTreeMap<Probing, Vec<Measured>>;

pub const HEAD: &str = "\
Without a check (least and most of its runs) / probed each second / each 200 ms, and in the rows of the check \
alone / by 20 callers that hang up:

| fault | round trip | pool | served | p99, ms | failed | killed | most sockets (before) |
|---|---|---|---|---|---|---|---|";

/// Prints the row, with a mark where a check is outside of what runs without one differ by.
pub fn print(fault: &str, round_trip: u128, pool: &str, row: &Row) {
    let without: Vec<_> = [Probing::None, Probing::NoneAgain]
        .iter()
        .filter_map(|probing| row.get(probing))
        .flatten()
        .collect();
    let range = Range::of(without.iter().map(|run| run.served as f64));
    let p99s = Range::of(without.iter().map(|run| p99(run)));
    let mut columns = [
        vec![range.to_string()],
        vec![p99s.to_string()],
        vec![mean(&without, |run| run.failed)],
        vec![total(&without, |run| run.killed).to_string()],
        vec![sockets(&without)],
    ];
    let with = row
        .iter()
        .filter(|(probing, _)| !matches!(probing, Probing::None | Probing::NoneAgain));
    for (_, runs) in with {
        let runs: Vec<_> = runs.iter().collect();
        let count = runs.len() as f64;
        let served = total(&runs, |run| run.served) as f64 / count;
        let tail = runs.iter().map(|run| p99(run)).sum::<f64>() / count;
        let killed = total(&runs, |run| run.killed);
        let less = served < range.low - range.width().max((range.low * 0.01).max(1.0));
        let later = tail > p99s.high + p99s.width().max(p99s.high * 0.05);
        columns[0].push(format!("{served:.0}{}", mark(less)));
        columns[1].push(format!("{tail:.0}{}", mark(later)));
        columns[2].push(mean(&runs, |run| run.failed));
        columns[3].push(format!("{killed}{}", mark(killed > 0)));
        columns[4].push(sockets(&runs));
    }
    let columns = columns.map(|column| column.join(" / "));
    println!(
        "| {fault} | {round_trip} ms | {pool} | {} |",
        columns.join(" | ")
    );
}

/// Of one run.
fn mean(runs: &[&Measured], what: impl Fn(&Measured) -> u64) -> String {
    let mean = total(runs, what) as f64 / runs.len() as f64;
    format!("{mean:.0}")
}

fn total(runs: &[&Measured], what: impl Fn(&Measured) -> u64) -> u64 {
    runs.iter().map(|run| what(run)).sum()
}

fn sockets(runs: &[&Measured]) -> String {
    let before = runs.iter().map(|run| run.sockets_before).max();
    let most = runs.iter().map(|run| run.most_sockets).max();
    let (before, most) = (before.unwrap_or_default(), most.unwrap_or_default());
    format!("{most} ({before})")
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

//! The tables.

use std::collections::BTreeMap;

use crate::{
    oracle::Wrong,
    run::{Found, Result},
    subject::{Candidate, Kind},
};

/// Seconds in which the check was wrong, per hour of schedules.
fn per_hour(results: &[Result], found: &[&Found], wrong: Wrong) -> f64 {
    let hours: f64 = results
        .iter()
        .map(|result| result.schedule.seconds)
        .sum::<f64>()
        / 3600.0;
    let intervals = found.iter().flat_map(|found| &found.wrong);
    let seconds: f64 = intervals
        .filter(|interval| interval.wrong == wrong)
        .map(|interval| interval.to - interval.from)
        .sum();
    // The sum of nothing is negative zero.
    (seconds / hours).abs()
}

pub fn print(results: &[Result]) {
    let mut by_kind: BTreeMap<Kind, Vec<&Found>> = BTreeMap::new();
    for found in results.iter().flat_map(|result| &result.found) {
        by_kind.entry(found.kind).or_default().push(found);
    }
    println!(
        "| check | pool | false up, s/h | false down, s/h | held, s/h | longest, s | detection, s: median, p99 | recovery, s: median, p99 | extra sockets |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((candidate, setup), found) in &by_kind {
        let extra = found.iter().map(|found| found.most_extra).max();
        let extra = extra.unwrap_or_default();
        if *candidate == Candidate::None {
            println!("| {candidate} | {setup} | | | | | | | {extra} |");
            continue;
        }
        let [up, down, held] = [Wrong::FalseUp, Wrong::FalseDown, Wrong::Held]
            .map(|wrong| per_hour(results, found, wrong));
        let longest = found
            .iter()
            .flat_map(|found| &found.wrong)
            .filter(|interval| interval.wrong != Wrong::Held)
            .map(|interval| interval.to - interval.from)
            .fold(0.0, f64::max);
        let detection = delays(found.iter().flat_map(|found| &found.detection));
        let recovery = delays(found.iter().flat_map(|found| &found.recovery));
        println!(
            "| {candidate} | {setup} | {up:.0} | {down:.0} | {held:.0} | {longest:.1} | {detection} | {recovery} | {extra} |"
        );
    }
    print_causes(results, &by_kind);
}

/// Wrong seconds of this crate by what went wrong.
fn print_causes(results: &[Result], by_kind: &BTreeMap<Kind, Vec<&Found>>) {
    let ours: Vec<_> = by_kind
        .keys()
        .filter(|(candidate, _)| *candidate == Candidate::Ours)
        .collect();
    let mut causes: BTreeMap<String, BTreeMap<Kind, f64>> = BTreeMap::new();
    for result in results {
        for found in &result.found {
            for interval in &found.wrong {
                // Those that began it, which a request may have met a second later; the list has all.
                let begun = interval.stretch.from;
                let faults = result.schedule.faults_between(begun - 0.5, begun + 1.0);
                let cause = format!(
                    "{:?}, {:?}: {faults}",
                    interval.wrong, result.schedule.target
                );
                let seconds = causes.entry(cause).or_default();
                *seconds.entry(found.kind).or_default() += interval.to - interval.from;
            }
        }
    }
    causes.retain(|_, seconds| ours.iter().any(|kind| seconds.contains_key(kind)));
    if causes.is_empty() {
        return;
    }
    println!(
        "\nWrong seconds of this crate in all, by what was active when the app's experience changed:\n"
    );
    let setups: Vec<_> = ours.iter().map(|(_, setup)| setup.to_string()).collect();
    println!("| wrong, server: faults | {} |", setups.join(" | "));
    println!("|---|{}", "---|".repeat(setups.len()));
    for (cause, seconds) in causes {
        let cells: Vec<_> = ours
            .iter()
            .map(|kind| {
                seconds
                    .get(kind)
                    .map_or(String::new(), |time| format!("{time:.1}"))
            })
            .collect();
        println!("| {cause} | {} |", cells.join(" | "));
    }
}

fn delays<'a>(all: impl Iterator<Item = &'a f64>) -> String {
    let mut sorted: Vec<f64> = all.copied().collect();
    if sorted.is_empty() {
        return "-".into();
    }
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    format!("{:.1}, {:.1} of {}", at(0.5), at(0.99), sorted.len())
}

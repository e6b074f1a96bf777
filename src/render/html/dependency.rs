//! The row of one dependency.

use std::time::{Duration, SystemTime};

use super::{
    chart::{caption, chart, past_runs},
    text::{escape, moment, reason_note, setting, span, title},
};
use crate::report::{ObservedValue, PoolStats, ReportEntry};

/// The age of a younger result is not shown.
const OLD: Duration = Duration::from_secs(10);

pub(super) fn row(number: usize, entry: &ReportEntry, now: Option<SystemTime>) -> String {
    let status = entry.status;
    let since = entry.status_for.zip(now);
    let since = since.map(|(ago, now)| format!("since {}", moment(ago, now)));
    let held = entry.status_for.map(|ago| format!("for {}", span(ago)));
    let state = [
        paragraph("small span", held),
        paragraph("small since", since),
        paragraph("small until", until(entry, now)),
    ];
    let what = [
        entry.reason.map(reason_note).unwrap_or_default(),
        paragraph("message", entry.message.as_deref().map(str::to_owned)),
        paragraph("extra", measurements(entry)),
        paragraph("small place", settings(entry)),
    ];
    format!(
        r##"<li class="row" id="d{number}" tabindex="-1" data-status="{status}" data-name="{name}"><div class="state"><p class="status"><svg class="icon" aria-hidden="true"><use href="#i-{status}"/></svg><span>{title}</span></p>{state}</div><div class="what"><div class="name"><h2>{name}</h2><span class="small kind">{kind}</span></div>{what}</div><div class="runs">{runs}</div>{pool}</li>"##,
        name = escape(&entry.name),
        title = title(status),
        state = state.concat(),
        kind = escape(&kind(entry)),
        what = what.concat(),
        runs = runs(entry),
        pool = entry.pool().map(pool_gauge).unwrap_or_default(),
    )
}

fn paragraph(class: &str, text: Option<String>) -> String {
    let text = text.map(|text| format!(r#"<p class="{class}">{}</p>"#, escape(&text)));
    text.unwrap_or_default()
}

/// Returns when it was up or degraded last, if it is neither now.
fn until(entry: &ReportEntry, now: Option<SystemTime>) -> Option<String> {
    if entry.status.is_serving() {
        return None;
    }
    if entry.never_up {
        return Some("never up since start".to_owned());
    }
    let (ago, now) = entry.last_up.zip(now)?;
    Some(format!("up until {}", moment(ago, now)))
}

fn kind(entry: &ReportEntry) -> String {
    let required = match entry.required {
        true => "required",
        false => "optional",
    };
    let kind = entry.kind.iter().map(|kind| &**kind);
    let excluded = entry.is_excluded().then_some("excluded");
    let parts: Vec<_> = kind.chain([required]).chain(excluded).collect();
    parts.join(" · ")
}

fn measurements(entry: &ReportEntry) -> Option<String> {
    let failures = match entry.consecutive_failures {
        0 => None,
        1 => Some("1 failed run".to_owned()),
        failures => Some(format!("{failures} failed runs in a row")),
    };
    let pending = entry.pending_for;
    let pending = pending.map(|time| format!("a run is pending for {}", span(time)));
    let age = entry.age.filter(|age| *age >= OLD);
    let age = age.map(|age| format!("checked {} ago", span(age)));
    let observations = entry.observations().map(|(name, value)| match value {
        ObservedValue::Bool(value) => format!("{name} {value}"),
        ObservedValue::Integer(value) => format!("{name} {value}"),
        ObservedValue::Float(value) => format!("{name} {value}"),
        ObservedValue::Text(value) => format!("{name} {value}"),
    });
    let parts = failures.into_iter().chain(pending).chain(age);
    joined(parts.chain(observations))
}

fn settings(entry: &ReportEntry) -> Option<String> {
    let target = entry.target.as_deref().map(str::to_owned);
    let timeout = entry.timeout;
    let timeout = timeout.map(|time| format!("timeout {}", setting(time)));
    let interval = entry.interval;
    let interval = interval.map(|time| format!("checked at most every {}", setting(time)));
    joined(target.into_iter().chain(timeout).chain(interval))
}

fn joined(parts: impl Iterator<Item = String>) -> Option<String> {
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

fn runs(entry: &ReportEntry) -> String {
    let runs = entry.history();
    if runs.is_empty() {
        return String::new();
    }
    format!(
        r#"{}{}<details class="small"><summary>Past runs</summary>{}</details>"#,
        chart(runs),
        paragraph("small", Some(caption(runs))),
        past_runs(runs)
    )
}

fn pool_gauge(pool: PoolStats) -> String {
    let PoolStats {
        max, idle, in_use, ..
    } = pool;
    let percent = |count: u32| (u64::from(count) * 100 / u64::from(max.max(1))).min(100);
    let (used, unused) = (percent(in_use), percent(idle));
    format!(
        r#"<div class="pool"><svg class="gauge" aria-hidden="true"><rect class="used" width="{used}%" height="8"/><rect class="idle" x="{used}%" width="{unused}%" height="8"/></svg><p class="small"><span class="visually-hidden">Pool: </span><span>{in_use} in use · {idle} idle · max {max}</span></p></div>"#
    )
}

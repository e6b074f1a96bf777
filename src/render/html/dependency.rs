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
    let name = escape(&entry.name);
    let since = entry.status_for.zip(now);
    let since = since.map(|(ago, now)| format!("since {}", moment(ago, now)));
    [
        format!(
            r##"<li class="row" id="d{number}" tabindex="-1" data-status="{status}" data-name="{name}"><div class="state"><p class="status"><svg class="icon" aria-hidden="true"><use href="#i-{status}"/></svg><span>{}</span></p>"##,
            title(status)
        ),
        paragraph(
            "small span",
            entry.status_for.map(|ago| format!("for {}", span(ago))),
        ),
        paragraph("small since", since),
        paragraph("small until", until(entry, now)),
        format!(
            r#"</div><div class="what"><div class="name"><h2>{name}</h2><span class="small kind">{}</span></div>"#,
            escape(&kind(entry))
        ),
        entry.reason.map(reason_note).unwrap_or_default(),
        paragraph("message", entry.message.as_deref().map(str::to_owned)),
        paragraph("extra", joined(&measurements(entry))),
        paragraph("small place", joined(&settings(entry))),
        r#"</div><div class="runs">"#.to_owned(),
        runs(entry),
        "</div>".to_owned(),
        entry.pool().map(pool_gauge).unwrap_or_default(),
        "</li>".to_owned(),
    ]
    .concat()
}

fn paragraph(class: &str, text: Option<String>) -> String {
    let text = text.map(|text| format!(r#"<p class="{class}">{}</p>"#, escape(&text)));
    text.unwrap_or_default()
}

fn joined(parts: &[String]) -> Option<String> {
    (!parts.is_empty()).then(|| parts.join(" · "))
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
    let excluded = entry.is_excluded().then_some("excluded");
    let parts = [entry.kind.as_deref(), Some(required), excluded];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn measurements(entry: &ReportEntry) -> Vec<String> {
    let mut parts = Vec::new();
    match entry.consecutive_failures {
        0 => {}
        1 => parts.push("1 failed run".to_owned()),
        failures => parts.push(format!("{failures} failed runs in a row")),
    }
    if let Some(pending) = entry.pending_for {
        parts.push(format!("a run is pending for {}", span(pending)));
    }
    if let Some(age) = entry.age.filter(|age| *age >= OLD) {
        parts.push(format!("checked {} ago", span(age)));
    }
    for (name, value) in entry.observations() {
        parts.push(match value {
            ObservedValue::Bool(value) => format!("{name} {value}"),
            ObservedValue::Integer(value) => format!("{name} {value}"),
            ObservedValue::Float(value) => format!("{name} {value}"),
            ObservedValue::Text(value) => format!("{name} {value}"),
        });
    }
    parts
}

fn settings(entry: &ReportEntry) -> Vec<String> {
    let target = entry.target.as_deref().map(str::to_owned);
    let timeout = entry.timeout;
    let timeout = timeout.map(|time| format!("timeout {}", setting(time)));
    let interval = entry.interval;
    let interval = interval.map(|time| format!("checked at most every {}", setting(time)));
    [target, timeout, interval].into_iter().flatten().collect()
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

//! A process and its children. Each child of PostgreSQL calls `setsid`, so signals to the process
//! group miss it: the id of the parent is the only link.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The ids of the children of `parent` that run.
pub(super) fn children(parent: i32) -> Vec<i32> {
    let of_parent = running().filter(|entry| entry.1 == parent);
    of_parent.map(|entry| entry.0).collect()
}

/// Whether each of `ids` is stopped or has ended.
pub(super) fn all_stopped(ids: &[i32]) -> bool {
    running().all(|(id, _, is_stopped)| is_stopped || !ids.contains(&id))
}

/// Whether any of `ids` still runs.
pub(super) fn any_alive(ids: &[i32]) -> bool {
    running().any(|entry| ids.contains(&entry.0))
}

/// Whether a process runs. One that has ended but was not yet waited for does not.
pub fn is_alive(id: i32) -> bool {
    any_alive(&[id])
}

/// Sends a signal; an ended process is ignored.
pub(super) fn send(signal: Signal, ids: &[i32]) {
    for id in ids {
        let _ = kill(Pid::from_raw(*id), signal);
    }
}

/// All processes but those that have ended and were not yet waited for: their ids, their parents, and
/// whether they are stopped.
fn running() -> impl Iterator<Item = (i32, i32, bool)> {
    let mut ps = Command::new("ps");
    let output = ps.args(["-A", "-o", "pid=,ppid=,state="]).output();
    let lines = String::from_utf8(output.expect("ps starts").stdout).expect("text");
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let ids = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let state = fields.next().filter(|state| !state.starts_with('Z'))?;
        Some((ids.0, ids.1, state.starts_with('T')))
    };
    let entries: Vec<_> = lines.lines().filter_map(entry).collect();
    entries.into_iter()
}

//! A process and its descendants. Each child of PostgreSQL calls `setsid`, so signals to the
//! process group miss it: the id of the parent is the only link.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Entry {
    id: i32,
    parent: i32,
    state: char,
}

/// The ids of all descendants of `root` that run, children before grandchildren.
pub(super) fn descendants(root: i32) -> Vec<i32> {
    let all = entries(None);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = all
            .iter()
            .filter(|entry| entry.parent == parent && entry.state != 'Z');
        found.extend(children.map(|entry| entry.id));
        next += 1;
    }
    found.remove(0);
    found
}

/// Whether each of `ids` is stopped or has ended.
pub(super) fn all_stopped(ids: &[i32]) -> bool {
    let stopped = |entry: &Entry| matches!(entry.state, 'T' | 't' | 'Z');
    entries(Some(ids)).iter().all(stopped)
}

/// Whether any of `ids` still runs.
pub(super) fn any_alive(ids: &[i32]) -> bool {
    entries(Some(ids)).iter().any(|entry| entry.state != 'Z')
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

/// The processes with these ids, or all.
fn entries(ids: Option<&[i32]>) -> Vec<Entry> {
    if !Path::new("/proc/self/stat").exists() {
        let mut all = from_ps();
        all.retain(|entry| ids.is_none_or(|ids| ids.contains(&entry.id)));
        return all;
    }
    let listed = || {
        let names = fs::read_dir("/proc").unwrap().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.collect()
    };
    let ids = ids.map_or_else(listed, <[i32]>::to_vec);
    ids.into_iter().filter_map(from_proc).collect()
}

fn from_proc(id: i32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it is in parentheses and may contain anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Entry { id, parent, state })
}

fn from_ps() -> Vec<Entry> {
    let mut ps = Command::new("ps");
    let output = ps.args(["-A", "-o", "pid=,ppid=,state="]).output();
    let output = output.expect("ps lists the processes").stdout;
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let id = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let state = fields.next()?.chars().next()?;
        Some(Entry { id, parent, state })
    };
    let lines = String::from_utf8_lossy(&output);
    lines.lines().filter_map(entry).collect()
}

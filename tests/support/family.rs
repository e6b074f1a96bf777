//! A process and its descendants. PostgreSQL's children each call `setsid`, so signals to the
//! process group miss them: the parent's id is the only link.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Clone, Copy)]
struct Entry {
    parent: i32,
    state: char,
}

/// The ids of all descendants of `root` that run, children before grandchildren.
pub(super) fn descendants(root: i32) -> Vec<i32> {
    let table = table();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = table
            .iter()
            .filter(|(_, entry)| entry.parent == parent && entry.state != 'Z');
        found.extend(children.map(|(id, _)| *id));
        next += 1;
    }
    found.remove(0);
    found
}

/// Whether every one of `ids` has come to a stop (or has ended).
pub(super) fn all_stopped(ids: &[i32]) -> bool {
    let table = table();
    ids.iter().all(|id| {
        table
            .get(id)
            .is_none_or(|entry| matches!(entry.state, 'T' | 't' | 'Z'))
    })
}

/// Whether any of `ids` still runs.
pub(super) fn any_alive(ids: &[i32]) -> bool {
    let table = table();
    ids.iter()
        .any(|id| table.get(id).is_some_and(|entry| entry.state != 'Z'))
}

/// Whether a process runs. One that has ended but was not yet waited for does not.
pub fn is_alive(id: u32) -> bool {
    any_alive(&[id as i32])
}

/// Sends a signal; a process that has ended meanwhile is no error.
pub(super) fn send(signal: Signal, ids: &[i32]) {
    for id in ids {
        let _ = kill(Pid::from_raw(*id), signal);
    }
}

fn table() -> HashMap<i32, Entry> {
    if Path::new("/proc/self/stat").exists() {
        from_proc()
    } else {
        from_ps()
    }
}

fn from_proc() -> HashMap<i32, Entry> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| {
            let id = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // The name before it stands in parentheses and may contain anything.
            let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
            let state = fields.next()?.chars().next()?;
            let parent = fields.next()?.parse().ok()?;
            Some((id, Entry { parent, state }))
        })
        .collect()
}

fn from_ps() -> HashMap<i32, Entry> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid=,state="])
        .output()
        .expect("ps lists the processes");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let id = fields.next()?.parse().ok()?;
            let parent = fields.next()?.parse().ok()?;
            let state = fields.next()?.chars().next()?;
            Some((id, Entry { parent, state }))
        })
        .collect()
}

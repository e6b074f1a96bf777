//! Memory for demo mode: its content ends with the process and is not shared.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tower_health::{Dependency, Outcome};

use super::{Unavailable, WINDOW};

/// The limit of jobs, and of addresses in a minute.
const MAX_HELD: usize = 10_000;

#[derive(Default)]
pub(crate) struct Memory(Mutex<Held>);

#[derive(Default)]
struct Held {
    jobs: VecDeque<String>,
    counts: HashMap<IpAddr, u64>,
    since: Option<Instant>,
}

impl Memory {
    pub(super) fn count(&self, client: IpAddr) -> Result<u64, Unavailable> {
        let mut held = self.held();
        if held.since.is_none_or(|since| since.elapsed() >= WINDOW) {
            held.since = Some(Instant::now());
            held.counts.clear();
        }
        if held.counts.len() >= MAX_HELD && !held.counts.contains_key(&client) {
            return Err(Unavailable("memory counts for no more addresses"));
        }
        let count = held.counts.entry(client).or_default();
        *count += 1;
        Ok(*count)
    }

    pub(super) fn push(&self, job: String) -> Result<u64, Unavailable> {
        let jobs = &mut self.held().jobs;
        if jobs.len() >= MAX_HELD {
            return Err(Unavailable("memory takes no more jobs"));
        }
        jobs.push_back(job);
        Ok(jobs.len() as u64)
    }

    pub(super) fn take(&self) -> Option<String> {
        self.held().jobs.pop_front()
    }

    pub(super) fn depth(&self) -> u64 {
        self.held().jobs.len() as u64
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A panic leaves no partial change under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn dependencies(memory: &Arc<Memory>) -> [Dependency; 2] {
    let memory = memory.clone();
    let queue = move || {
        let depth = memory.depth();
        async move { Ok(Outcome::up().observe("queue", depth)) }
    };
    [
        Dependency::new("redis", async || Ok(Outcome::up())).kind("memory"),
        Dependency::new("queue", queue).kind("memory"),
    ]
}

//! How long checks say the wrong thing, in random faults of real servers.
//!
//! Each schedule is drawn from a seed: faults that overlap and flap, on Postgres, on Postgres
//! behind PgBouncer, and on Redis. In front of its servers stand several apps. Each has a pool
//! and a separate route, the same load, and one check behind `/readyz`.
//!
//! The oracle knows nothing of the checks. It records what the app's requests experience on the pool
//! that is checked: three in each tenth of a second, which succeed if answered within 1 s. A client that
//! connects four times a second is recorded, too. A prober asks each app once a second.
//!
//! - False up: the answer is 200, and each request that began since 1.5 s or longer failed.
//! - False down: the answer is another one, or none within 1 s, and each request since 1.5 s or longer succeeded.
//! - Held: as false up, while the harness holds all connections of the pool and the new client is served.
//!
//! At least five requests must have begun in the last 1.5 s. A wrong answer counts until the next
//! one, or until the requests say otherwise. Connections that fall silent are reset after 15 s, as
//! keepalives would do it. Pools that do not test their connections renew them after 15 s: otherwise
//! one restart of Redis would end the schedule for them.
//!
//! In two of three schedules the app leaves one connection of its pool free; in the third its requests come
//! as a crowd that queues in front of the pool.
//!
//! `cargo bench --bench truth`, with these variables, all beginning with `TOWER_HEALTH_TRUTH_`:
//! `SEEDS=1-30`, `SECONDS=60` each, `PERIOD_MS=1000` between probes, `PARALLEL=6` schedules at once,
//! `ONLY_OURS=1` leaves the other checks out. The wrong intervals of all are printed to stderr.
#![allow(missing_docs, unreachable_pub, missing_debug_implementations)]

mod backend;
#[path = "../support/bounded.rs"]
mod bounded;
mod oracle;
mod report;
#[path = "../support/route.rs"]
mod route;
mod run;
mod schedule;
mod session;
mod settings;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::time::Instant;

use schedule::Schedule;
use settings::Settings;
use subject::Candidate;

fn main() {
    let settings = Settings::read();
    let begun = Instant::now();
    let next = AtomicU64::new(*settings.seeds.start());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..settings.parallel {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !settings.seeds.contains(&seed) {
                        return;
                    }
                    let schedule = Schedule::draw(seed, settings.seconds);
                    // In a separate thread: a server that does not start ends its schedule alone.
                    let run = scope.spawn(|| run::run(schedule, &settings));
                    match run.join() {
                        Ok(Some(result)) => {
                            eprintln!("{}", result.describe(|_| true));
                            results.lock().expect("no panic").push(result);
                        }
                        Ok(None) => {}
                        Err(_) => eprintln!("seed {seed}: could not be run"),
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic");
    results.sort_by_key(|result| result.schedule.seed);
    println!(
        "{} schedules of {} s, a probe each {} ms, measured in {:.0} s.\n",
        results.len(),
        settings.seconds,
        settings.period.as_millis(),
        begun.elapsed().as_secs_f64()
    );
    report::print(&results);
    println!("\nEach wrong interval of this crate:\n\n```text");
    let is_ours = |(candidate, _)| candidate == Candidate::Ours;
    let has_wrong = |result: &&run::Result| {
        let mut found = result.found.iter();
        found.any(|found| is_ours(found.kind) && !found.wrong.is_empty())
    };
    for result in results.iter().filter(has_wrong) {
        println!("{}", result.describe(is_ours));
    }
    println!("```");
}

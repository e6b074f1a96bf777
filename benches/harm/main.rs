//! What a check costs the app that it checks, healthy and in four faults.
//!
//! An app under load runs without a check (twice in each round: their difference is the noise), with
//! a check each second and with one each 200 ms. All of a row run in turns, or at once where distance
//! lets them sleep.
//!
//! - healthy: twice as many requests at once as the pool has connections, without a pause (the pool is
//!   full, and the check waits for none) and with one that leaves half of the connections idle.
//! - frozen behind PgBouncer: 20 requests at once, the database frozen for 6 s, PgBouncer with 100 slots,
//!   with and without the manager that bounds connects.
//! - check alone: the same without load, also with 20 callers that hang up.
//! - query near its deadline: the check's query ends about when the check's time does, 100 ms away.
//! - query of 40 s: and no new connection can be made to cancel it.
//!
//! In the last two as many requests run at once as the pool has connections, with pauses: a full pool has
//! none for the check. A `(!)` marks what is outside of the noise, with at least 1 % of what was served
//! and 5 % of p99. Sockets are those that the server (or PgBouncer) holds open.
//!
//! `cargo bench --bench harm`; `TOWER_HEALTH_HARM_SECONDS=8` of each run, `TOWER_HEALTH_HARM_ROUNDS=2`,
//! `TOWER_HEALTH_HARM_ONLY=healthy,frozen,alone` leaves the others out.
#![allow(missing_docs, unreachable_pub, missing_debug_implementations)]

#[path = "../support/bounded.rs"]
mod bounded;
mod cell;
#[path = "../support/route.rs"]
mod route;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

use std::{env, time::Duration};

use support::{PgBouncer, Postgres};
use tokio::time::{Instant, sleep};

use cell::{Cell, Conditions, Probing};
use table::Row;

const ROUND_TRIPS: [u64; 4] = [0, 20, 180, 600];
const POOL_SIZES: [u32; 3] = [1, 2, 10];
/// PgBouncer's, of which a client that is refused takes none.
const BOUNCER: &str = "max_client_conn = 100\ndefault_pool_size = 10";
/// Three round trips of 100 ms go with it: it ends around the check's 800 ms.
const NEAR_DEADLINE: &str = "SELECT pg_sleep(0.42 + 0.2 * random())";
/// So that the check finds a connection; in a full pool it asks none.
const OFTEN_IDLE: Duration = Duration::from_millis(200);
const LONG_QUERY: &str = "SELECT pg_sleep(40)";

#[tokio::main]
async fn main() {
    let start = Instant::now();
    let seconds: f64 = variable("SECONDS").unwrap_or(8.0);
    let rounds: usize = variable("ROUNDS").unwrap_or(2);
    let only: String = variable("ONLY").unwrap_or_else(|| "healthy,frozen,alone".into());
    let bench = Bench {
        length: Duration::from_secs_f64(seconds),
        rounds,
    };
    println!("{}", table::HEAD);
    if only.contains("healthy") {
        bench.healthy().await;
    }
    if only.contains("frozen") {
        bench.frozen().await;
    }
    if only.contains("alone") {
        bench.alone_and_queries().await;
    }
    println!("\nmeasured in {:.0} s", start.elapsed().as_secs_f64());
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(format!("TOWER_HEALTH_HARM_{name}"))
        .ok()?
        .parse()
        .ok()
}

/// One row of the table, before it is run.
struct Plan {
    fault: &'static str,
    conditions: Conditions,
    probing: Vec<Probing>,
}

impl Plan {
    fn print(&self, row: &Row) {
        let Conditions {
            pool_size,
            bounded,
            round_trip,
            ..
        } = self.conditions;
        let pool = format!(
            "{pool_size}{}",
            if bounded { ", connect timeout" } else { "" }
        );
        table::print(self.fault, round_trip.as_millis(), &pool, row);
    }
}

struct Bench {
    length: Duration,
    rounds: usize,
}

fn conditions(round_trip: u64, pool_size: u32) -> Conditions {
    Conditions {
        round_trip: Duration::from_millis(round_trip),
        pool_size,
        bounded: false,
        tasks: 20,
        pause: Duration::ZERO,
        request: "SELECT 1",
        untested: false,
        query: None,
        no_connects: false,
    }
}

async fn server() -> Postgres {
    let builder = Postgres::builder().setting("max_connections", "600");
    builder.start().await
}

impl Bench {
    async fn healthy(&self) {
        for round_trip in ROUND_TRIPS {
            let server = server().await;
            let plans = |fault: &'static str, pause: Duration| {
                POOL_SIZES.map(|size| Plan {
                    fault,
                    conditions: Conditions {
                        tasks: 2 * size,
                        pause,
                        ..conditions(round_trip, size)
                    },
                    probing: Probing::USUAL.to_vec(),
                })
            };
            let full = plans("healthy, pool full", Duration::ZERO);
            // A request takes two round trips; then half of the connections are idle.
            let pause = Duration::from_millis(6 * round_trip).max(Duration::from_millis(50));
            let half = plans("healthy, pool half used", pause);
            // Nearby they need the processor, and take turns; far away they mostly sleep.
            match round_trip {
                0 => self.compare(&server, &full, 1, self.length / 3).await,
                20 => self.compare(&server, &full, 4, self.length).await,
                _ => self.compare(&server, &full, usize::MAX, self.length).await,
            }
            self.compare(&server, &half, usize::MAX, self.length).await;
        }
    }

    /// Runs all cells of `plans` in front of one server, so many at once.
    async fn compare(&self, server: &Postgres, plans: &[Plan], at_once: usize, length: Duration) {
        let mut rows: Vec<Row> = plans.iter().map(|_| Row::new()).collect();
        for _ in 0..self.rounds {
            let runs: Vec<_> = (0..plans.len())
                .flat_map(|plan| Probing::USUAL.map(|probing| (plan, probing)))
                .collect();
            for batch in runs.chunks(at_once.min(runs.len())) {
                let starts = batch
                    .iter()
                    .map(|(plan, probing)| (server.port(), plans[*plan].conditions, *probing));
                let cells = Cell::start_all(starts.collect()).await;
                settle().await;
                cells.iter().for_each(Cell::begin);
                sleep(length).await;
                for (cell, (plan, probing)) in cells.into_iter().zip(batch) {
                    let runs = rows[*plan].entry(*probing).or_default();
                    runs.push(cell.end().await);
                }
            }
        }
        for (plan, row) in plans.iter().zip(&rows) {
            plan.print(row);
        }
    }

    async fn frozen(&self) {
        for round_trip in ROUND_TRIPS {
            let plans: Vec<_> = POOL_SIZES
                .iter()
                .flat_map(|size| [(*size, false), (*size, true)])
                .map(|(size, bounded)| Plan {
                    fault: "frozen 6 s behind PgBouncer",
                    conditions: Conditions {
                        bounded,
                        // Several at once, nearby too.
                        pause: Duration::from_millis(if round_trip < 100 { 200 } else { 0 }),
                        ..conditions(round_trip, size)
                    },
                    probing: Probing::USUAL.to_vec(),
                })
                .collect();
            let at_once = if round_trip < 100 { 3 } else { plans.len() };
            for plans in plans.chunks(at_once) {
                self.freeze(
                    plans,
                    Some((Duration::from_secs(2), Duration::from_secs(6))),
                    self.length + Duration::from_secs(2),
                )
                .await;
            }
        }
    }

    async fn alone_and_queries(&self) {
        let with_crowd = [
            Probing::None,
            Probing::EachSecond,
            Probing::FiveTimesASecond,
            Probing::Crowd,
        ];
        let mut alone = Vec::new();
        for round_trip in ROUND_TRIPS {
            for size in POOL_SIZES {
                alone.push(Plan {
                    fault: "frozen behind PgBouncer, check alone",
                    conditions: Conditions {
                        tasks: 0,
                        ..conditions(round_trip, size)
                    },
                    probing: with_crowd.to_vec(),
                });
            }
        }
        let near = POOL_SIZES.map(|size| Plan {
            fault: "query near its deadline",
            conditions: Conditions {
                query: Some(NEAR_DEADLINE),
                request: "SELECT pg_sleep(0.2)",
                untested: true,
                tasks: size,
                pause: OFTEN_IDLE,
                ..conditions(100, size)
            },
            probing: Probing::USUAL.to_vec(),
        });
        let long = POOL_SIZES.map(|size| Plan {
            fault: "query of 40 s, no connects",
            conditions: Conditions {
                query: Some(LONG_QUERY),
                no_connects: true,
                tasks: size,
                pause: OFTEN_IDLE,
                ..conditions(20, size)
            },
            probing: Probing::USUAL.to_vec(),
        });
        let minute = self.length * 6;
        let queries: Vec<_> = near.into_iter().chain(long).collect();
        let half = self.length * 3;
        let once = Self {
            length: self.length,
            rounds: 1,
        };
        let twice = Self {
            length: half,
            rounds: 2,
        };
        tokio::join!(
            once.freeze(&alone, Some((Duration::ZERO, minute)), minute),
            // Twice, so that there is a spread to compare with.
            twice.freeze(&queries, None, half),
        );
    }

    /// Runs all cells of `plans` at once, each behind a separate PgBouncer.
    ///
    /// `frozen`: when the database freezes, and for how long. `None`: without PgBouncer, and only the fault of
    /// the plan.
    async fn freeze(&self, plans: &[Plan], frozen: Option<(Duration, Duration)>, length: Duration) {
        let mut rows: Vec<Row> = plans.iter().map(|_| Row::new()).collect();
        for _ in 0..self.rounds {
            let server = server().await;
            let mut bouncers = Vec::new();
            let (mut keys, mut starts) = (Vec::new(), Vec::new());
            for (index, plan) in plans.iter().enumerate() {
                for probing in &plan.probing {
                    let mut port = server.port();
                    if frozen.is_some() {
                        let Some(bouncer) = PgBouncer::start_with(&server, BOUNCER).await else {
                            return;
                        };
                        port = bouncer.port();
                        bouncers.push(bouncer);
                    }
                    keys.push((index, *probing));
                    starts.push((port, plan.conditions, *probing));
                }
            }
            let cells = Cell::start_all(starts).await;
            settle().await;
            cells.iter().for_each(Cell::begin);
            if let Some((from, lasting)) = frozen {
                sleep(from).await;
                server.freeze();
                sleep(lasting).await;
                server.thaw();
                sleep(length.saturating_sub(from + lasting)).await;
            } else {
                sleep(length).await;
            }
            for (cell, (index, probing)) in cells.into_iter().zip(keys) {
                rows[index]
                    .entry(probing)
                    .or_default()
                    .push(cell.end().await);
            }
        }
        for (plan, row) in plans.iter().zip(&rows) {
            plan.print(row);
        }
    }
}

/// Lets the first requests pass, which find everything cold.
async fn settle() {
    sleep(Duration::from_millis(1500)).await;
}

//! What a fleet's probes cost the one Postgres behind it, by hand and with this crate.
//!
//! `cargo run --release --example fleet [replicas] [seed]` prints two tables and writes
//! `examples/fleet.svg`; 10 000 replicas take about a minute.
//!
//! What holds, whatever the number of probers:
//!
//! ```text
//! checks a second ≤ instances ÷ cache_for         (the engine's bound, on average)
//! checks a second ≤ instances × Σ 1 ÷ period      (a check takes a caller)
//! ```
//!
//! Where the bound stops holding, or says nothing:
//!
//! 1. It is one check in `cache_for` for each handle and dependency. Two handles in a process are two
//!    instances, and so are two dependencies that are the same server.
//! 2. A process that starts knows nothing: a deploy or a crash loop adds a check per start. In its first
//!    second a deploy that starts all together costs a check per instance, by any way.
//! 3. It is an average. Probers keep their phases, so a fleet that was deployed together is asked
//!    in step, and answers from its caches or checks in step; jitter spreads that over the probers' next
//!    rounds, and only `refresh_every` over the seconds.
//! 4. Where probes come further apart than `cache_for`, the second line is the smaller one, and the cache saves nothing.
//! 5. While the server fails, `cache_failures_for` counts, and one check may ask up to three times: on a
//!    connection of the pool, on a new one, and on the pool's once more. The pool's own reconnects come on top.
//! 6. A verdict may be `cache_for` and a tenth old, and is told at the next probe: the last columns say how long it takes.

mod chart;
mod model;
mod table;

use std::{env, error::Error, fs, time::Duration};

use model::{Scenario, Way, run};
use table::Rate;

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fleet.svg");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let replicas = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let scenario = Scenario {
        replicas,
        spread: Duration::from_secs(1),
        dies_at: 123,
        returns_at: 183,
        ends_at: 270,
        envoys: 1,
        cache_for: Duration::from_secs(10),
        traffic: Duration::from_secs(2),
        seed,
    };
    let courses: Vec<_> = Way::ALL.map(|way| (way, run(way, &scenario))).into();
    println!(
        "{} replicas, 3 probers each, verdicts kept for {} s\n",
        chart::thousands(replicas),
        scenario.cache_for.as_secs()
    );
    table::head();
    for (way, course) in &courses {
        table::row(*way, course, &scenario);
    }
    fs::write(PICTURE, chart::draw(&courses, &scenario))?;
    more_probers(replicas, seed);
    Ok(())
}

/// The bound where it matters: each Envoy probes every replica.
fn more_probers(replicas: usize, seed: u64) {
    println!(
        "\n| Envoys that probe each replica | probes a second | checks a second: naive | this crate, 10 s | this crate, 1 s |"
    );
    println!("|---|---|---|---|---|");
    // A tenth of the fleet, for a minute: the rates are those of the whole.
    let (part, scale) = (
        replicas.div_ceil(10),
        replicas as f64 / replicas.div_ceil(10) as f64,
    );
    for envoys in [1, 10, 100] {
        let rate = |way, seconds| {
            let scenario = Scenario {
                replicas: part,
                spread: Duration::from_secs(5),
                dies_at: 90,
                returns_at: 90,
                ends_at: 90,
                envoys,
                cache_for: Duration::from_secs(seconds),
                traffic: Duration::from_secs(2),
                seed,
            };
            let course = run(way, &scenario);
            let probes = course.probes as f64 / scenario.ends_at as f64;
            (
                Rate::steady(&course, &scenario).mean * scale,
                probes * scale,
            )
        };
        let (naive, probes) = rate(Way::Naive, 10);
        println!(
            "| {envoys} | {probes:.0} | {naive:.0} | {:.0} | {:.0} |",
            rate(Way::Jittered, 10).0,
            rate(Way::Jittered, 1).0,
        );
    }
}

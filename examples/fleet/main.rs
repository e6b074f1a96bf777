//! What a fleet's probes cost the one Postgres behind it, and what each outage costs the fleet.
//!
//! `cargo run --release --example fleet [replicas] [seed]` prints three tables and writes
//! `examples/fleet.svg`; 2,000 replicas take about fifteen minutes, 10,000 more than an hour.
//!
//! Two limits hold, whatever the number of probers:
//!
//! ```text
//! checks per second ≤ instances ÷ cache_for         (on average)
//! checks per second ≤ instances × Σ 1 ÷ period      (a check requires a probe)
//! ```
//!
//! Their conditions:
//!
//! 1. The first limit counts each handle and each dependency. Two handles in a process are two
//!    instances, and so are two dependencies on the same server.
//! 2. A process that starts has no results: a deploy or a crash loop adds one check per start. In its first
//!    second a deploy that starts all instances together costs one check per instance, however they are cached.
//! 3. It is an average. Probers keep their phases, so a fleet that was deployed together checks at the same
//!    time. Jitter spreads that over the next rounds, and only `refresh_every` spreads it over the seconds.
//! 4. Where the period of a prober exceeds `cache_for`, the second limit is lower, and the cache saves nothing.
//! 5. While the server fails, `cache_failures_for` counts, and one check may query up to three times: on two
//!    pooled connections and on its own. The pool's own reconnects are additional.
//! 6. A result may be 1.1 times `cache_for` old, and the next probe reports it: the last columns show the delay.

mod chart;
mod model;
mod outage_table;
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
        fails_at: 123,
        returns_at: 183,
        ends_at: 270,
        envoys: 1,
        cache_for: Duration::from_secs(10),
        traffic: Duration::from_secs(2),
        seed,
    };
    let courses: Vec<_> = Way::ALL.map(|way| (way, run(way, &scenario))).into();
    println!(
        "{} replicas, 3 probers each, results cached for {} s\n",
        chart::thousands(replicas),
        scenario.cache_for.as_secs()
    );
    table::head();
    for (way, course) in &courses {
        table::row(*way, course, &scenario);
    }
    fs::write(PICTURE, chart::draw(&courses, &scenario))?;
    more_probers(replicas, seed);
    outage_table::print(replicas, seed);
    Ok(())
}

/// The limit with many probers: each Envoy probes every replica.
fn more_probers(replicas: usize, seed: u64) {
    println!(
        "\n| Envoys that probe each replica | probes per second | checks per second: naive | this crate, 10 s | this crate, 1 s |"
    );
    println!("|---|---|---|---|---|");
    // A tenth of the fleet, for a minute, scaled to the fleet.
    let (part, scale) = (
        replicas.div_ceil(10),
        replicas as f64 / replicas.div_ceil(10) as f64,
    );
    for envoys in [1, 10, 100] {
        let rate = |way, seconds| {
            let scenario = Scenario {
                replicas: part,
                spread: Duration::from_secs(5),
                fails_at: 90,
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

//! Four threads on one service, each with a separate connection: what do they cost each other?
//!
//! CPU time of each thread, so that one that has to wait for a processor counts no more for it;
//! all variants take turns, and what counts is the ratio within a round.
//!
//! `cargo bench --bench threads`

mod support;

use std::{sync::Barrier, thread, time::Duration};

use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService as Hyper;
use nix::time::{ClockId, clock_gettime};
use support::{
    Bare,
    contestants::{FOREIGN, PROBE, constant, settled},
    statistics::Spread,
    wire::Connection,
};
use tower_health::service::HealthService;
use tower_layer::Layer;

const ROUNDS: usize = 41;
const REQUESTS: u32 = 4_000;
const MOST_THREADS: usize = 4;

/// What the threads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Bare,
    Pass,
    Constant,
    Probe,
}

impl Variant {
    const ALL: [Self; 4] = [Self::Bare, Self::Pass, Self::Constant, Self::Probe];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "a tower service by itself",
            Self::Pass => "it in our layer",
            Self::Constant => "a constant by hand",
            Self::Probe => "our cached probe",
        }
    }

    fn connection(self, service: &HealthService<Bare>) -> Connection {
        match self {
            Self::Bare => Connection::new(Hyper::new(Bare), FOREIGN),
            Self::Pass => Connection::new(Hyper::new(service.clone()), FOREIGN),
            Self::Constant => Connection::new(service_fn(constant::<2>), PROBE),
            Self::Probe => Connection::new(Hyper::new(service.clone()), PROBE),
        }
    }
}

/// What this thread has had of a processor.
fn cpu() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the system's clock"))
}

/// Nanoseconds a request in one thread, while so many do the same.
fn round(service: &HealthService<Bare>, variant: Variant, threads: usize) -> f64 {
    let start = Barrier::new(threads);
    let spent: f64 = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = variant.connection(service);
                    for _ in 0..REQUESTS / 10 {
                        connection.serve_one();
                    }
                    start.wait();
                    let before = cpu();
                    for _ in 0..REQUESTS {
                        connection.serve_one();
                    }
                    (cpu() - before).as_nanos() as f64
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("serves"))
            .sum()
    });
    spent / f64::from(REQUESTS) / threads as f64
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let service = runtime.block_on(settled(true)).layer(Bare);
    let counts = [1, 2, MOST_THREADS];
    let mut measured = vec![vec![Vec::new(); counts.len()]; Variant::ALL.len()];
    for _ in 0..ROUNDS {
        for (at, threads) in counts.into_iter().enumerate() {
            for variant in Variant::ALL {
                measured[variant as usize][at].push(round(&service, variant, threads));
            }
        }
    }

    println!("| a request of | 1 thread, ns | 2 threads, ns | 4 threads, ns | 4 threads over 1 |");
    println!("|---|---:|---:|---:|---:|");
    for variant in Variant::ALL {
        let [one, two, four] = &measured[variant as usize][..] else {
            unreachable!("three counts of threads")
        };
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.3} |",
            variant.name(),
            Spread::of(one.iter().copied()),
            Spread::of(two.iter().copied()),
            Spread::of(four.iter().copied()),
            Spread::of_ratios(four, one),
        );
    }

    let at = |variant: Variant, threads: usize| &measured[variant as usize][threads];
    println!("\n| ratio | median and quartiles | limit |");
    println!("|---|---:|---:|");
    println!(
        "| 4 threads: it in our layer, over by itself | {:.3} | 1.15 |",
        Spread::of_ratios(at(Variant::Pass, 2), at(Variant::Bare, 2)),
    );
    println!(
        "| 1 thread: the same | {:.3} | |",
        Spread::of_ratios(at(Variant::Pass, 0), at(Variant::Bare, 0)),
    );
    println!(
        "| our cached probe: 4 threads over 1 | {:.3} | 1.15 |",
        Spread::of_ratios(at(Variant::Probe, 2), at(Variant::Probe, 0)),
    );
    println!(
        "| 4 threads: our cached probe over a constant by hand | {:.3} | |",
        Spread::of_ratios(at(Variant::Probe, 2), at(Variant::Constant, 2)),
    );
}

//! How long callers wait who share one run, compared with the duration of the run.
//!
//! On the clock, and not in CPU time: where other programs have the processors, the waiters wait for
//! those, too. The least of all rounds is the nearest to a machine without them.
//!
//! `cargo bench --bench storm`

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use support::{Bare, statistics::Spread};
use tokio::{
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_health::{Dependency, Health, HealthLayer, Outcome};
use tower_layer::Layer;

const ROUNDS: usize = 15;
const RUN: Duration = Duration::from_millis(50);
const PERIOD: Duration = Duration::from_millis(400);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    println!(
        "| callers of one run of {} ms | runs a storm | waited, less the run: half, ms | 99 %, ms | its least, ms | the last, ms | limit of the 99 %, ms |",
        RUN.as_millis()
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for (callers, limit) in [(100, ""), (1_000, ""), (10_000, "10")] {
        let mut waits = [Vec::new(), Vec::new(), Vec::new()];
        let mut runs = 0;
        for _ in 0..ROUNDS {
            let (over, more) = runtime.block_on(storm(callers));
            runs += more;
            for (all, one) in waits.iter_mut().zip(over) {
                all.push(one);
            }
        }
        let least = waits[1].iter().copied().fold(f64::INFINITY, f64::min);
        let [half, most, last] = waits.map(Spread::of);
        println!(
            "| {callers} | {} | {half:.1} | {most:.1} | {least:.1} | {last:.1} | {limit} |",
            runs as f64 / ROUNDS as f64
        );
    }
}

/// Milliseconds over the run that half of the callers wait, 99 %, and the last; and how many runs it took.
async fn storm(callers: usize) -> ([f64; 3], usize) {
    let runs = Arc::new(AtomicUsize::new(0));
    // A timer fires late, by a millisecond at least: what the run really took is what they had to wait for.
    let took = Arc::new(AtomicU64::new(0));
    let (counted, clock) = (runs.clone(), took.clone());
    let check = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let clock = clock.clone();
        async move {
            let start = Instant::now();
            sleep(RUN).await;
            let micros = start.elapsed().as_micros();
            clock.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
            Ok(Outcome::up())
        }
    };
    let health = Health::builder()
        .add(Dependency::new("database", check).cache_for(PERIOD))
        .answer_within(Duration::from_secs(10))
        .build();
    let service = HealthLayer::new(health).layer(Bare);

    let gate = Arc::new(Barrier::new(callers + 1));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (service, gate) = (service.clone(), gate.clone());
        tasks.spawn(async move {
            gate.wait().await;
            let sent = Instant::now();
            let mut request = Request::new(());
            *request.uri_mut() = http::Uri::from_static("/readyz");
            let answer = service.oneshot(request).await.expect("answers");
            assert_eq!(answer.status(), 200);
            sent.elapsed()
        });
    }
    gate.wait().await;
    let mut waits = Vec::with_capacity(callers);
    while let Some(wait) = tasks.join_next().await {
        let run = Duration::from_micros(took.load(Ordering::Relaxed));
        let wait = wait.expect("does not panic");
        waits.push((wait.as_secs_f64() - run.as_secs_f64()) * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[(callers as f64 * share) as usize];
    (
        [at(0.5), at(0.99), waits[callers - 1]],
        runs.load(Ordering::Relaxed),
    )
}

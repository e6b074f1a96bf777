//! The fleet on a paused clock: minutes pass in seconds, and everything but the server is real.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    postgres::{Arrivals, Manager, Postgres, Trouble},
    probers::probers,
    random::Random,
    replica::{Way, endpoint, serve_users},
};

/// What happens, in seconds from the deploy.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) replicas: usize,
    /// The deploy starts all replicas within this time.
    pub(crate) spread: Duration,
    pub(crate) fails_at: u64,
    pub(crate) returns_at: u64,
    pub(crate) ends_at: u64,
    pub(crate) envoys: usize,
    pub(crate) cache_for: Duration,
    /// The mean pause between two requests of a replica's users. Each fifth replica has none.
    pub(crate) traffic: Duration,
    pub(crate) seed: u64,
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) arrivals: Arrivals,
    pub(crate) probes: u64,
    /// From the start of the outage until 99 % of the replicas have reported it to a prober.
    pub(crate) seen_down: Option<Duration>,
    /// From the end of the outage until 99 % have reported that.
    pub(crate) seen_up: Option<Duration>,
}

/// Milliseconds until each replica first reported a change; `u32::MAX` until then.
type Firsts = Arc<[AtomicU32]>;

pub(crate) fn run(way: Way, scenario: &Scenario) -> Course {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing of the system");
    runtime.block_on(course(way, scenario))
}

async fn course(way: Way, scenario: &Scenario) -> Course {
    let seconds = Duration::from_secs;
    let (dies, returns) = (seconds(scenario.fails_at), seconds(scenario.returns_at));
    let end = seconds(scenario.ends_at);
    let server = Postgres::new(
        usize::try_from(scenario.ends_at).unwrap_or(usize::MAX),
        Trouble::Refuses,
        dies..returns,
    );
    let start = Instant::now();
    let probes = Arc::new(AtomicU64::new(0));
    let firsts = || -> Firsts {
        (0..scenario.replicas)
            .map(|_| AtomicU32::new(u32::MAX))
            .collect()
    };
    let (downs, ups) = (firsts(), firsts());

    let mut tasks = JoinSet::new();
    for replica in 0..scenario.replicas {
        // One stream for each replica, so that all ways get the same arrivals.
        let mut random = Random::new(scenario.seed ^ ((replica as u64) << 20));
        let begins = start + random.within(scenario.spread);
        let pool = Manager(server.clone()).pool();
        let endpoint = endpoint(way, pool.clone(), server.clone(), scenario.cache_for);
        for (number, prober) in (1..).zip(probers(scenario.envoys)) {
            let (probes, downs, ups) = (probes.clone(), downs.clone(), ups.clone());
            let reported = move |ready: bool| {
                probes.fetch_add(1, Ordering::Relaxed);
                let now = start.elapsed();
                let (since, firsts) = if (dies..returns).contains(&now) && !ready {
                    (dies, &downs)
                } else if now >= returns && ready {
                    (returns, &ups)
                } else {
                    return;
                };
                let millis = u32::try_from((now - since).as_millis()).unwrap_or(u32::MAX);
                firsts[replica].fetch_min(millis, Ordering::Relaxed);
            };
            let random = Random::new(scenario.seed ^ ((replica as u64) << 20) ^ number);
            tasks.spawn(prober.probe(endpoint.clone(), begins, random, reported));
        }
        if replica % 5 != 0 {
            let mean = scenario.traffic;
            tasks.spawn(async move {
                sleep_until(begins).await;
                serve_users(pool, mean, random).await;
            });
        }
    }
    sleep(end).await;
    tasks.abort_all();
    Course {
        arrivals: server.arrivals(),
        probes: probes.load(Ordering::Relaxed),
        seen_down: nearly_all(&downs),
        seen_up: nearly_all(&ups),
    }
}

/// The time until 99 % have reported, or `None` if they never did.
fn nearly_all(firsts: &[AtomicU32]) -> Option<Duration> {
    let mut millis: Vec<u32> = firsts
        .iter()
        .map(|first| first.load(Ordering::Relaxed))
        .collect();
    millis.sort_unstable();
    let at = millis.get((millis.len() * 99 / 100).min(millis.len().checked_sub(1)?))?;
    (*at != u32::MAX).then(|| Duration::from_millis(u64::from(*at)))
}

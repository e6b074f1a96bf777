//! One outage of a fleet behind three balancers, under one requirement policy.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8::Pool;
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tower_health::{Dependency, Health};

use super::{
    balancer::Balancer,
    postgres::{Manager, Postgres, Trouble},
    random::Random,
    replica::{Probe, database, readiness},
};

/// The outage, or the deploy, begins here: the fleet is steady.
const BEGINS: u64 = 60;
/// How long an outage takes.
pub(crate) const LASTS: u64 = 120;
/// A deploy replaces this share of the fleet at a time, and waits this long between two shares.
const DEPLOY_SHARES: u64 = 20;
const DEPLOY_PAUSE: Duration = Duration::from_secs(15);
/// A replica that stops answers 503 so long before it ends, and its successor starts later.
const DRAIN: Duration = Duration::from_secs(5);
const START: Duration = Duration::from_secs(2);

/// What happens to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    SharedDown,
    SharedSlow,
    SharedSaturated,
    OneReplicaBroken,
    RollingDeploy,
}

impl Outage {
    pub(crate) const ALL: [Self; 5] = [
        Self::SharedDown,
        Self::SharedSlow,
        Self::SharedSaturated,
        Self::OneReplicaBroken,
        Self::RollingDeploy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SharedDown => "shared database down, 2 min",
            Self::SharedSlow => "shared database slow (3 s a reply)",
            Self::SharedSaturated => "every pool full, server answers",
            Self::OneReplicaBroken => "database refuses one replica",
            Self::RollingDeploy => "rolling deploy, 5 % at a time",
        }
    }

    fn trouble(self) -> Option<Trouble> {
        match self {
            Self::SharedDown | Self::OneReplicaBroken => Some(Trouble::Refuses),
            Self::SharedSlow => Some(Trouble::Slow(Duration::from_secs(3))),
            Self::SharedSaturated | Self::RollingDeploy => None,
        }
    }

    fn lasts(self) -> u64 {
        match self {
            Self::RollingDeploy => DEPLOY_SHARES * DEPLOY_PAUSE.as_secs(),
            _ => LASTS,
        }
    }
}

/// How the app requires the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Required,
    RequiredUntilStarted,
    Optional,
}

impl Policy {
    pub(crate) const ALL: [Self; 3] = [Self::Required, Self::RequiredUntilStarted, Self::Optional];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Required => "`required`",
            Self::RequiredUntilStarted => "`required_until_started`",
            Self::Optional => "`optional`",
        }
    }

    fn apply(self, dependency: Dependency) -> Dependency {
        match self {
            Self::Required => dependency,
            Self::RequiredUntilStarted => dependency.required_until_started(),
            Self::Optional => dependency.optional(),
        }
    }
}

/// What the outage cost behind one balancer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// The mean share of replicas without traffic while the outage lasts, 0 to 1.
    pub(crate) capacity_lost: f64,
    /// The mean share of failed requests, 0 to 1.
    pub(crate) failed: f64,
    /// When the balancer removed the broken replica.
    pub(crate) out_after: Option<Duration>,
}

/// The result of one outage.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    /// By [`Balancer::ALL`].
    pub(crate) costs: [Cost; 3],
    /// The share of requests that fails if every replica stays in rotation.
    pub(crate) unavoidable: f64,
    /// Checks per second, mean and peak.
    pub(crate) checks: (f64, u32),
}

/// A replica as its balancers see it.
struct Replica {
    server: Arc<Postgres>,
    /// The running process; `None` between two of them.
    process: Mutex<Option<Process>>,
    in_rotation: [AtomicBool; 3],
    /// Milliseconds from the begin of the outage to the removal.
    out_after: [AtomicU32; 3],
}

#[derive(Clone)]
struct Process {
    health: Health,
    endpoint: Probe,
    pool: Pool<Manager>,
}

impl Replica {
    fn process(&self) -> Option<Process> {
        let process = self.process.lock();
        process.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_process(&self, process: Option<Process>) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }

    fn start(&self, policy: Policy) {
        let pool = Manager(self.server.clone()).pool();
        let dependency = policy.apply(database(pool.clone(), self.server.clone()));
        let health = Health::builder().add(dependency).build();
        let endpoint = readiness(health.clone());
        self.set_process(Some(Process {
            health,
            endpoint,
            pool,
        }));
    }

    /// The share of its requests that fail: half of them use the database.
    fn failing(&self) -> f64 {
        match (self.process().is_some(), self.server.trouble()) {
            (false, _) => 1.0,
            (true, Some(_)) => 0.5,
            (true, None) => 0.0,
        }
    }
}

/// Simulates `outage` for `replicas` replicas.
pub(crate) fn simulate(outage: Outage, policy: Policy, replicas: usize, seed: u64) -> Losses {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing of the system");
    runtime.block_on(course(outage, policy, replicas, seed))
}

async fn course(outage: Outage, policy: Policy, replicas: usize, seed: u64) -> Losses {
    let start = Instant::now();
    let (begins, ends) = (BEGINS, BEGINS + outage.lasts());
    let during = Duration::from_secs(begins)..Duration::from_secs(ends);
    let seconds = usize::try_from(ends).expect("minutes");
    let healthy = || Duration::MAX..Duration::MAX;
    // One broken replica has a separate server, which refuses; the others share one.
    let trouble = outage.trouble().unwrap_or(Trouble::Refuses);
    let shared_during = match outage {
        Outage::SharedDown | Outage::SharedSlow => during.clone(),
        _ => healthy(),
    };
    let shared = Postgres::new(seconds, trouble, shared_during);
    let own = Postgres::new(seconds, trouble, during);
    let fleet: Arc<[Replica]> = (0..replicas)
        .map(|index| Replica {
            server: match outage {
                Outage::OneReplicaBroken if index == 0 => own.clone(),
                _ => shared.clone(),
            },
            process: Mutex::default(),
            in_rotation: Default::default(),
            out_after: [const { AtomicU32::new(u32::MAX) }; 3],
        })
        .collect();

    let mut tasks = JoinSet::new();
    for index in 0..replicas {
        let mut random = Random::new(seed ^ ((index as u64) << 20));
        let begin = start + random.within(Duration::from_secs(1));
        let fleet_of = || fleet.clone();
        let replica = fleet_of();
        tasks.spawn(async move {
            sleep_until(begin).await;
            replica[index].start(policy);
        });
        for balancer in Balancer::ALL {
            let phase = begin + random.within(balancer.period());
            tasks.spawn(probe(fleet_of(), index, balancer, phase, start));
        }
        if outage == Outage::SharedSaturated {
            for _ in 0..4 {
                tasks.spawn(fill(fleet_of(), index, start));
            }
        }
        if outage == Outage::RollingDeploy {
            let share = index as u64 * DEPLOY_SHARES / replicas as u64;
            let share = u32::try_from(share).expect("at most 20");
            let stops = start + Duration::from_secs(BEGINS) + DEPLOY_PAUSE * share;
            tasks.spawn(replace(fleet_of(), index, policy, stops));
        }
    }

    let mut sums = [Cost::default(); 3];
    let mut unavoidable = 0.0;
    for second in begins..ends {
        sleep_until(start + Duration::from_secs(second) + Duration::from_millis(500)).await;
        unavoidable += fleet.iter().map(Replica::failing).sum::<f64>() / replicas as f64;
        for (at, balancer) in Balancer::ALL.into_iter().enumerate() {
            let is_in = |replica: &Replica| replica.in_rotation[at].load(Ordering::Relaxed);
            let count = fleet.iter().filter(|replica| is_in(replica)).count();
            let all = balancer.uses_all(count, replicas);
            let targets = if all { replicas } else { count };
            let failing: f64 = fleet
                .iter()
                .filter(|replica| all || is_in(replica))
                .map(Replica::failing)
                .sum();
            sums[at].capacity_lost += 1.0 - targets as f64 / replicas as f64;
            sums[at].failed += failed(failing, targets, replicas);
        }
    }
    tasks.abort_all();

    let lasts = outage.lasts() as f64;
    let costs = std::array::from_fn(|at| {
        let out = fleet[0].out_after[at].load(Ordering::Relaxed);
        let is_seen = outage == Outage::OneReplicaBroken && out != u32::MAX;
        Cost {
            capacity_lost: sums[at].capacity_lost / lasts,
            failed: sums[at].failed / lasts,
            out_after: is_seen.then(|| Duration::from_millis(out.into())),
        }
    });
    let (shared, own) = (shared.arrivals().checks, own.arrivals().checks);
    let counts = shared.iter().zip(own).map(|(one, other)| one + other);
    let counts: Vec<u32> = counts
        .skip(usize::try_from(begins).expect("small"))
        .collect();
    let sum: f64 = counts.iter().copied().map(f64::from).sum();
    Losses {
        costs,
        unavoidable: unavoidable / lasts,
        checks: (sum / lasts, counts.iter().copied().max().unwrap_or(0)),
    }
}

/// The share of requests that fails. The users need 60 % of the fleet.
fn failed(failing: f64, targets: usize, replicas: usize) -> f64 {
    if targets == 0 {
        return 1.0;
    }
    let served = (targets as f64 / (replicas as f64 * 0.6)).min(1.0);
    1.0 - served * (1.0 - failing / targets as f64)
}

/// Probes one replica for one balancer, which counts successes and failures in a row.
async fn probe(
    fleet: Arc<[Replica]>,
    index: usize,
    balancer: Balancer,
    mut next: Instant,
    start: Instant,
) {
    let replica = &fleet[index];
    let at = balancer as usize;
    let mut against = 0;
    loop {
        sleep_until(next).await;
        let is_ready = match replica.process() {
            Some(process) => timeout(balancer.timeout(), (process.endpoint)())
                .await
                .unwrap_or(false),
            None => false,
        };
        let is_in = replica.in_rotation[at].load(Ordering::Relaxed);
        against = if is_ready == is_in { 0 } else { against + 1 };
        if against >= balancer.threshold(is_ready) {
            against = 0;
            replica.in_rotation[at].store(is_ready, Ordering::Relaxed);
            let since = start.elapsed().checked_sub(Duration::from_secs(BEGINS));
            if let (false, Some(since)) = (is_ready, since) {
                let millis = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
                replica.out_after[at].fetch_min(millis, Ordering::Relaxed);
            }
        }
        next += balancer.period();
    }
}

/// Holds one connection of the pool during the outage, for 2 s at a time.
async fn fill(fleet: Arc<[Replica]>, index: usize, start: Instant) {
    let end = start + Duration::from_secs(BEGINS + LASTS);
    sleep_until(start + Duration::from_secs(BEGINS)).await;
    let Some(process) = fleet[index].process() else {
        return;
    };
    while let Ok(connection) = timeout_at(end, process.pool.get()).await {
        sleep(Duration::from_secs(2)).await;
        drop(connection);
    }
}

/// Replaces the process of one replica: drain, end, start.
async fn replace(fleet: Arc<[Replica]>, index: usize, policy: Policy, stops: Instant) {
    sleep_until(stops).await;
    let replica = &fleet[index];
    if let Some(process) = replica.process() {
        process.health.set_draining(true);
    }
    sleep(DRAIN).await;
    replica.set_process(None);
    sleep(START).await;
    replica.start(policy);
}

//! One app: a pool, its load, and a check behind `/readyz`.

use std::{
    error::Error,
    fmt,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, http::StatusCode, routing::get};
use axum_health::{
    health_check,
    indicator::{HealthDetail, HealthIndicator},
};
use bb8::{ManageConnection, Pool};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tower_health::{Access, Health, HealthLayer};

use crate::{bounded::bounded, oracle::Request, route::Route, session::Session};

/// A request of the app succeeds if it is answered within this.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Of connections in a pool that does not test them.
const LIFETIME: Duration = Duration::from_secs(15);
/// Between two requests: three in each tenth of a second.
const PERIOD: Duration = Duration::from_millis(33);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Candidate {
    /// For comparison: what the pool does alone.
    None,
    Ours,
    HandWritten,
    Peer,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no check",
            Self::Ours => "this crate",
            Self::HandWritten => "`timeout(1 s, get + SELECT 1)`",
            Self::Peer => "`axum-health`, get and ping",
        })
    }
}

/// How the app builds its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setup {
    pub bounded: bool,
    pub untested: bool,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.untested, self.bounded) {
            (false, false) => "plain",
            (true, false) => "no test at checkout",
            (false, true) => "connect timeout",
            (true, true) => "no test, connect timeout",
        })
    }
}

type Log = Arc<Mutex<Vec<Request>>>;

/// Which check, on which pool.
pub type Kind = (Candidate, Setup);

/// What all apps of a schedule share.
#[derive(Clone)]
pub struct Circumstances {
    pub start: Instant,
    pub pool_size: u32,
    pub writes: bool,
    pub crowd: bool,
    /// Whether the harness holds every connection.
    pub held: watch::Receiver<bool>,
    pub cache_for: Option<Duration>,
}

pub struct Subject {
    pub kind: Kind,
    pub route: Route,
    pub address: SocketAddr,
    pub log: Log,
    /// The most sockets at the server that the pool did not know.
    pub most_extra: Arc<AtomicU64>,
    connections: Box<dyn Fn() -> u32 + Send + Sync>,
    /// The app's tasks; they end with this value.
    _tasks: JoinSet<()>,
}

impl Subject {
    /// Starts the app with a pool of `manager`; called on the app's runtime.
    pub async fn start<M, S>(
        kind: Kind,
        manager: M,
        route: Route,
        circumstances: Circumstances,
    ) -> Self
    where
        M: ManageConnection<Connection = S, Error: Error>,
        S: Session,
    {
        if kind.1.bounded {
            Self::start_with(kind, bounded(manager), route, circumstances).await
        } else {
            Self::start_with(kind, manager, route, circumstances).await
        }
    }

    async fn start_with<M, S>(
        kind: Kind,
        manager: M,
        route: Route,
        circumstances: Circumstances,
    ) -> Self
    where
        M: ManageConnection<Connection = S, Error: Error>,
        S: Session,
    {
        let mut builder = Pool::builder()
            .max_size(circumstances.pool_size)
            .test_on_check_out(!kind.1.untested);
        if kind.1.untested {
            // A pool of bb8-redis keeps broken connections: without this the first fault would be the last.
            builder = builder.max_lifetime(LIFETIME).reaper_rate(LIFETIME / 5);
        }
        let pool = builder.build_unchecked(manager);
        let log = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(load(pool.clone(), circumstances.clone(), Arc::clone(&log)));
        tasks.spawn(hold(pool.clone(), circumstances.clone()));
        let router = router(kind.0, pool.clone(), &circumstances);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        tasks.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self {
            kind,
            route,
            address,
            log,
            most_extra: Arc::default(),
            connections: Box::new(move || pool.state().connections),
            _tasks: tasks,
        }
    }

    /// Takes note of the sockets that are open now.
    pub fn count_sockets(&self) {
        let known = u64::from((self.connections)());
        let extra = self.route.open().saturating_sub(known);
        self.most_extra.fetch_max(extra, Ordering::Relaxed);
    }
}

/// The app's requests, at the same rate: from a crowd, or from a few that leave one connection free.
async fn load<M, S>(pool: Pool<M>, circumstances: Circumstances, log: Log)
where
    M: ManageConnection<Connection = S, Error: Error>,
    S: Session,
{
    let Circumstances { start, writes, .. } = circumstances;
    let mut requests = JoinSet::new();
    if circumstances.crowd {
        let mut ticks = steps(PERIOD);
        loop {
            ticks.tick().await;
            while requests.try_join_next().is_some() {}
            requests.spawn(request(pool.clone(), start, writes, log.clone()));
        }
    }
    let workers = circumstances.pool_size - 1;
    for worker in 0..workers {
        let (pool, log) = (pool.clone(), log.clone());
        requests.spawn(async move {
            sleep(PERIOD * worker).await;
            let mut ticks = steps(PERIOD * workers);
            loop {
                ticks.tick().await;
                request(pool.clone(), start, writes, log.clone()).await;
            }
        });
    }
    requests.join_all().await;
}

fn steps(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn request<M, S>(pool: Pool<M>, start: Instant, writes: bool, log: Log)
where
    M: ManageConnection<Connection = S, Error: Error>,
    S: Session,
{
    let from = start.elapsed().as_secs_f64();
    let work = async {
        let mut connection = pool.get().await.map_err(|error| error.to_string())?;
        connection.request(writes).await
    };
    let result = timeout(ANSWER_LIMIT, work).await;
    let request = Request {
        from,
        to: start.elapsed().as_secs_f64(),
        error: match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some("no answer".to_owned()),
        },
    };
    log.lock().expect("no panic").push(request);
}

/// Holds every connection of the pool while it should.
async fn hold<M: ManageConnection>(pool: Pool<M>, mut circumstances: Circumstances) {
    loop {
        let mut held = Vec::new();
        if circumstances.held.wait_for(|held| *held).await.is_err() {
            return;
        }
        while *circumstances.held.borrow_and_update() {
            let free = held.len() < circumstances.pool_size as usize;
            if free && let Ok(Ok(connection)) = timeout(PERIOD, pool.get()).await {
                held.push(connection);
            } else if !free {
                sleep(PERIOD).await;
            }
        }
    }
}

fn router<M, S>(candidate: Candidate, pool: Pool<M>, circumstances: &Circumstances) -> Router
where
    M: ManageConnection<Connection = S, Error: Error>,
    S: Session,
{
    let router = Router::new();
    match candidate {
        Candidate::None => router.route("/readyz", get(async || StatusCode::OK)),
        Candidate::Ours => {
            let mut dependency = S::dependency(pool, circumstances.writes);
            if let Some(time) = circumstances.cache_for {
                dependency = dependency.cache_for(time);
            }
            let health = Health::builder().add(dependency).build();
            router.layer(HealthLayer::new(health).details(Access::everybody()))
        }
        Candidate::HandWritten => {
            let handler = async move || match timeout(ANSWER_LIMIT, ask(&pool)).await {
                Ok(Ok(())) => StatusCode::OK,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            router.route("/readyz", get(handler))
        }
        Candidate::Peer => {
            let health = axum_health::service::Health::builder().with_indicator(Indicator(pool));
            let router = router.route("/readyz", get(health_check));
            router.layer(Extension(health.build()))
        }
    }
}

async fn ask<M, S>(pool: &Pool<M>) -> Result<(), String>
where
    M: ManageConnection<Connection = S, Error: Error>,
    S: Session,
{
    let mut connection = pool.get().await.map_err(|error| error.to_string())?;
    connection.ping().await
}

/// The steps of the peer's indicator for bb8 pools (of diesel's connections), on this pool:
/// a connection, then a ping, both without a limit.
struct Indicator<M: ManageConnection>(Pool<M>);

impl<M, S> HealthIndicator for Indicator<M>
where
    M: ManageConnection<Connection = S, Error: Error>,
    S: Session,
{
    fn name(&self) -> String {
        "server".into()
    }

    // Without `async_trait`, which is not a dependency here.
    fn details<'a, 'b>(&'a self) -> Pin<Box<dyn Future<Output = HealthDetail> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            match ask(&self.0).await {
                Ok(()) => HealthDetail::up(),
                Err(_) => HealthDetail::down(),
            }
        })
    }
}

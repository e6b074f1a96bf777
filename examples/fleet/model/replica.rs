//! One replica: an app with a pool and users, and one of four ways to answer `/readyz`.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bb8::Pool;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tower::{ServiceExt, service_fn};
use tower_health::{Check, Dependency, Health, HealthLayer, checks};
use tower_layer::Layer;

use super::{
    postgres::{Manager, Postgres},
    random::Random,
};

/// How a replica finds out what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By hand: each probe takes a connection.
    Naive,
    /// By hand: a `Mutex` around the last result, cached for a fixed time.
    Cached,
    /// This crate.
    Jittered,
    /// This crate, with background runs.
    Refreshed,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Naive, Self::Cached, Self::Jittered, Self::Refreshed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive: a check per probe",
            Self::Cached => "cached by hand, fixed period",
            Self::Jittered => "tower-health: cached, jitter",
            Self::Refreshed => "tower-health: and refresh_every",
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Probes the readiness of a replica.
pub(crate) type Probe = Arc<dyn Fn() -> Answer + Send + Sync>;

/// The readiness endpoint of a replica whose results are cached for `cache_for`.
pub(crate) fn endpoint(
    way: Way,
    pool: Pool<Manager>,
    server: Arc<Postgres>,
    cache_for: Duration,
) -> Probe {
    match way {
        Way::Naive => Arc::new(move || Box::pin(connects(pool.clone(), server.clone()))),
        Way::Cached => by_hand(pool, server, cache_for),
        Way::Jittered | Way::Refreshed => ours(way, pool, server, cache_for),
    }
}

/// The usual code: one second to get a connection that passes the pool's test.
async fn connects(pool: Pool<Manager>, server: Arc<Postgres>) -> bool {
    server.count_check();
    matches!(timeout(Duration::from_secs(1), pool.get()).await, Ok(Ok(_)))
}

fn by_hand(pool: Pool<Manager>, server: Arc<Postgres>, cache_for: Duration) -> Probe {
    let last = Arc::new(Mutex::new(None::<(Instant, bool)>));
    Arc::new(move || {
        let (pool, server, last) = (pool.clone(), server.clone(), last.clone());
        Box::pin(async move {
            let mut last = last.lock().await;
            match *last {
                Some((when, answer)) if when.elapsed() < cache_for => answer,
                _ => {
                    let started = Instant::now();
                    let answer = connects(pool, server).await;
                    *last = Some((started, answer));
                    answer
                }
            }
        })
    })
}

type App = fn(Request<()>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>;

fn ours(way: Way, pool: Pool<Manager>, server: Arc<Postgres>, cache_for: Duration) -> Probe {
    let mut health = Health::builder().add(database(pool, server).cache_for(cache_for));
    if way == Way::Refreshed {
        health = health.refresh_every(cache_for);
    }
    readiness(health.build())
}

/// The check on `pool`. The server counts its runs.
pub(crate) fn database(pool: Pool<Manager>, server: Arc<Postgres>) -> Dependency {
    // The pool's own test is the query.
    let check = Arc::new(checks::pool(pool, |_| Box::pin(ready(Ok(())))));
    Dependency::new("database", move || {
        server.count_check();
        let check = check.clone();
        async move { check.check().await }
    })
}

/// The readiness probe of the layer.
pub(crate) fn readiness(health: Health) -> Probe {
    let app: App = |_| ready(Ok(Response::default()));
    let service = HealthLayer::new(health).layer(service_fn(app));
    Arc::new(move || {
        let service = service.clone();
        Box::pin(async move {
            let mut request = Request::new(());
            *request.uri_mut() = Uri::from_static("/readyz");
            let Ok(response) = service.oneshot(request).await;
            response.status().is_success()
        })
    })
}

/// The app's users, one after the other: each request holds a connection for 5 ms.
pub(crate) async fn serve_users(pool: Pool<Manager>, mean: Duration, mut random: Random) {
    loop {
        sleep(random.pause(mean)).await;
        if let Ok(connection) = pool.get().await {
            sleep(Duration::from_millis(5)).await;
            drop(connection);
        }
    }
}

//! One replica: an app with a pool and users, and one of five ways to answer `/readyz`.

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
    postgres::{CHECK, Manager},
    random::Random,
};

/// How a replica finds out what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By hand: each probe takes a connection.
    Naive,
    /// By hand: a `Mutex` around the last answer, kept for a fixed time.
    Cached,
    /// This crate.
    Jittered,
    /// This crate, checking in the background and not when asked.
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

/// Asks the replica whether it is ready.
pub(crate) type Ask = Arc<dyn Fn() -> Answer + Send + Sync>;

/// The face of a replica that keeps its answer for `cache_for`.
pub(crate) fn face(way: Way, pool: &Pool<Manager>, cache_for: Duration) -> Ask {
    let pool = pool.clone();
    match way {
        Way::Naive => Arc::new(move || Box::pin(look(pool.clone()))),
        Way::Cached => by_hand(pool, cache_for),
        Way::Jittered | Way::Refreshed => ours(way, pool, cache_for),
    }
}

/// What everybody writes: a second for a connection that works.
async fn look(pool: Pool<Manager>) -> bool {
    let looked = CHECK.scope((), timeout(Duration::from_secs(1), pool.get()));
    matches!(looked.await, Ok(Ok(_)))
}

fn by_hand(pool: Pool<Manager>, cache_for: Duration) -> Ask {
    let last = Arc::new(Mutex::new(None::<(Instant, bool)>));
    Arc::new(move || {
        let (pool, last) = (pool.clone(), last.clone());
        Box::pin(async move {
            let mut last = last.lock().await;
            match *last {
                Some((when, answer)) if when.elapsed() < cache_for => answer,
                _ => {
                    let started = Instant::now();
                    let answer = look(pool).await;
                    *last = Some((started, answer));
                    answer
                }
            }
        })
    })
}

type App = fn(Request<()>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>;

fn ours(way: Way, pool: Pool<Manager>, cache_for: Duration) -> Ask {
    // The pool's own test is the model's question.
    let check = Arc::new(checks::pool(pool, |_| Box::pin(ready(Ok(())))));
    let counted = move || {
        let check = check.clone();
        async move { CHECK.scope((), check.check()).await }
    };
    let dependency = Dependency::new("database", counted).cache_for(cache_for);
    let mut health = Health::builder().add(dependency);
    if way == Way::Refreshed {
        health = health.refresh_every(cache_for);
    }
    let app: App = |_| ready(Ok(Response::default()));
    let app = service_fn(app);
    let service = HealthLayer::new(health.build()).layer(app);
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

/// The app's users: each request takes a connection for a while. They ask one after the other.
pub(crate) async fn serve_users(pool: Pool<Manager>, mean: Duration, mut random: Random) {
    loop {
        sleep(random.pause(mean)).await;
        if let Ok(connection) = pool.get().await {
            sleep(Duration::from_millis(5)).await;
            drop(connection);
        }
    }
}

//! The app: a queue of jobs, with a limit of jobs a minute for each client address.

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use serde_json::{Value, json};

use crate::store::{Store, Unavailable};

const MAX_JOB_BYTES: usize = 64 * 1024;

type Rejection = (StatusCode, Json<Value>);

#[derive(Clone)]
struct App {
    store: Store,
    rate_limit: u64,
}

pub(crate) fn router(store: Store, rate_limit: u64) -> Router {
    Router::new()
        .route("/jobs", post(push))
        .route("/jobs/next", post(take))
        .layer(DefaultBodyLimit::max(MAX_JOB_BYTES))
        .with_state(App { store, rate_limit })
}

async fn push(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    job: String,
) -> Result<(StatusCode, Json<Value>), Rejection> {
    let count = app.store.count(peer.ip()).await.map_err(unavailable)?;
    if count > app.rate_limit {
        let error = json!({"error": "too many jobs in this minute"});
        return Err((StatusCode::TOO_MANY_REQUESTS, Json(error)));
    }
    let depth = app.store.push(job).await.map_err(unavailable)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"queue_depth": depth}))))
}

async fn take(State(app): State<App>) -> Result<(StatusCode, String), Rejection> {
    match app.store.take().await.map_err(unavailable)? {
        Some(job) => Ok((StatusCode::OK, job)),
        None => Ok((StatusCode::NO_CONTENT, String::new())),
    }
}

fn unavailable(error: Unavailable) -> Rejection {
    let error = json!({"error": error.to_string()});
    (StatusCode::SERVICE_UNAVAILABLE, Json(error))
}

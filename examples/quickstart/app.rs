//! The app behind the layer.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::backends::{Cache, Database};

/// The longest wait of a request for the backends.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn router(database: Database, cache: Cache) -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/api/echo", post(async |body: Bytes| body))
        .with_state((database, cache))
}

/// Counts a visit in both backends.
async fn visit(
    State((database, cache)): State<(Database, Cache)>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let both = async { tokio::join!(database.visit(), cache.hit()) };
    match timeout(BACKEND_TIMEOUT, both).await {
        Ok((Some(visits), Some(hits))) => Ok(Json(json!({"visits": visits, "hits": hits}))),
        _ => Err((
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"error": "a backend does not answer"})),
        )),
    }
}

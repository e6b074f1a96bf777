//! The version of a database schema.

use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::NoTls;
use tower_health::{Check, checks};

/// Requires migration `version` or a later one, as `sqlx migrate` records them; else down (`mismatch`).
///
/// A later one passes: in a rolling deploy the old replicas see the new schema.
pub(crate) fn schema(
    pool: bb8::Pool<PostgresConnectionManager<NoTls>>,
    version: i64,
) -> impl Check {
    checks::postgres(pool)
        .query(format!(
            "SELECT coalesce(max(version), 0) >= {version} FROM _sqlx_migrations WHERE success"
        ))
        .expect_value("t")
}

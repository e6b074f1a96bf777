//! The lag of a consumer group of a Redis stream.

use std::collections::HashMap;

use bb8_redis::{
    RedisConnectionManager,
    redis::{Value, cmd, from_redis_value},
};
use tower_health::{Check, Failure, Outcome, Reason};

type Pool = bb8::Pool<RedisConnectionManager>;

/// Degraded if a group of `stream` is more than `most` entries behind. Redis 7.0 and later counts them.
///
/// Use it in addition to `checks::redis(pool)`, which tells a full pool from a server that is down.
pub(crate) fn stream_lag(pool: Pool, stream: &'static str, most: u64) -> impl Check {
    move || {
        let pool = pool.clone();
        async move {
            let mut connection = pool.get().await?;
            let mut command = cmd("XINFO");
            command.arg("GROUPS").arg(stream);
            let groups: Vec<HashMap<String, Value>> = command.query_async(&mut *connection).await?;
            let lags = groups
                .into_iter()
                .filter_map(|mut group| group.remove("lag"));
            let lags: Result<Vec<Option<u64>>, _> = lags.map(from_redis_value).collect();
            let lag = lags?.into_iter().flatten().max();
            let lag =
                lag.ok_or_else(|| Failure::new(Reason::NotFound).message("no lag is known"))?;
            let outcome = if lag > most {
                Outcome::degraded(Reason::Behind)
            } else {
                Outcome::up()
            };
            Ok(outcome.observe("lag", lag))
        }
    }
}

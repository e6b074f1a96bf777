//! [`RedisCheck`], its options, and the commands that prove them.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bb8::{ManageConnection, Pool};
use bb8_redis::{
    RedisConnectionManager,
    redis::{FromRedisValue, Pipeline, RedisError, Value, aio::MultiplexedConnection, cmd, pipe},
};
use tokio::time::{Instant, sleep};

use super::error_code;
use crate::{
    check::{CheckResult, Outcome},
    checks::{
        driver_error::connect_failure,
        pool::{Bb8Core, PingError, Server, pool_check},
    },
    report::{Failure, Reason},
};

/// The time after which a key expires that was written and not removed.
const KEY_TTL_MS: u64 = 10_000;

/// A check on a `bb8` pool of Redis connections.
///
/// Up costs one `PING`: the pool's test at checkout, or the check's own if the pool does not
/// test. A server that answers `PING` and refuses writes is up, unless the check requires a write.
///
/// The rules are those of [the module](crate::checks). Clones share their connections. Cancel-safe: a run that
/// is dropped leaves its connection to a detached task.
pub struct RedisCheck<
    M: ManageConnection<Connection = MultiplexedConnection> = RedisConnectionManager,
> {
    core: Bb8Core<M, RedisRequirements>,
}

/// Checks that `pool` delivers connections on which the server answers.
///
/// Accepts any manager of multiplexed `redis` connections: `RedisConnectionManager`, plain or in a [`ConnectTimeoutManager`](crate::checks::ConnectTimeoutManager).
///
/// ```no_run
/// use bb8_redis::RedisConnectionManager;
/// use tower_health::{Health, checks};
///
/// # fn app(pool: bb8::Pool<RedisConnectionManager>) -> Health {
/// Health::builder().check("cache", checks::redis(pool.clone())).build()
/// # }
/// ```
pub fn redis<M>(pool: Pool<M>) -> RedisCheck<M>
where
    M: ManageConnection<Connection = MultiplexedConnection>,
{
    RedisCheck {
        core: Bb8Core::of_bb8(pool, RedisRequirements::default()),
    }
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> RedisCheck<M> {
    /// Requires that a key can be written and read back. Default: off.
    ///
    /// A refused write is down with the reason of its error, as `read_only` or `rejected`; another value is
    /// down with `mismatch`. One more round trip writes a random key, reads it and removes it. If the
    /// connection breaks in between, the key expires after 10 s. The key is `tower-health:` and 16 hexadecimal
    /// digits.
    #[must_use]
    pub fn write_and_read_back(self) -> Self {
        self.write_and_read_back_with_prefix("tower-health:")
    }

    /// Requires the same, with another prefix of the key. Default: off.
    ///
    /// See [`write_and_read_back`](Self::write_and_read_back). For an ACL (`~app:*`) or a hash tag.
    #[must_use]
    pub fn write_and_read_back_with_prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.core.server_mut().write = Some(prefix.into());
        self
    }

    /// Requires a primary, else down (`read_only`). Default: any role.
    ///
    /// Reads `ROLE`. This takes one more round trip, together with the options below.
    #[must_use]
    pub fn primary(mut self) -> Self {
        self.core.server_mut().role = Some("primary");
        self
    }

    /// Requires a replica, else down (`mismatch`). Default: any role.
    #[must_use]
    pub fn replica(mut self) -> Self {
        self.core.server_mut().role = Some("replica");
        self
    }

    /// Adds a list and its lengths from which on the check is degraded or down (`behind`).
    /// Default: no list.
    ///
    /// Reads `LLEN`, and can be called for several lists. `u64::MAX` is never reached.
    #[must_use]
    pub fn queue_depth(
        mut self,
        key: impl Into<Cow<'static, str>>,
        degraded: u64,
        down: u64,
    ) -> Self {
        self.core.server_mut().queues.push(Queue {
            key: key.into(),
            degraded,
            down,
        });
        self
    }

    /// Sets the share of `maxmemory` above which the check is degraded (`exhausted`). Default: off.
    ///
    /// For example `0.9`. A server without `maxmemory` is never above it.
    ///
    /// # Panics
    ///
    /// If `share` is not above 0 and at most 1.
    #[must_use]
    #[track_caller]
    pub fn max_memory_usage(mut self, share: f64) -> Self {
        assert!(
            share > 0.0 && share <= 1.0,
            "max_memory_usage: {share} is not above 0 and at most 1"
        );
        self.core.server_mut().memory = Some(share);
        self
    }
}

pool_check!(
    RedisCheck,
    "redis",
    ManageConnection<Connection = MultiplexedConnection>
);

#[derive(Clone, Debug, Default)]
struct RedisRequirements {
    write: Option<Cow<'static, str>>,
    role: Option<&'static str>,
    queues: Vec<Queue>,
    memory: Option<f64>,
}

#[derive(Clone, Debug)]
struct Queue {
    key: Cow<'static, str>,
    degraded: u64,
    down: u64,
}

impl<M: ManageConnection<Connection = MultiplexedConnection>> Server<M> for RedisRequirements {
    const KEEPS_BROKEN: bool = true;

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), PingError> {
        let pinged = cmd("PING").exec_async(connection).await;
        pinged.map_err(PingError::from)
    }

    fn connect_failure(&self, error: M::Error) -> Failure {
        connect_failure(error, error_code::login_failure)
    }

    fn has_proof(&self) -> bool {
        self.write.is_some()
            || self.role.is_some()
            || self.memory.is_some()
            || !self.queues.is_empty()
    }

    /// The driver ends each command after its response timeout, 500 ms by default.
    async fn prove(
        &self,
        connection: &mut MultiplexedConnection,
        _until: Instant,
    ) -> Result<CheckResult, Failure> {
        let result = self.evaluate(connection).await;
        match &result {
            Err(failure) if failure.reason() == Reason::Reset => return result.map(Ok),
            // Replies arrive in order: once a `PING` is answered, no earlier command is pending.
            Err(failure) if failure.reason() == Reason::Timeout => {
                while let Err(PingError::NoReply) = Server::<M>::ping(self, connection).await {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            _ => {}
        }
        Ok(result)
    }
}

impl RedisRequirements {
    /// Returns the worst result. Takes one round trip, and with a write two.
    async fn evaluate(&self, connection: &mut MultiplexedConnection) -> CheckResult {
        if let Some(prefix) = &self.write {
            write_and_read_back(connection, prefix).await?;
        }
        let mut commands = pipe();
        // An error in one answer must not hide the others.
        commands.ignore_errors();
        for queue in &self.queues {
            commands.cmd("LLEN").arg(&*queue.key);
        }
        if self.role.is_some() {
            commands.cmd("ROLE");
        }
        if self.memory.is_some() {
            commands.cmd("INFO").arg("memory");
        }
        if commands.is_empty() {
            return Ok(Outcome::up());
        }
        let mut answers = answers(&commands, connection).await?;
        let mut outcome = Outcome::up();
        for queue in &self.queues {
            outcome = queue.judge(next::<u64>(&mut answers)?, outcome)?;
        }
        if let Some(wanted) = self.role {
            let role = next::<Vec<Value>>(&mut answers)?;
            outcome = judge_role(&role, wanted, outcome)?;
        }
        if let Some(share) = self.memory {
            outcome = judge_memory(&next::<String>(&mut answers)?, share, outcome);
        }
        Ok(outcome)
    }
}

impl Queue {
    fn judge(&self, depth: u64, outcome: Outcome) -> CheckResult {
        let message = || format!("the list {} has {depth} elements", self.key);
        let name = format!("queue.{}", self.key);
        if depth >= self.down {
            return Err(Failure::new(Reason::Behind)
                .message(message())
                .observe(name, depth));
        }
        let outcome = if depth >= self.degraded {
            worse(outcome, Reason::Behind, message())
        } else {
            outcome
        };
        Ok(outcome.observe(name, depth))
    }
}

/// Judges how full the server is, by its `INFO memory`.
fn judge_memory(info: &str, share: f64, outcome: Outcome) -> Outcome {
    let field = |name: &str| -> u64 {
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        let field = fields.find(|(key, _)| *key == name);
        field
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    };
    let (used, max) = (field("used_memory"), field("maxmemory"));
    let outcome = outcome
        .observe("used_memory", used)
        .observe("maxmemory", max);
    // 0: the server has no limit. Exact up to 2^53 bytes, far above both.
    if max == 0 || used as f64 <= share * max as f64 {
        return outcome;
    }
    let percent = used.saturating_mul(100) / max;
    worse(
        outcome,
        Reason::Exhausted,
        format!("{percent} % of maxmemory is used"),
    )
}

/// Degrades `outcome`, unless it is degraded already.
fn worse(outcome: Outcome, reason: Reason, message: String) -> Outcome {
    if outcome.reason().is_some() {
        return outcome;
    }
    let mut degraded = Outcome::degraded(reason).message(message);
    degraded.observations = outcome.observations;
    degraded
}

/// Writes a random key, reads it and removes it: one round trip.
async fn write_and_read_back(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<(), Failure> {
    // Two processes must not write the same key: one would read the value of the other.
    let value = format!("{:016x}", RandomState::new().hash_one(()));
    let key = format!("{prefix}{value}");
    let mut commands = pipe();
    commands.ignore_errors();
    let set = (&key, &value, "PX", KEY_TTL_MS);
    commands.cmd("SET").arg(set);
    commands.cmd("GET").arg(&key);
    commands.cmd("DEL").arg(&key);
    let mut answers = answers(&commands, connection).await?;
    next::<Value>(&mut answers)?;
    if next::<Option<String>>(&mut answers)? == Some(value) {
        Ok(())
    } else {
        Err(Failure::new(Reason::Mismatch).message("the value read is not the value written"))
    }
}

fn judge_role(answer: &[Value], wanted: &'static str, outcome: Outcome) -> CheckResult {
    let role = match answer.first() {
        Some(Value::BulkString(role)) if role == b"master" => "primary",
        Some(Value::BulkString(role)) if role == b"slave" => "replica",
        _ => "other",
    };
    let (reason, message) = match wanted {
        _ if role == wanted => return Ok(outcome.observe("role", role)),
        "primary" => (
            Reason::ReadOnly,
            "the server is not a primary, and a primary is required",
        ),
        _ => (
            Reason::Mismatch,
            "the server is not a replica, and a replica is required",
        ),
    };
    Err(Failure::new(reason).message(message).observe("role", role))
}

async fn answers(
    commands: &Pipeline,
    connection: &mut MultiplexedConnection,
) -> Result<impl Iterator<Item = Value>, Failure> {
    let answers = commands.query_async::<Vec<Value>>(connection).await;
    answers.map(Vec::into_iter).map_err(error_code::failure)
}

fn next<T: FromRedisValue>(answers: &mut impl Iterator<Item = Value>) -> Result<T, Failure> {
    let answer = answers.next().unwrap_or(Value::Nil);
    let value = answer.extract_error().map_err(error_code::failure)?;
    T::from_redis_value(value).map_err(|error| error_code::failure(RedisError::from(error)))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reason, judge_memory};

    #[test]
    fn memory_above_its_share_of_the_limit_is_exhausted() {
        for (used, max, reason) in [
            (90_u64, 100_u64, None),
            (91, 100, Some(Reason::Exhausted)),
            (200, 100, Some(Reason::Exhausted)),
            (91, 0, None),
        ] {
            let info = format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{max}\r\n"
            );
            let judged = judge_memory(&info, 0.9, Outcome::up());
            assert_eq!(judged.reason(), reason, "{used} {max}");
            assert_eq!(
                judged.observations.values,
                [
                    ("used_memory".into(), used.into()),
                    ("maxmemory".into(), max.into())
                ]
            );
        }
    }

    #[test]
    fn an_answer_without_the_fields_means_no_limit() {
        assert_eq!(judge_memory("", 0.9, Outcome::up()).reason(), None);
    }
}

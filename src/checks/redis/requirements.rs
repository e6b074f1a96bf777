//! The options of [`RedisCheck`](super::RedisCheck), and the commands that prove them.

use std::{
    borrow::Cow,
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bb8::ManageConnection;
use bb8_redis::redis::{
    FromRedisValue, Pipeline, RedisError, Value, aio::MultiplexedConnection, cmd, pipe,
};
use tokio::time::{Instant, sleep};

use super::error_code;
use crate::{
    check::{CheckResult, Outcome},
    checks::{
        driver_error::connect_failure,
        pool::{PingError, Server},
    },
    report::{Failure, Reason},
};

/// The time after which a key expires that was written and not removed.
const KEY_TTL_MS: u64 = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct RedisRequirements {
    pub(super) write: Option<Cow<'static, str>>,
    pub(super) role: Option<&'static str>,
    pub(super) queues: Vec<Queue>,
    pub(super) memory: Option<f64>,
}

#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) key: Cow<'static, str>,
    pub(super) degraded: u64,
    pub(super) down: u64,
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
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Two processes must not write the same key: one would read the value of the other.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    let value = format!("{:016x}", hasher.finish());
    let key = format!("{prefix}{value}");
    let mut commands = pipe();
    commands.ignore_errors();
    commands
        .cmd("SET")
        .arg(&key)
        .arg(&value)
        .arg("PX")
        .arg(KEY_TTL_MS);
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
        Some(Value::BulkString(role)) => match role.as_slice() {
            b"master" => "primary",
            b"slave" => "replica",
            _ => "other",
        },
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

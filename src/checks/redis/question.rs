//! What a Redis can be asked to prove beyond a `PONG`.

use std::{
    borrow::Cow,
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use bb8::ManageConnection;
use bb8_redis::redis::{
    FromRedisValue, Pipeline, RedisError, Value, aio::MultiplexedConnection, cmd, pipe,
};
use tokio::time::{Instant, timeout_at};

use super::{classify, info::Memory};
use crate::{
    check::{CheckResult, Outcome},
    checks::pool::{Backend, Judgement, Loan},
    report::{Failure, Reason},
};

/// A key that was written and not read back, since the run was cut off, goes after this long.
const KEY_LIVES_MS: u64 = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Question {
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

impl<M: ManageConnection<Connection = MultiplexedConnection>> Backend<M> for Question {
    const EVICTS_DEAD: bool = false;

    async fn ping(&self, connection: &mut MultiplexedConnection) -> Result<(), Judgement> {
        cmd("PING")
            .exec_async(connection)
            .await
            .map_err(classify::judge)
    }

    fn refusal(&self, error: M::Error) -> Failure {
        classify::refusal(error)
    }

    fn proves_more(&self) -> bool {
        self.write.is_some()
            || self.role.is_some()
            || self.memory.is_some()
            || !self.queues.is_empty()
    }

    async fn prove(&self, mut loan: Loan<M>, deadline: Instant) -> CheckResult {
        match timeout_at(deadline, self.ask(&mut loan)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(Reason::Timeout).message("the server does not answer")),
        }
    }
}

impl Question {
    /// The worst of what was asked for counts. One round trip, with a write two.
    async fn ask(&self, connection: &mut MultiplexedConnection) -> CheckResult {
        if let Some(prefix) = &self.write {
            write_and_read_back(connection, prefix).await?;
        }
        let mut questions = pipe();
        // An error of one answer must not hide the others.
        questions.ignore_errors();
        for queue in &self.queues {
            questions.cmd("LLEN").arg(&*queue.key);
        }
        if self.role.is_some() {
            questions.cmd("ROLE");
        }
        if self.memory.is_some() {
            questions.cmd("INFO").arg("memory");
        }
        if questions.is_empty() {
            return Ok(Outcome::up());
        }
        let mut answers = answers(&questions, connection).await?.into_iter();
        let mut outcome = Outcome::up();
        for queue in &self.queues {
            outcome = queue.judge(next::<u64>(&mut answers)?, outcome)?;
        }
        if let Some(wanted) = self.role {
            let role = next::<Vec<Value>>(&mut answers)?;
            outcome = judge_role(&role, wanted, outcome)?;
        }
        if let Some(share) = self.memory {
            let memory = Memory::parse(&next::<String>(&mut answers)?);
            outcome = memory.judge(share, outcome);
        }
        Ok(outcome)
    }
}

impl Queue {
    fn judge(&self, depth: u64, outcome: Outcome) -> CheckResult {
        let message = || format!("the queue {} holds {depth}", self.key);
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

/// Writes a key of its own, reads it and removes it: one round trip.
async fn write_and_read_back(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<(), Failure> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // No two processes may write the same: one would read back what the other wrote.
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
        .arg(KEY_LIVES_MS);
    commands.cmd("GET").arg(&key);
    commands.cmd("DEL").arg(&key);
    let mut answers = answers(&commands, connection).await?.into_iter();
    next::<Value>(&mut answers)?;
    if next::<Option<String>>(&mut answers)? == Some(value) {
        Ok(())
    } else {
        Err(Failure::new(Reason::Mismatch).message("what was written is not what was read"))
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
    match (role == wanted, wanted) {
        (true, _) => Ok(outcome.observe("role", role)),
        (false, "primary") => Err(Failure::new(Reason::ReadOnly)
            .message("a primary was asked for, and this is none")
            .observe("role", role)),
        (false, _) => Err(Failure::new(Reason::Mismatch)
            .message("a replica was asked for, and this is none")
            .observe("role", role)),
    }
}

/// `outcome`, degraded unless it was before.
pub(super) fn worse(outcome: Outcome, reason: Reason, message: String) -> Outcome {
    if outcome.reason().is_some() {
        return outcome;
    }
    let mut degraded = Outcome::degraded(reason).message(message);
    degraded.observations = outcome.observations;
    degraded
}

async fn answers(
    questions: &Pipeline,
    connection: &mut MultiplexedConnection,
) -> Result<Vec<Value>, Failure> {
    questions
        .query_async(connection)
        .await
        .map_err(classify::failure)
}

fn next<T: FromRedisValue>(answers: &mut impl Iterator<Item = Value>) -> Result<T, Failure> {
    let answer = answers.next().unwrap_or(Value::Nil);
    let value = answer.extract_error().map_err(classify::failure)?;
    T::from_redis_value(value).map_err(|error| classify::failure(RedisError::from(error)))
}

//! The result of one run, as the tests compare it.
#![allow(dead_code)] // Each set of features uses a part of it.

use std::time::Duration;

use tokio::time::timeout;
use tower_health::{Check, CheckResult, Reason, Status};

use crate::support::judged_on_time;

/// Status and reason of one run.
pub type Answer = (Status, Option<Reason>);

pub const UP: Answer = (Status::Up, None);

/// Generous on a loaded machine; a check that gets no deadline takes at most 800 ms.
const BOUND: Duration = Duration::from_millis(1500);

pub fn down(reason: Reason) -> Answer {
    (Status::Down, Some(reason))
}

pub fn degraded(reason: Reason) -> Answer {
    (Status::Degraded, Some(reason))
}

pub fn answer(result: &CheckResult) -> Answer {
    match result {
        Ok(outcome) => (outcome.status(), outcome.reason()),
        Err(failure) => down(failure.reason()),
    }
}

/// One run with the check's own deadline.
pub async fn look(check: &impl Check) -> Answer {
    look_within(check, BOUND).await
}

pub async fn look_within(check: &impl Check, limit: Duration) -> Answer {
    let result = timeout(limit, check.check()).await;
    answer(&result.expect("a check ends by its deadline"))
}

/// An answer that `is_right`, or else one found while the machine was on time.
pub async fn look_on_time(check: &impl Check, is_right: impl Fn(Answer) -> bool) -> Answer {
    judged_on_time(async || look(check).await, |found| is_right(*found)).await
}

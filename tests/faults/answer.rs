//! The result of one run, as the tests compare it.

use tower_health::{CheckResult, Reason, Status};

/// Status and reason of one run.
pub type Answer = (Status, Option<Reason>);

pub const UP: Answer = (Status::Up, None);

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

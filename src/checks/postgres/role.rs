//! Primary or replica, and how far behind.

use std::time::Duration;

use super::question::Role;
use crate::{
    check::Outcome,
    report::{Failure, Reason},
};

/// In recovery; takes no writes; seconds behind, 0 where everything received is replayed.
///
/// The age of the last transaction alone grows on a primary that has nothing to do.
pub(super) const SQL: &str = "SELECT pg_is_in_recovery(), \
     current_setting('transaction_read_only'), \
     CASE WHEN NOT pg_is_in_recovery() \
            OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
          ELSE EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp()) END";

/// What the row of [`SQL`] says of what was asked for.
pub(super) fn judge(
    row: &[Option<String>],
    role: Option<Role>,
    max_lag: Option<Duration>,
) -> Result<Outcome, Failure> {
    let column = |index: usize| row.get(index).and_then(Option::as_deref);
    let replica = column(0) == Some("t");
    let read_only = column(1) == Some("on");
    let lag = column(2).and_then(|lag| lag.parse::<f64>().ok());
    let seen = if replica { "replica" } else { "primary" };
    match role {
        Some(Role::Primary) if replica || read_only => {
            return Err(Failure::new(Reason::ReadOnly)
                .message("a server that takes writes was asked for, and this one takes none")
                .observe("role", seen));
        }
        Some(Role::Replica) if !replica => {
            return Err(Failure::new(Reason::Mismatch)
                .message("a replica was asked for, and this is a primary")
                .observe("role", seen));
        }
        _ => {}
    }
    let Some(max_lag) = max_lag else {
        return Ok(Outcome::up().observe("role", seen));
    };
    match lag {
        Some(lag) if lag <= max_lag.as_secs_f64() => Ok(Outcome::up()
            .observe("role", seen)
            .observe("lag_seconds", lag)),
        Some(lag) => Ok(Outcome::degraded(Reason::Behind)
            .message("the replica is further behind than it may be")
            .observe("role", seen)
            .observe("lag_seconds", lag)),
        // It has not replayed a single transaction.
        None => Ok(Outcome::degraded(Reason::Behind)
            .message("the replica has replayed nothing so far")
            .observe("role", seen)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Reason, Role, judge};
    use crate::report::Status;

    #[test]
    fn each_row_has_its_verdict() {
        let second = Some(Duration::from_secs(1));
        let (primary, replica) = (Some(Role::Primary), Some(Role::Replica));
        for (row, role, lag, verdict) in [
            (["f", "off", "0"], primary, None, (Status::Up, None)),
            (
                ["t", "on", "0"],
                primary,
                None,
                (Status::Down, Some(Reason::ReadOnly)),
            ),
            (
                ["f", "on", "0"],
                primary,
                None,
                (Status::Down, Some(Reason::ReadOnly)),
            ),
            (["t", "on", "0"], replica, second, (Status::Up, None)),
            (["t", "on", "0.9"], replica, second, (Status::Up, None)),
            (
                ["t", "on", "1.1"],
                replica,
                second,
                (Status::Degraded, Some(Reason::Behind)),
            ),
            (
                ["t", "on", ""],
                replica,
                second,
                (Status::Degraded, Some(Reason::Behind)),
            ),
            (
                ["f", "off", "0"],
                replica,
                None,
                (Status::Down, Some(Reason::Mismatch)),
            ),
        ] {
            let cells = row.map(|cell| (!cell.is_empty()).then(|| cell.to_owned()));
            let judged = match judge(&cells, role, lag) {
                Ok(outcome) => (outcome.status(), outcome.reason()),
                Err(failure) => (Status::Down, Some(failure.reason())),
            };
            assert_eq!(judged, verdict, "{row:?} {role:?} {lag:?}");
        }
    }
}

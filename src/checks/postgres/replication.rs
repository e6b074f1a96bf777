//! The role of a server, and the replication lag of a replica.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{
    check::{CheckResult, Outcome},
    report::{Failure, Reason},
};

/// The most positions that are recorded: at one run a second, they measure a lag of up to 17 minutes.
const MAX_MARKS: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

/// Returns a query of what is required and no more: a user may lack the right to read the lag.
pub(super) fn sql(role: Option<Role>, max_lag: Option<Duration>) -> Option<String> {
    if role.is_none() && max_lag.is_none() {
        return None;
    }
    let mut sql = "SELECT pg_is_in_recovery()".to_owned();
    sql += match role {
        Some(Role::Primary) => ", current_setting('default_transaction_read_only')",
        _ => ", NULL",
    };
    if max_lag.is_some() {
        sql += ", pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()";
    }
    Some(sql)
}

/// Received positions of the log, each with the time at which a run first saw it.
#[derive(Debug, Default)]
pub(super) struct ReplayMarks(VecDeque<(u64, Instant)>);

impl ReplayMarks {
    /// Returns the age of the oldest position that is received and not replayed; `None` if it is not known.
    pub(super) fn lag(&mut self, row: &[Option<String>], now: Instant) -> Option<Duration> {
        let position = |index: usize| row.get(index)?.as_deref().and_then(parse_lsn);
        let (received, replayed) = (position(2)?, position(3)?);
        // A position above the received one is from before a failover, which moved the log back.
        self.0
            .retain(|(mark, _)| *mark > replayed && *mark <= received);
        if received > replayed
            && self.0.back().is_none_or(|(mark, _)| *mark < received)
            && self.0.len() < MAX_MARKS
        {
            self.0.push_back((received, now));
        }
        let oldest = self.0.front().map_or(now, |(_, since)| *since);
        Some(now.saturating_duration_since(oldest))
    }
}

/// Parses two hexadecimal halves of 32 bits, as in `16/B374D848`.
fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}

/// Judges the row of [`sql`] by what the check requires. `lag`: the maximum, and the measured lag.
pub(super) fn judge(
    row: &[Option<String>],
    role: Option<Role>,
    lag: Option<(Duration, Duration)>,
) -> CheckResult {
    let column = |index: usize| row.get(index).and_then(Option::as_deref);
    let is_replica = column(0) == Some("t");
    let is_read_only = column(1) == Some("on");
    let observed = if is_replica { "replica" } else { "primary" };
    let violated = match role {
        Some(Role::Primary) if is_replica => Some((
            Reason::ReadOnly,
            "the server is a replica, and a server that takes writes is required",
        )),
        Some(Role::Primary) if is_read_only => Some((
            Reason::ReadOnly,
            "default_transaction_read_only is on, and a server that takes writes is required",
        )),
        Some(Role::Replica) if !is_replica => Some((
            Reason::Mismatch,
            "the server is a primary, and a replica is required",
        )),
        _ => None,
    };
    if let Some((reason, message)) = violated {
        let failure = Failure::new(reason).message(message);
        return Err(failure.observe("role", observed));
    }
    let outcome = match lag {
        Some((max, lag)) if lag > max => Outcome::degraded(Reason::Behind)
            .message("the replication lag is above max_replication_lag"),
        _ => Outcome::up(),
    };
    let outcome = outcome.observe("role", observed);
    Ok(match lag {
        Some((_, lag)) => outcome.observe("lag_seconds", lag.as_secs_f64()),
        None => outcome,
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{Duration, Reason, ReplayMarks, Role, judge, parse_lsn, sql};
    use crate::report::Status;

    const SECOND: Duration = Duration::from_secs(1);

    fn cells(row: &[&str]) -> Vec<Option<String>> {
        row.iter()
            .map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned()))
            .collect()
    }

    #[test]
    fn only_what_is_required_is_read() {
        assert_eq!(sql(None, None), None);
        let primary = sql(Some(Role::Primary), None).unwrap_or_default();
        assert!(primary.contains("default_transaction_read_only"));
        assert!(!primary.contains("_lsn") && !primary.contains("transaction_timestamp"));
        let replica = sql(Some(Role::Replica), Some(SECOND)).unwrap_or_default();
        assert!(replica.contains("pg_last_wal_replay_lsn") && !replica.contains("read_only"));
    }

    #[test]
    fn each_row_has_its_result() {
        let (primary, replica) = (Some(Role::Primary), Some(Role::Replica));
        for (row, role, lag, result) in [
            (["f", "off"], primary, None, (Status::Up, None)),
            (
                ["t", "off"],
                primary,
                None,
                (Status::Down, Some(Reason::ReadOnly)),
            ),
            (
                ["f", "on"],
                primary,
                None,
                (Status::Down, Some(Reason::ReadOnly)),
            ),
            (["t", ""], replica, Some(SECOND), (Status::Up, None)),
            (
                ["t", ""],
                replica,
                Some(2 * SECOND),
                (Status::Degraded, Some(Reason::Behind)),
            ),
            (
                ["f", ""],
                replica,
                None,
                (Status::Down, Some(Reason::Mismatch)),
            ),
        ] {
            let lag = lag.map(|lag| (SECOND, lag));
            let judged = match judge(&cells(&row), role, lag) {
                Ok(outcome) => (outcome.status(), outcome.reason()),
                Err(failure) => (Status::Down, Some(failure.reason())),
            };
            assert_eq!(judged, result, "{row:?} {role:?} {lag:?}");
        }
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_unreplayed_position() {
        let start = Instant::now();
        let mut marks = ReplayMarks::default();
        // Second, received, replayed, lag.
        for (second, received, replayed, lag) in [
            (0, "0/10", "0/10", 0),
            // One long transaction: everything received is replayed at once.
            (10, "0/20", "0/20", 0),
            (11, "0/30", "0/20", 0),
            (12, "0/40", "0/2F", 1),
            (13, "0/40", "0/30", 1),
            (14, "0/40", "0/3F", 2),
            (15, "1/0", "0/40", 0),
            (16, "1/0", "1/0", 0),
        ] {
            let row = cells(&["t", "", received, replayed]);
            let now = start + second * SECOND;
            assert_eq!(marks.lag(&row, now), Some(lag * SECOND), "{second}");
        }
        assert_eq!(marks.lag(&cells(&["t", "", "", "0/1"]), start), None);
    }

    #[test]
    fn positions_are_parsed() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(parse_lsn("16"), None);
        assert_eq!(parse_lsn("x/y"), None);
    }
}

//! Times as a tired reader takes them in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    render::time::Iso8601,
    report::{Status, rounded_millis},
};

/// The status as a word of the page.
pub(super) const fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "Up",
        Status::Degraded => "Degraded",
        Status::Unknown => "Unknown",
        Status::Down => "Down",
    }
}

/// A stretch of time in its two greatest units.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match seconds {
        0 => "less than 1 s".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// How long a run took, to three digits.
pub(super) fn latency(duration: Duration) -> String {
    let ms = rounded_millis(duration);
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1_000.0)
    }
}

/// The time of day, as the logs have it.
pub(super) fn time_of_day(at: SystemTime) -> String {
    let text = Iso8601(at).to_string();
    format!("{} UTC", &text[11..19])
}

/// The moment that lies `ago` before `now`: a time of day while that is unambiguous.
pub(super) fn moment(ago: Duration, now: SystemTime) -> String {
    let at = now.checked_sub(ago).unwrap_or(UNIX_EPOCH);
    if ago.as_secs() < 86_400 {
        return time_of_day(at);
    }
    let text = Iso8601(at).to_string();
    format!("{} {} UTC", &text[..10], &text[11..16])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{latency, moment, span, time_of_day};

    #[test]
    fn spans_have_their_two_greatest_units() {
        let table = [
            (0, "less than 1 s"),
            (999, "less than 1 s"),
            (1_000, "1 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (252_000, "4 min 12 s"),
            (3_599_000, "59 min 59 s"),
            (3_600_000, "1 h 0 min"),
            (86_399_000, "23 h 59 min"),
            (86_400_000, "1 d 0 h"),
            (900_000_000, "10 d 10 h"),
        ];
        for (ms, expected) in table {
            assert_eq!(span(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn latencies_have_three_digits() {
        let table = [
            (0, "0.00 ms"),
            (314, "0.31 ms"),
            (9_990, "9.99 ms"),
            (12_340, "12.3 ms"),
            (800_200, "800 ms"),
            (1_250_000, "1.25 s"),
        ];
        for (us, expected) in table {
            assert_eq!(latency(Duration::from_micros(us)), expected);
        }
    }

    #[test]
    fn the_time_of_day_is_that_of_greenwich() {
        let at = |seconds| time_of_day(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "00:00:00 UTC");
        assert_eq!(at(1_795_245_165), "07:12:45 UTC");
    }

    #[test]
    fn yesterday_has_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_245_165);
        let ago = |seconds| moment(Duration::from_secs(seconds), now);
        assert_eq!(ago(45), "07:12:00 UTC");
        assert_eq!(ago(86_399), "07:12:46 UTC");
        assert_eq!(ago(86_400), "2026-11-20 07:12 UTC");
        assert_eq!(ago(u64::MAX), "1970-01-01 00:00 UTC");
    }
}

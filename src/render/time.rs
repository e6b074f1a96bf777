use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

const DAY: u64 = 86_400;

/// Prints a time in ISO 8601, in UTC, with milliseconds: `2018-01-17T03:36:48.000Z`.
///
/// One format is not worth a dependency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iso8601(pub(super) SystemTime);

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock that shows a time before 1970 is not set.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = date(since.as_secs() / DAY);
        let second = since.as_secs() % DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis()
        )
    }
}

/// Returns year, month and day, `days` after 1970-01-01 in the Gregorian calendar.
///
/// The calculation uses years that begin in March, so that the leap day is the last day. Then each 5 months
/// from March have 153 days.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // From 0000-03-01.
    const CYCLE: u64 = 146_097; // Days in 400 years.
    let days = days + DAYS_TO_1970;
    let day_of_cycle = days % CYCLE;
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = days / CYCLE * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Iso8601, date};

    #[test]
    fn times_are_those_that_date_prints() {
        // Milliseconds since 1970, as `date -u -d @… +%FT%T.%3NZ` prints them.
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_516_160_208_000, "2018-01-17T03:36:48.000Z"),
            (1_709_210_096_007, "2024-02-29T12:34:56.007Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(Iso8601(time).to_string(), expected);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Iso8601(before).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for days in 0..150_000 {
            assert_eq!(date(days), expected, "{days}");
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}

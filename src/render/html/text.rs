//! Text of the page: escaped, and times in the words of a reader.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    render::time::Iso8601,
    report::{Status, rounded_millis},
};

/// Any text, escaped for an element or a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, f)
    }
}

/// A sentence of this crate, in which backquotes mark names of settings.
pub(super) struct Prose<'a>(pub(super) &'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split('`').try_for_each(|part| escaped(part, f))
    }
}

fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in text.chars() {
        match character {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            // A browser drops or rewrites these, so the script could not compare names.
            control if control.is_control() => f.write_char('\u{fffd}')?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

/// The status as the page writes it.
pub(super) const fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "Up",
        Status::Degraded => "Degraded",
        Status::Unknown => "Unknown",
        Status::Down => "Down",
    }
}

/// A duration in its two largest units.
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

/// A setting, exactly: in seconds if they are whole.
pub(super) fn setting(duration: Duration) -> String {
    if duration.subsec_millis() == 0 && duration.as_secs() > 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// The duration of a run, to three digits.
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

/// The time of day in UTC, as logs have it.
pub(super) fn time_of_day(at: SystemTime) -> String {
    let text = Iso8601(at).to_string();
    format!("{} UTC", &text[11..19])
}

/// The instant `ago` before `now`: a time of day while that is unambiguous.
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

    use super::{Prose, Text, latency, moment, setting, span, time_of_day};

    #[test]
    fn markup_in_text_is_escaped() {
        let table = [
            ("database", "database"),
            ("<script>", "&lt;script&gt;"),
            (r#"" onload='x'"#, "&quot; onload=&#39;x&#39;"),
            ("a&amp;b", "a&amp;amp;b"),
            ("-->]]>", "--&gt;]]&gt;"),
            ("a\0b\r\nc\u{85}", "a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}"),
            ("büro ✓ `x`", "büro ✓ `x`"),
        ];
        for (text, expected) in table {
            assert_eq!(Text(text).to_string(), expected);
        }
        assert_eq!(Prose("Look at `a<b`.").to_string(), "Look at a&lt;b.");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
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
    fn latencies_have_three_digits_and_settings_are_exact() {
        let table = [
            (0, "0.00 ms", "0 ms"),
            (314, "0.31 ms", "0 ms"),
            (9_990, "9.99 ms", "9 ms"),
            (12_340, "12.3 ms", "12 ms"),
            (800_000, "800 ms", "800 ms"),
            (1_000_000, "1.00 s", "1 s"),
            (1_250_000, "1.25 s", "1250 ms"),
        ];
        for (us, run, exact) in table {
            assert_eq!(latency(Duration::from_micros(us)), run);
            assert_eq!(setting(Duration::from_micros(us)), exact);
        }
    }

    #[test]
    fn times_are_utc_with_a_date_from_yesterday_on() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_245_165);
        assert_eq!(time_of_day(UNIX_EPOCH), "00:00:00 UTC");
        assert_eq!(time_of_day(now), "07:12:45 UTC");
        let ago = |seconds| moment(Duration::from_secs(seconds), now);
        assert_eq!(ago(45), "07:12:00 UTC");
        assert_eq!(ago(86_399), "07:12:46 UTC");
        assert_eq!(ago(86_400), "2026-11-20 07:12 UTC");
        assert_eq!(ago(u64::MAX), "1970-01-01 00:00 UTC");
    }
}

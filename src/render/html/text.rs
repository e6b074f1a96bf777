//! Text of the page: escaped, and times in units that fit a reader.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    render::time::Iso8601,
    report::{Reason, Status, rounded_millis},
};

/// Escapes `text` for an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    // A browser drops or rewrites control characters, so the script could not compare names.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
        .replace(char::is_control, "\u{fffd}")
}

/// Returns a reason, its meaning and the operator's action.
pub(super) fn reason_note(reason: Reason) -> String {
    let text = meaning_and_action(reason);
    format!(r#"<p class="why"><code>{reason}</code>{text}</p>"#)
}

/// Returns the meaning and the operator's action, without the backquotes around settings.
pub(super) fn meaning_and_action(reason: Reason) -> String {
    let [meaning, action] =
        [reason.meaning(), reason.action()].map(|text| escape(&text.replace('`', "")));
    format!("<b>{meaning}</b> <span>{action}</span>")
}

/// Returns the status as a title.
pub(super) const fn title(status: Status) -> &'static str {
    match status {
        Status::Up => "Up",
        Status::Degraded => "Degraded",
        Status::Unknown => "Unknown",
        Status::Down => "Down",
    }
}

/// Returns a duration in its two largest units.
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

/// Returns a setting, exactly: in seconds, or with a fraction in milliseconds.
pub(super) fn setting(duration: Duration) -> String {
    if duration.subsec_millis() == 0 && duration.as_secs() > 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// Returns the duration of a run, to three digits.
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

/// Returns the time of day in UTC, as in logs.
pub(super) fn time_of_day(at: SystemTime) -> String {
    let text = Iso8601(at).to_string();
    format!("{} UTC", &text[11..19])
}

/// Returns the time `ago` before `now`, with the date if that is a day or more.
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

    use super::{Reason, escape, latency, meaning_and_action, moment, setting, span, time_of_day};

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
            assert_eq!(escape(text), expected);
        }
        let text = meaning_and_action(Reason::Slow);
        assert!(text.contains("than slow_after allows"), "{text}");
        assert!(text.contains("server&#39;s load"), "{text}");
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

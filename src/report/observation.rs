use std::borrow::Cow;

use serde::Serialize;

/// At most this many observations of one run are kept; more are dropped.
const MAX_OBSERVATIONS: usize = 16;
/// In bytes; longer text is cut at a character boundary.
const MAX_TEXT: usize = 256;

/// A value that a check measured. Only callers with details see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ObservedValue {
    /// True or false.
    Bool(bool),
    /// A count or a size.
    Integer(i64),
    /// A measurement. JSON has `null` instead of infinities and NaN.
    Float(f64),
    /// Text of at most 256 bytes, without credentials.
    Text(Cow<'static, str>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$from> for ObservedValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

value_from! {
    bool => Bool, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Float,
    &'static str => Text, String => Text,
}

impl From<u64> for ObservedValue {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for ObservedValue {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

/// Statistics of a connection pool at the end of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// The maximum number of connections.
    pub max: u32,
    /// Open connections.
    pub open: u32,
    /// Idle connections.
    pub idle: u32,
    /// Connections in use.
    pub in_use: u32,
}

impl PoolStats {
    /// Creates the statistics of a pool with `open` of at most `max` connections, `idle` of them unused.
    pub const fn new(max: u32, open: u32, idle: u32) -> Self {
        Self {
            max,
            open,
            idle,
            in_use: open.saturating_sub(idle),
        }
    }
}

/// What a run measured, whether it succeeded or failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observations {
    pub(crate) pool: Option<PoolStats>,
    pub(crate) values: Vec<(Cow<'static, str>, ObservedValue)>,
}

impl Observations {
    pub(crate) fn push(&mut self, name: Cow<'static, str>, value: ObservedValue) {
        if self.values.len() < MAX_OBSERVATIONS {
            let value = match value {
                ObservedValue::Text(text) => ObservedValue::Text(bounded(text)),
                value => value,
            };
            self.values.push((bounded(name), value));
        }
    }
}

/// Returns `text`, cut to [`MAX_TEXT`] bytes so that no check can inflate a response.
pub(crate) fn bounded(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let end = (0..=MAX_TEXT)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    Cow::Owned(text[..end].to_owned())
}

/// Returns `text` [bounded](bounded) and on one line: a control character becomes a space.
pub(crate) fn one_line(text: Cow<'static, str>) -> Cow<'static, str> {
    bounded(match text.contains(char::is_control) {
        true => text.replace(char::is_control, " ").into(),
        false => text,
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_OBSERVATIONS, MAX_TEXT, Observations, ObservedValue, bounded, one_line};

    #[test]
    fn text_is_cut_at_a_character_boundary() {
        let cut = bounded("é".repeat(MAX_TEXT).into());
        assert_eq!(cut, "é".repeat(MAX_TEXT / 2));
        let odd = bounded(format!("a{}", "é".repeat(MAX_TEXT)).into());
        assert_eq!(odd.len(), MAX_TEXT - 1);
    }

    #[test]
    fn a_line_has_no_control_characters() {
        assert_eq!(one_line("a\r\nb\u{1b}[31m\u{85}c".into()), "a  b [31m c");
        assert_eq!(one_line("plain".into()), "plain");
        assert_eq!(one_line("\n".repeat(1_000).into()).len(), MAX_TEXT);
    }

    #[test]
    fn observations_are_bounded_in_number() {
        let mut observations = Observations::default();
        for _ in 0..100 {
            observations.push("n".into(), ObservedValue::from(1_u64));
        }
        assert_eq!(observations.values.len(), MAX_OBSERVATIONS);
    }
}

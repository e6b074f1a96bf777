use std::fmt::{self, Write};

/// Text that stands in an element or in a quoted attribute, whatever it holds.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, f)
    }
}

/// One of our own sentences, whose backquotes mark names of settings.
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
            // A browser drops or rewrites these, and then the script would not know a name again.
            control if control.is_control() => f.write_char('\u{fffd}')?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Prose, Text};

    #[test]
    fn nothing_that_is_markup_stays_markup() {
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
    }

    #[test]
    fn prose_loses_its_backquotes() {
        assert_eq!(Prose("Look at `a<b`.").to_string(), "Look at a&lt;b.");
    }
}

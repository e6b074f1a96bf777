//! Plain text as of kube-apiserver, for people with `curl` and scripts with `grep`.
//!
//! 1. Without details it is `ok` or `readyz check failed`.
//! 2. A passing probe is `ok`; with `?verbose` it has a line for each dependency.
//! 3. A failing probe always has the lines.
//! 4. The answer for one dependency is `ok`, or `internal server error: ` and the reason.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::View;
use crate::report::{Excluded, ReportEntry, Status};

const OK: &[u8] = b"ok";

/// The text format.
pub(crate) fn text(view: &View<'_>) -> Bytes {
    let passes = view.status().is_serving();
    if let Some(entry) = view.single_entry() {
        return match passes {
            true => Bytes::from_static(OK),
            false => format!("internal server error: {}\n", Why(entry)).into(),
        };
    }
    match (view.full(), passes) {
        (None, false) => format!("{} check failed\n", view.name()).into(),
        (None, true) => Bytes::from_static(OK),
        (Some(_), true) if !view.is_verbose() => Bytes::from_static(OK),
        (Some(_), _) => List(view).to_string().into(),
    }
}

/// A line for each dependency and one for the probe.
struct List<'v, 'a>(&'v View<'a>);

impl fmt::Display for List<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        // As kube-apiserver does without any check.
        if view.entries().is_empty() {
            f.write_str("[+]ping ok\n")?;
        }
        for entry in view.entries() {
            line(f, entry)?;
        }
        if let Some(reason) = view.reason() {
            write!(f, "[-]lifecycle failed: {reason}")?;
            if let Some(message) = view.message() {
                write!(f, ": {}", OneLine(message))?;
            }
            f.write_char('\n')?;
        }
        if !view.unmatched().is_empty() {
            f.write_str("warn: some health checks cannot be excluded: no matches for ")?;
            for (number, name) in view.unmatched().iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                write!(f, "{comma}{name:?}")?;
            }
            f.write_char('\n')?;
        }
        let word = match view.status().is_serving() {
            true => "passed",
            false => "failed",
        };
        writeln!(f, "{} check {word}", view.name())
    }
}

fn line(f: &mut fmt::Formatter<'_>, entry: &ReportEntry) -> fmt::Result {
    let name = &entry.name;
    match (&entry.excluded, entry.status) {
        (Some(Excluded::ByName), _) => writeln!(f, "[+]{name} excluded: ok"),
        (Some(Excluded::WithGroup(group)), _) => {
            writeln!(f, "[+]{name} excluded with {}: ok", OneLine(group))
        }
        (None, Status::Up) => writeln!(f, "[+]{name} ok"),
        (None, Status::Degraded) => writeln!(f, "[+]{name} degraded: {}", Why(entry)),
        (None, _) if entry.required => writeln!(f, "[-]{name} failed: {}", Why(entry)),
        (None, _) => writeln!(f, "[-]{name} failed, optional: {}", Why(entry)),
    }
}

/// The reason why it is not up, and the message if there is one.
struct Why<'a>(&'a ReportEntry);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.reason {
            Some(reason) => write!(f, "{reason}")?,
            None => write!(f, "{}", self.0.status)?,
        }
        match &self.0.message {
            Some(message) => write!(f, ": {}", OneLine(message)),
            None => Ok(()),
        }
    }
}

/// Text that cannot end its line: a message must not forge the line of another check.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .try_for_each(|c| f.write_char(c))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            View,
            sample::{self, entry},
            view::Question,
        },
        text,
    };
    use crate::{
        access::Detail,
        report::{Excluded, Reason, Report, ReportEntry, Status},
    };

    fn bad() -> ReportEntry {
        ReportEntry {
            reason: Some(Reason::Failed),
            message: Some("this will fail".into()),
            ..entry("bad", Status::Down)
        }
    }

    fn excluded(by: Excluded) -> ReportEntry {
        ReportEntry {
            excluded: Some(by),
            ..bad()
        }
    }

    fn rendered(entries: Vec<ReportEntry>, verbose: bool, unmatched: &[&str]) -> String {
        let report = Report::new(entries, [].into());
        let unmatched: Vec<_> = unmatched.iter().map(|&name| name.to_owned()).collect();
        let question = Question {
            name: "readyz",
            verbose,
            unmatched: &unmatched,
            ..Question::default()
        };
        let view = View::new(&report, Detail::Full).of(question);
        String::from_utf8(text(&view).into()).expect("text")
    }

    /// The table of kube-apiserver's own tests, with our reason where it withholds its own.
    #[test]
    fn bodies_are_those_of_kube_apiserver() {
        let ping = || entry("ping", Status::Up);
        let table = [
            (vec![ping()], false, &[][..], "ok"),
            (vec![ping()], true, &[], "[+]ping ok\nreadyz check passed\n"),
            (vec![ping()], false, &["dontexist"], "ok"),
            (vec![ping(), excluded(Excluded::ByName)], false, &[], "ok"),
            (
                vec![ping(), excluded(Excluded::ByName)],
                true,
                &[],
                "[+]ping ok\n[+]bad excluded: ok\nreadyz check passed\n",
            ),
            (
                vec![ping(), excluded(Excluded::WithGroup("grp".into()))],
                true,
                &[],
                "[+]ping ok\n[+]bad excluded with grp: ok\nreadyz check passed\n",
            ),
            (
                vec![ping()],
                true,
                &["dontexist"],
                "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \
                 \"dontexist\"\nreadyz check passed\n",
            ),
            (
                vec![ping()],
                true,
                &["a", "b\"\n"],
                "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \
                 \"a\",\"b\\\"\\n\"\nreadyz check passed\n",
            ),
            (
                vec![ping(), bad()],
                true,
                &[],
                "[+]ping ok\n[-]bad failed: failed: this will fail\nreadyz check failed\n",
            ),
            (
                vec![ping(), bad()],
                false,
                &[],
                "[+]ping ok\n[-]bad failed: failed: this will fail\nreadyz check failed\n",
            ),
            (vec![], true, &[], "[+]ping ok\nreadyz check passed\n"),
        ];
        for (entries, verbose, unmatched, expected) in table {
            assert_eq!(rendered(entries, verbose, unmatched), expected);
        }
    }

    #[test]
    fn one_dependency_is_ok_or_says_why_not() {
        for (entry, expected) in [
            (entry("ping", Status::Up), "ok"),
            (entry("ping", Status::Degraded), "ok"),
            (bad(), "internal server error: failed: this will fail\n"),
            (
                entry("new", Status::Unknown),
                "internal server error: unknown\n",
            ),
        ] {
            let report = Report::new(vec![entry], [].into());
            assert_eq!(text(&View::single(&report, Detail::Full)), expected);
        }
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let forged = ReportEntry {
            message: Some("x\n[+]database ok\r\nreadyz check passed".into()),
            ..bad()
        };
        assert_eq!(
            rendered(vec![forged], false, &[]),
            "[-]bad failed: failed: x [+]database ok  readyz check passed\nreadyz check failed\n"
        );
    }

    #[test]
    fn what_serves_in_part_is_distinguished_from_what_fails() {
        let report = sample::report();
        let text = text(&View::new(&report, Detail::Full).of(Question {
            verbose: true,
            ..Question::default()
        }));
        assert_eq!(
            text,
            "[+]database ok\n[+]pool degraded: saturated\n\
             [-]cache failed, optional: timeout: no answer within 800 ms\nhealth check passed\n"
        );
        let draining = sample::report().with_lifecycle(Status::Down, Reason::Draining, None);
        let text = super::text(&View::new(&draining, Detail::Full));
        assert!(text.ends_with(b"[-]lifecycle failed: draining\nhealth check failed\n"));
        let message = Some("moving\nthe disk".into());
        let out = draining.with_lifecycle(Status::Down, Reason::Draining, message);
        let text = super::text(&View::new(&out, Detail::Full));
        assert!(
            text.ends_with(
                b"[-]lifecycle failed: draining: moving the disk\nhealth check failed\n"
            )
        );
    }

    #[test]
    fn without_details_it_is_one_line() {
        let mut report = sample::report();
        for (status, expected) in [
            (Status::Up, "ok"),
            (Status::Degraded, "ok"),
            (Status::Unknown, "readyz check failed\n"),
            (Status::Down, "readyz check failed\n"),
        ] {
            report.status = status;
            let question = Question {
                name: "readyz",
                verbose: true,
                unmatched: &["x".to_owned()],
                ..Question::default()
            };
            let view = View::new(&report, Detail::Status).of(question);
            assert_eq!(text(&view), expected);
        }
    }
}

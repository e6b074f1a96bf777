//! Plain text as of kube-apiserver, for operators with `curl` and scripts with `grep`.
//!
//! 1. Without details the body is `ok` or `readyz check failed`.
//! 2. A passing probe is `ok`; with `?verbose` it has a line for each dependency.
//! 3. A failing probe always has the lines.
//! 4. The response for one dependency is `ok`, or `internal server error: ` and the reason.

use std::fmt;

use bytes::Bytes;

use super::view::{View, explanation};
use crate::report::{Excluded, ReportEntry, Status};

pub(super) fn text(view: &View<'_>) -> Bytes {
    let passes = view.status().is_serving();
    match (view.report(), view.single_entry()) {
        (None, _) if !passes => format!("{} check failed\n", view.name()).into(),
        (_, Some(entry)) if !passes => {
            let cause = single_line(&explanation(entry));
            format!("internal server error: {cause}\n").into()
        }
        (Some(_), None) if !passes || view.is_verbose() => Lines(view).to_string().into(),
        _ => Bytes::from_static(b"ok"),
    }
}

/// A line for each dependency and one for the probe.
struct Lines<'v, 'a>(&'v View<'a>);

impl fmt::Display for Lines<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        // As kube-apiserver without any check.
        if view.entries().is_empty() {
            f.write_str("[+]ping ok\n")?;
        }
        for entry in view.entries() {
            line(f, entry)?;
        }
        if let Some(explanation) = view.explanation() {
            writeln!(f, "[-]lifecycle failed: {}", single_line(&explanation))?;
        }
        if !view.unmatched().is_empty() {
            let names: Vec<_> = view
                .unmatched()
                .iter()
                .map(|name| format!("{name:?}"))
                .collect();
            writeln!(
                f,
                "warn: some health checks cannot be excluded: no matches for {}",
                names.join(",")
            )?;
        }
        let result = match view.status().is_serving() {
            true => "passed",
            false => "failed",
        };
        writeln!(f, "{} check {result}", view.name())
    }
}

fn line(f: &mut fmt::Formatter<'_>, entry: &ReportEntry) -> fmt::Result {
    let name = &entry.name;
    let cause = single_line(&explanation(entry));
    match (&entry.excluded, entry.status) {
        (Some(Excluded::ByName), _) => writeln!(f, "[+]{name} excluded: ok"),
        (Some(Excluded::WithGroup(group)), _) => {
            writeln!(f, "[+]{name} excluded with {}: ok", single_line(group))
        }
        (None, Status::Up) => writeln!(f, "[+]{name} ok"),
        (None, Status::Degraded) => writeln!(f, "[+]{name} degraded: {cause}"),
        (None, _) if entry.required => writeln!(f, "[-]{name} failed: {cause}"),
        (None, _) => writeln!(f, "[-]{name} failed, optional: {cause}"),
    }
}

/// Replaces control characters, because a message must not forge the line of another check.
fn single_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::{View, text};
    use crate::{
        access::Detail,
        render::view::{
            RequestContext,
            sample::{self, entry},
        },
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
        let request = RequestContext {
            name: "readyz",
            verbose,
            unmatched: &unmatched,
            ..RequestContext::default()
        };
        let view = View::new(&report, Detail::Full).with_request(request);
        String::from_utf8(text(&view).into()).expect("text")
    }

    /// The table of kube-apiserver's tests, with the reason that kube-apiserver withholds.
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
    fn one_dependency_is_ok_or_has_its_reason() {
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
    fn lines_distinguish_degraded_optional_and_lifecycle() {
        let report = sample::report();
        let text = text(
            &View::new(&report, Detail::Full).with_request(RequestContext {
                verbose: true,
                ..RequestContext::default()
            }),
        );
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
    fn without_details_the_body_is_one_line() {
        let mut report = sample::report();
        for (status, expected) in [
            (Status::Up, "ok"),
            (Status::Degraded, "ok"),
            (Status::Unknown, "readyz check failed\n"),
            (Status::Down, "readyz check failed\n"),
        ] {
            report.status = status;
            let request = RequestContext {
                name: "readyz",
                verbose: true,
                unmatched: &["x".to_owned()],
                ..RequestContext::default()
            };
            let view = View::new(&report, Detail::Status).with_request(request);
            assert_eq!(text(&view), expected);
        }
    }
}

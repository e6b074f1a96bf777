//! OpenMetrics text, for a scraper of an app without a metrics recorder.
//!
//! The names are those of the `metrics` feature. Without details there is one gauge, the overall status.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::View;
use crate::report::{ReportEntry, Status};

/// The OpenMetrics format.
pub(crate) fn openmetrics(view: &View<'_>) -> Bytes {
    Page(view).to_string().into()
}

struct Page<'v, 'a>(&'v View<'a>);

impl fmt::Display for Page<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        if view.single_entry().is_none() {
            STATUS.head(f)?;
            writeln!(f, "{} {}", STATUS.name, number(view.status()))?;
        }
        CHECK_STATUS.write(f, view, |entry| {
            // As in the `metrics` feature: 0 would be an outage at each start.
            (entry.status != Status::Unknown).then(|| number(entry.status))
        })?;
        DURATION.write(f, view, |entry| Some(entry.duration?.as_secs_f64()))?;
        AGE.write(f, view, |entry| Some(entry.age?.as_secs_f64()))?;
        FAILING.write(f, view, |entry| Some(entry.failing_for?.as_secs_f64()))?;
        FAILURES.write(f, view, |entry| {
            entry.age?;
            Some(entry.consecutive_failures.into())
        })?;
        pools(f, view)?;
        f.write_str("# EOF\n")
    }
}

const fn number(status: Status) -> f64 {
    match status {
        Status::Up => 1.0,
        Status::Degraded => 0.5,
        Status::Unknown | Status::Down => 0.0,
    }
}

const STATUS: Family = Family {
    name: "health_status",
    unit: None,
    help: "What the probe answers: 1 up, 0.5 degraded, 0 down or unknown.",
};
const CHECK_STATUS: Family = Family {
    name: "health_check_status",
    unit: None,
    help: "The dependency: 1 up, 0.5 degraded, 0 down; none while unknown.",
};
const DURATION: Family = Family {
    name: "health_check_duration_seconds",
    unit: Some("seconds"),
    help: "How long the last completed run of the check took.",
};
const AGE: Family = Family {
    name: "health_check_age_seconds",
    unit: Some("seconds"),
    help: "How long ago the last completed run of the check started.",
};
const FAILING: Family = Family {
    name: "health_check_failing_seconds",
    unit: Some("seconds"),
    help: "How long runs of the check have been failing without a success between.",
};
const FAILURES: Family = Family {
    name: "health_check_consecutive_failures",
    unit: None,
    help: "Completed runs of the check that failed without a success between.",
};
const POOL: Family = Family {
    name: "health_pool_connections",
    unit: None,
    help: "Connections of the app's own pool at the end of the last run.",
};

/// A family of gauges.
struct Family {
    name: &'static str,
    /// The name must end with it.
    unit: Option<&'static str>,
    help: &'static str,
}

impl Family {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, help } = self;
        writeln!(f, "# TYPE {name} gauge")?;
        if let Some(unit) = unit {
            writeln!(f, "# UNIT {name} {unit}")?;
        }
        writeln!(f, "# HELP {name} {help}")
    }

    /// A sample for each entry that has a `value`; no head where none has.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        view: &View<'_>,
        value: impl Fn(&ReportEntry) -> Option<f64>,
    ) -> fmt::Result {
        let mut headed = false;
        for entry in counted(view) {
            let Some(value) = value(entry) else { continue };
            if !headed {
                self.head(f)?;
                headed = true;
            }
            writeln!(
                f,
                "{}{{check=\"{}\"}} {value}",
                self.name,
                Label(&entry.name)
            )?;
        }
        Ok(())
    }
}

fn pools(f: &mut fmt::Formatter<'_>, view: &View<'_>) -> fmt::Result {
    let mut pools = counted(view)
        .filter_map(|entry| Some((entry, entry.pool()?)))
        .peekable();
    if pools.peek().is_some() {
        POOL.head(f)?;
    }
    for (entry, pool) in pools {
        for (state, count) in [
            ("max", pool.max),
            ("open", pool.open),
            ("idle", pool.idle),
            ("in_use", pool.in_use),
        ] {
            let check = Label(&entry.name);
            writeln!(
                f,
                "{}{{check=\"{check}\",state=\"{state}\"}} {count}",
                POOL.name
            )?;
        }
    }
    Ok(())
}

fn counted<'a>(view: &View<'a>) -> impl Iterator<Item = &'a ReportEntry> {
    view.entries().iter().filter(|entry| !entry.is_excluded())
}

/// The value of a label, escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{View, sample},
        openmetrics,
    };
    use crate::{
        access::Detail,
        report::{Report, Status},
    };

    #[test]
    fn a_family_comes_once_with_a_sample_for_each_dependency() {
        let report = sample::report();
        let text = openmetrics(&sample::full(&report));
        let expected = "\
# TYPE health_status gauge
# HELP health_status What the probe answers: 1 up, 0.5 degraded, 0 down or unknown.
health_status 0.5
# TYPE health_check_status gauge
# HELP health_check_status The dependency: 1 up, 0.5 degraded, 0 down; none while unknown.
health_check_status{check=\"database\"} 1
health_check_status{check=\"pool\"} 0.5
health_check_status{check=\"cache\"} 0
# TYPE health_check_duration_seconds gauge
# UNIT health_check_duration_seconds seconds
# HELP health_check_duration_seconds How long the last completed run of the check took.
health_check_duration_seconds{check=\"database\"} 0.00031
health_check_duration_seconds{check=\"pool\"} 0.002
health_check_duration_seconds{check=\"cache\"} 0.8002
# TYPE health_check_age_seconds gauge
# UNIT health_check_age_seconds seconds
# HELP health_check_age_seconds How long ago the last completed run of the check started.
health_check_age_seconds{check=\"database\"} 0.42
health_check_age_seconds{check=\"pool\"} 0.01
health_check_age_seconds{check=\"cache\"} 0.31
# TYPE health_check_failing_seconds gauge
# UNIT health_check_failing_seconds seconds
# HELP health_check_failing_seconds How long runs of the check have been failing without a success between.
health_check_failing_seconds{check=\"cache\"} 12
# TYPE health_check_consecutive_failures gauge
# HELP health_check_consecutive_failures Completed runs of the check that failed without a success between.
health_check_consecutive_failures{check=\"database\"} 0
health_check_consecutive_failures{check=\"pool\"} 0
health_check_consecutive_failures{check=\"cache\"} 12
# TYPE health_pool_connections gauge
# HELP health_pool_connections Connections of the app's own pool at the end of the last run.
health_pool_connections{check=\"database\",state=\"max\"} 10
health_pool_connections{check=\"database\",state=\"open\"} 10
health_pool_connections{check=\"database\",state=\"idle\"} 8
health_pool_connections{check=\"database\",state=\"in_use\"} 2
# EOF
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_name_cannot_leave_its_label() {
        let hostile = sample::entry("a\"} 1\\", Status::Up);
        let report = Report::new(vec![hostile], [].into());
        let text = openmetrics(&View::single(&report, Detail::Full));
        let sample = br#"health_check_status{check="a\"} 1\\"} 1"#;
        assert!(text.windows(sample.len()).any(|part| part == sample));
    }

    #[test]
    fn what_nobody_knows_yet_has_no_status() {
        let unknown = sample::entry("database", Status::Unknown);
        let report = Report::new(vec![unknown], [].into());
        let text = openmetrics(&View::single(&report, Detail::Full));
        assert_eq!(text, "# EOF\n");
    }

    #[test]
    fn without_details_it_is_the_overall_status() {
        let report = sample::report();
        let text = openmetrics(&sample::without_details(&report));
        let lines: Vec<_> = text.split(|&byte| byte == b'\n').skip(2).collect();
        assert_eq!(lines, [&b"health_status 0.5"[..], b"# EOF", b""]);
    }
}

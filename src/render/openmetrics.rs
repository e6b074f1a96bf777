//! OpenMetrics text, for a scraper of an app without a metrics recorder.
//!
//! The names are those of the `metrics` feature. Without details there is one gauge, the overall status.

use std::fmt;

use bytes::Bytes;

use super::view::View;
use crate::report::ReportEntry;

pub(super) fn openmetrics(view: &View<'_>) -> Bytes {
    Exposition(view).to_string().into()
}

struct Exposition<'v, 'a>(&'v View<'a>);

impl fmt::Display for Exposition<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        if view.single_entry().is_none() {
            let help = "What the probe answers: 1 up, 0.5 degraded, 0 down or unknown.";
            write_head(f, "health_status", help)?;
            let number = view.status().number().unwrap_or_default();
            writeln!(f, "health_status {number}")?;
        }
        for family in &FAMILIES {
            family.write(f, view)?;
        }
        f.write_str("# EOF\n")
    }
}

/// A family of gauges, with one or several samples for each dependency.
struct Family {
    name: &'static str,
    help: &'static str,
    /// Further labels and the value of each sample.
    samples: fn(&ReportEntry) -> Vec<(&'static str, f64)>,
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "health_check_status",
        help: "The dependency: 1 up, 0.5 degraded, 0 down; none while unknown.",
        samples: |entry| single(entry.status.number()),
    },
    Family {
        name: "health_check_duration_seconds",
        help: "How long the last completed run of the check took.",
        samples: |entry| single(entry.duration.map(|time| time.as_secs_f64())),
    },
    Family {
        name: "health_check_age_seconds",
        help: "How long ago the last completed run of the check started.",
        samples: |entry| single(entry.age.map(|time| time.as_secs_f64())),
    },
    Family {
        name: "health_check_failing_seconds",
        help: "How long runs of the check have been failing without a success in between.",
        samples: |entry| single(entry.failing_for.map(|time| time.as_secs_f64())),
    },
    Family {
        name: "health_check_consecutive_failures",
        help: "Completed runs of the check that failed without a success in between.",
        samples: |entry| single(entry.age.map(|_| entry.consecutive_failures.into())),
    },
    Family {
        name: "health_pool_connections",
        help: "Connections of the app's pool at the end of the last run.",
        samples: |entry| {
            let pool = entry.pool().map(|pool| {
                [
                    (r#",state="max""#, pool.max.into()),
                    (r#",state="open""#, pool.open.into()),
                    (r#",state="idle""#, pool.idle.into()),
                    (r#",state="in_use""#, pool.in_use.into()),
                ]
            });
            pool.into_iter().flatten().collect()
        },
    },
];

fn single(value: Option<f64>) -> Vec<(&'static str, f64)> {
    value.map(|value| ("", value)).into_iter().collect()
}

impl Family {
    /// Writes all samples; without samples not even the head.
    fn write(&self, f: &mut fmt::Formatter<'_>, view: &View<'_>) -> fmt::Result {
        let mut has_head = false;
        for entry in view.entries().iter().filter(|entry| !entry.is_excluded()) {
            for (labels, value) in (self.samples)(entry) {
                if !has_head {
                    write_head(f, self.name, self.help)?;
                    has_head = true;
                }
                let (name, check) = (self.name, escape(&entry.name));
                writeln!(f, "{name}{{check=\"{check}\"{labels}}} {value}")?;
            }
        }
        Ok(())
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, name: &str, help: &str) -> fmt::Result {
    writeln!(f, "# TYPE {name} gauge")?;
    // A unit must be the end of the name.
    if name.ends_with("_seconds") {
        writeln!(f, "# UNIT {name} seconds")?;
    }
    writeln!(f, "# HELP {name} {help}")
}

/// Escapes the value of a label.
fn escape(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{View, openmetrics};
    use crate::{
        access::Detail,
        render::view::sample,
        report::{Report, Status},
    };

    #[test]
    fn each_family_has_one_head_and_all_samples() {
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
# HELP health_check_failing_seconds How long runs of the check have been failing without a success in between.
health_check_failing_seconds{check=\"cache\"} 12
# TYPE health_check_consecutive_failures gauge
# HELP health_check_consecutive_failures Completed runs of the check that failed without a success in between.
health_check_consecutive_failures{check=\"database\"} 0
health_check_consecutive_failures{check=\"pool\"} 0
health_check_consecutive_failures{check=\"cache\"} 12
# TYPE health_pool_connections gauge
# HELP health_pool_connections Connections of the app's pool at the end of the last run.
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
    fn an_unknown_dependency_has_no_sample() {
        let unknown = sample::entry("database", Status::Unknown);
        let report = Report::new(vec![unknown], [].into());
        let text = openmetrics(&View::single(&report, Detail::Full));
        assert_eq!(text, "# EOF\n");
    }

    #[test]
    fn without_details_the_only_gauge_is_the_overall_status() {
        let report = sample::report();
        let text = openmetrics(&sample::without_details(&report));
        let lines: Vec<_> = text.split(|&byte| byte == b'\n').skip(2).collect();
        assert_eq!(lines, [&b"health_status 0.5"[..], b"# EOF", b""]);
    }
}

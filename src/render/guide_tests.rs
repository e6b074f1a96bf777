//! The guide's samples are what the renderers make.

use super::{Format, View, sample, view::Question};
use crate::{access::Detail, report::Report};

const GUIDE: &str = include_str!("../guide/formats.md");

/// The sample without its saturated pool: an app whose database is up and whose cache is down.
fn report() -> Report {
    let sample = sample::report();
    let mut entries = sample.entries;
    entries.retain(|entry| &*entry.name != "pool");
    for entry in &mut entries {
        entry.observations.values.clear();
    }
    Report::new(entries, sample.info)
}

fn rendered(format: &Format, view: View<'_>) -> String {
    let body = format.render(&view).body;
    String::from_utf8(body.into()).expect("text")
}

/// The first block below `heading`, without the line breaks that are for the reader.
fn block(heading: &str) -> String {
    let below = GUIDE.split_once(heading).expect("a heading").1;
    let inside = below.split("```").nth(1).expect("a block");
    let lines = inside.lines().skip(1).map(str::trim_start);
    if heading == "## Text\n" {
        return lines.map(|line| line.to_owned() + "\n").collect();
    }
    lines.collect()
}

#[test]
fn the_samples_are_what_is_rendered() {
    let report = report();
    for (heading, format) in [
        ("## Native JSON\n", Format::json()),
        ("## health+json\n", Format::health_json()),
        ("## Spring Boot Actuator v3\n", Format::spring()),
        ("## Text\n", Format::text()),
    ] {
        let view = sample::full(&report).of(Question {
            verbose: true,
            ..Question::default()
        });
        assert_eq!(block(heading), rendered(&format, view), "{heading}");
    }
    let text = rendered(&Format::openmetrics(), sample::full(&report));
    assert!(text.contains("\nhealth_check_status{check=\"cache\"} 0\n"));
}

#[test]
fn bodies_without_details_are_those_of_the_table() {
    let report = report();
    for format in Format::NEGOTIABLE {
        let row = GUIDE.lines().find(|line| {
            let media_type = format!("| `{}` |", format.media_type());
            line.contains(&media_type)
        });
        let body = rendered(format, View::new(&report, Detail::Status));
        if let Some(row) = row.filter(|row| !row.contains("html")) {
            let said = row.split('`').nth(5).expect("three pieces of code");
            assert!(body.contains(said), "{row}: {body}");
        }
    }
}

use serde_json::{Value, json};

use super::{View, health_json, without_colon};
use crate::{
    access::Detail,
    render::view::sample,
    report::{Observations, Reason, Report, ReportEntry, Status},
};

fn rendered(view: &View<'_>) -> Value {
    serde_json::from_slice(&health_json(view)).expect("JSON")
}

#[test]
fn with_details_the_body_has_the_fields_of_the_draft() {
    let report = sample::report();
    let expected = json!({
        "status": "warn",
        "version": "2.0.0",
        "checks": {
            "database:responseTime": [{
                "componentId": "database", "componentType": "datastore",
                "observedValue": 0.31, "observedUnit": "ms",
                "status": "pass", "time": "2018-01-17T03:36:47.580Z",
            }],
            "database:connections": [{
                "componentId": "database", "componentType": "datastore",
                "observedValue": 2, "observedUnit": "connections",
                "max": 10, "open": 10, "idle": 8,
                "status": "pass", "time": "2018-01-17T03:36:47.580Z",
            }],
            "database:lag_ms": [{
                "componentId": "database", "componentType": "datastore",
                "observedValue": 3,
                "status": "pass", "time": "2018-01-17T03:36:47.580Z",
            }],
            "pool:responseTime": [{
                "componentId": "pool", "componentType": "datastore",
                "observedValue": 2.0, "observedUnit": "ms",
                "status": "warn", "time": "2018-01-17T03:36:47.990Z",
                "output": "saturated",
            }],
            "cache:responseTime": [{
                "componentId": "cache", "componentType": "datastore",
                "observedValue": 800.2, "observedUnit": "ms",
                "status": "fail", "time": "2018-01-17T03:36:47.690Z",
                "output": "timeout: no answer within 800 ms",
            }],
        },
    });
    assert_eq!(rendered(&sample::full(&report)), expected);
}

#[test]
fn keys_are_distinct_and_have_one_colon() {
    let names = ["a:b", "a%3Ab", "a%253Ab", "::", "%", "a"];
    let entries = names.map(|name| ReportEntry {
        observations: Observations {
            values: ["responseTime", "x:y", "x:y"]
                .map(|name| (name.into(), 1_u64.into()))
                .to_vec(),
            ..Observations::default()
        },
        ..sample::entry(name, Status::Up)
    });
    let report = Report::new(entries.to_vec(), [].into());
    let text = String::from_utf8(health_json(&sample::full(&report)).into()).expect("text");
    for name in names {
        for (measurement, count) in [("responseTime", 2), ("x%3Ay", 2)] {
            let key = format!("{}:{measurement}", without_colon(name));
            assert_eq!(key.matches(':').count(), 1, "{key}");
            // Searched in the text, because a parser would accept a duplicate key.
            assert_eq!(
                text.matches(&format!("{key:?}:")).count(),
                1,
                "{key} {text}"
            );
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let measures = value["checks"][&key].as_array().expect("an array");
            assert_eq!(measures.len(), count, "{key}");
            assert_eq!(measures[0]["componentId"], name);
        }
    }
}

#[test]
fn info_fields_are_fields_of_the_draft_or_notes() {
    let info = [
        ("region", "north"),
        ("version", "2"),
        ("releaseId", "2.0.1"),
        ("serviceId", "s"),
        ("description", "d"),
        ("commit", "abc"),
    ];
    let info = info.map(|(name, value)| (name.into(), value.into()));
    let mut report = Report::new(Vec::new(), info.into());
    assert_eq!(rendered(&sample::full(&report)).get("output"), None);
    report = report.with_lifecycle(Status::Down, Reason::Draining, Some("moving".into()));
    assert_eq!(
        rendered(&sample::full(&report)),
        json!({
            "status": "fail", "version": "2", "releaseId": "2.0.1", "serviceId": "s",
            "description": "d", "notes": ["region: north", "commit: abc"],
            "output": "draining: moving",
        })
    );
}

#[test]
fn output_is_absent_only_if_the_status_is_pass() {
    for (status, output) in [
        (Status::Up, None),
        (Status::Degraded, Some("refused")),
        (Status::Unknown, Some("refused")),
        (Status::Down, Some("refused")),
    ] {
        let entry = ReportEntry {
            reason: output.map(|_| Reason::Refused),
            ..sample::entry("x", status)
        };
        let report = Report::new(vec![entry], [("version".into(), "1".into())].into());
        let single = rendered(&View::single(&report, Detail::Full));
        let check = &single["checks"]["x:responseTime"][0];
        assert_eq!(check["output"].as_str(), output, "{status}");
        assert_eq!(check["componentType"], "component");
        assert_eq!(single["status"], check["status"]);
        assert_eq!(single.get("version"), None);
    }
}

#[test]
fn without_details_the_body_is_the_status() {
    let mut report = sample::report();
    for (status, expected) in [
        (Status::Up, "pass"),
        (Status::Degraded, "warn"),
        (Status::Unknown, "fail"),
        (Status::Down, "fail"),
    ] {
        report.status = status;
        assert_eq!(
            rendered(&sample::without_details(&report)),
            json!({ "status": expected })
        );
    }
}

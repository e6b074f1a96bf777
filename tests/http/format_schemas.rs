//! Native JSON in every state, by its published schema.

use std::{collections::BTreeSet, future::pending, time::Duration};

use jsonschema::Validator;
use serde_json::{Value, json};
use tower_health::{
    Dependency, Failure, Format, Health, HealthLayer, Outcome, Reason, report::PoolStats,
};

use crate::helpers::{
    layer_client::LayerClient,
    server::{degraded, down, up},
};

/// Indices of the alternatives in the schema.
const STATUS_ONLY: usize = 0;
const REPORT: usize = 1;
const ENTRY: usize = 2;

fn schema() -> Value {
    serde_json::from_str(Format::JSON_SCHEMA).expect("JSON")
}

/// One alternative: all of them together let a wrong answer pass as another one.
fn validator(alternative: usize) -> Validator {
    let mut schema = schema();
    let one = schema["anyOf"][alternative].take();
    schema["anyOf"] = json!([one]);
    jsonschema::validator_for(&schema).expect("a schema")
}

/// An entry with every field that a run can set, one that has no result yet, and two info fields.
fn everything() -> Health {
    let observing = async || {
        let outcome = Outcome::up().pool(PoolStats::new(9, 8, 7)).message("slow");
        let outcome = outcome.observe("float", f64::NAN).observe("depth", 3_u32);
        Ok(outcome.observe("text", "a\nb").observe("flag", true))
    };
    let failing = async || Err(Failure::new(Reason::Timeout).message("no answer"));
    let observing = Dependency::new("a:b", observing).kind("postgres");
    let hangs = Dependency::new("ratio \"%\"", async || pending().await);
    Health::builder()
        .add(observing.target("db:5432").group("storage"))
        .add(Dependency::new("cache", failing).optional())
        .add(hangs.timeout(Duration::from_secs(60)))
        .info("version", "1.2.3")
        .info("region", "north")
        .answer_within(Duration::from_millis(1))
        .build()
}

/// The body at `path`, which fits `alternative` and no other one, and whose code is that of its status.
async fn fits(client: &LayerClient, path: &str, alternative: usize) -> Value {
    let (code, body) = client.json(path).await;
    for other in [STATUS_ONLY, REPORT, ENTRY] {
        let is_valid = validator(other).is_valid(&body);
        assert_eq!(is_valid, other == alternative, "{path} {other} {body}");
    }
    let serves = body["status"] == "up" || body["status"] == "degraded";
    assert_eq!(code, if serves { 200 } else { 503 }, "{path} {body}");
    body
}

#[tokio::test]
async fn every_answer_fits_one_alternative_of_the_schema() {
    let (out, draining) = (up(), up());
    out.enter_maintenance("moving the disk");
    draining.set_draining(true);
    for health in [everything(), up(), degraded(), down(), out, draining] {
        let client = LayerClient::new(&health);
        for path in [
            "/livez",
            "/startupz",
            "/readyz",
            "/health",
            "/readyz?exclude=cache",
        ] {
            fits(&client, path, REPORT).await;
        }
        let closed = LayerClient(HealthLayer::new(health));
        fits(&closed, "/readyz", STATUS_ONLY).await;
    }
    let client = LayerClient::new(&everything());
    let pending = fits(&client, "/health/ratio%20%22%25%22", ENTRY).await;
    assert!(pending["pending_for_ms"].is_u64(), "{pending}");
    assert_eq!(pending["timeout_ms"], 60_000);
    let down = fits(&client, "/health/cache", ENTRY).await;
    assert_eq!(
        (&down["reason"], &down["never_up"]),
        (&json!("timeout"), &json!(true))
    );
    let up = fits(&client, "/health/a%3Ab", ENTRY).await;
    let pool = json!({"max": 9, "open": 8, "idle": 7, "in_use": 1});
    let observations = json!({"float": null, "depth": 3, "text": "a\nb", "flag": true});
    assert_eq!((&up["pool"], &up["observations"]), (&pool, &observations));
    assert_eq!(up["target"], "db:5432");
}

#[tokio::test]
async fn the_schema_has_every_reason_and_rejects_the_rest() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let reasons = schema()["$defs"]["reason"]["enum"].take();
    let known: BTreeSet<String> = serde_json::from_value(reasons).expect("texts");
    let all = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    assert_eq!(known, all.collect());

    let good = serde_json::to_value(down().report().await).expect("JSON");
    let report = validator(REPORT);
    assert!(report.is_valid(&good));
    for (pointer, wrong) in [
        ("/status", json!("UP")),
        ("/checks", json!([])),
        ("/checks/database/required", json!("yes")),
        ("/checks/database/reason", json!("because")),
        ("/checks/database/duration_ms", json!(-1)),
        // A field that is not in the schema.
        (
            "/checks/database",
            json!({"status": "up", "required": true, "error": "raw text"}),
        ),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("is there") = wrong;
        assert!(!report.is_valid(&bad), "{bad}");
    }
}

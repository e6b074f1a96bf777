//! Answers of real servers, through every fault, by the schema of each JSON format: the native one as it is
//! published, the others written after their documents.

use std::{collections::BTreeSet, future::pending, time::Duration};

use jsonschema::Validator;
use serde_json::{Value, json};
use tower_health::{
    Access, Dependency, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

use crate::helpers::{layer_client::LayerClient, server::down};
use crate::support::{MAXIMUM_WAIT, Postgres, Redis, wait_until};

fn native_schema() -> Value {
    serde_json::from_str(Format::JSON_SCHEMA).expect("JSON")
}

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).expect("a schema")
}

/// Indices of the alternatives in the native schema.
const STATUS_ONLY: usize = 0;
const REPORT: usize = 1;
const ENTRY: usize = 2;

/// One alternative of the native schema: all of them together let a wrong answer pass as another one.
fn native(alternative: usize) -> Validator {
    let mut schema = native_schema();
    let one = schema["anyOf"][alternative].take();
    schema["anyOf"] = json!([one]);
    validator(&schema)
}

/// An object with these properties and no others.
fn object(properties: Value) -> Value {
    json!({
        "type": "object",
        "required": ["status"],
        "minProperties": 1,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// draft-inadarei-api-health-check-06, sections 3 and 4, with what it says SHOULD be.
fn draft() -> Validator {
    let text = json!({"type": "string", "minLength": 1});
    let status = json!({"enum": ["pass", "warn", "fail"]});
    let time = "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$";
    let no_output_on_pass = json!({
        "if": {"properties": {"status": {"const": "pass"}}},
        "then": {"not": {"required": ["output"]}},
    });
    let component = json!({
        "type": "object",
        "required": ["status", "componentType"],
        "properties": {
            "componentId": text,
            "componentType": {"enum": ["component", "datastore", "system"]},
            "observedUnit": text,
            "status": status,
            "time": {"type": "string", "pattern": time},
            "output": text,
        },
        "dependentRequired": {"observedUnit": ["observedValue"]},
        "allOf": [no_output_on_pass],
    });
    let mut schema = object(json!({
        "status": status,
        "version": text,
        "releaseId": text,
        "notes": {"type": "array", "items": text},
        "output": text,
        "checks": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[^:]+:[^:]+$"},
            "additionalProperties": {"type": "array", "minItems": 1, "items": component},
        },
    }));
    schema["allOf"] = json!([no_output_on_pass]);
    validator(&schema)
}

/// What Spring's dashboards and Spring Boot Admin read.
fn spring() -> Validator {
    let text = json!({"type": "string", "minLength": 1});
    let status = json!({"enum": ["UP", "DOWN", "OUT_OF_SERVICE", "UNKNOWN"]});
    let details = json!({"type": "object", "minProperties": 1, "properties": {"error": text}});
    let component = object(json!({"status": status, "description": text, "details": details}));
    let whole = object(json!({
        "status": status,
        "description": text,
        "components": {"type": "object", "minProperties": 1, "additionalProperties": component},
        "groups": {"type": "array", "minItems": 1, "items": text},
    }));
    validator(&json!({"anyOf": [component, whole]}))
}

fn client(health: &Health, details: Access) -> LayerClient {
    let layer = HealthLayer::new(health.clone())
        .path_with_format("/draft", Probe::Readiness, Format::health_json())
        .path_with_format("/spring", Probe::Readiness, Format::spring());
    LayerClient(layer.details(details))
}

/// The body at `path`, after it was compared with `schema`, and the code with its status.
async fn fits(schema: &Validator, client: &LayerClient, path: &str) -> Value {
    let (code, body) = client.json(path).await;
    let errors = schema.iter_errors(&body).map(|error| error.to_string());
    assert_eq!(errors.collect::<Vec<_>>(), [""; 0], "{path} {body}");
    let status = body["status"].as_str().expect("text");
    let serves = ["up", "degraded", "pass", "warn", "UP"].contains(&status);
    assert_eq!(code, if serves { 200 } else { 503 }, "{path} {body}");
    body
}

#[track_caller]
fn has(body: &Value, pointer: &str, value: impl Into<Value>) {
    let found = body.pointer(pointer);
    assert_eq!(found, Some(&value.into()), "{pointer} in {body}");
}

#[tokio::test]
async fn answers_fit_their_schemas_through_every_fault() {
    let mut postgres = Postgres::start().await;
    let redis = Redis::start().await;
    let (pg, cache) = (postgres.pool(1), redis.pool(3));
    let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
    let database = Dependency::new("db:main", checks::postgres(pg.clone())).group("storage");
    let cache = Dependency::new("cache", checks::redis(cache)).optional();
    let observing = async || {
        let outcome = Outcome::up().observe("float", f64::NAN);
        Ok(outcome.observe("depth", 3_u32).observe("text", "a\nb"))
    };
    let health = Health::builder()
        .add(database.cache_for(ms(10)).timeout(second))
        .add(cache.cache_for(ms(500)).timeout(ms(300)))
        .check("ratio \"%\"", observing)
        .info("version", "1.2.3")
        .info("region", "north")
        .answer_within(5 * second)
        .build();
    let client = client(&health, Access::everybody());
    let schemas = [native(REPORT), native(ENTRY), draft(), spring()];
    let [report, entry, draft, spring] = &schemas;
    // The three bodies in one state.
    let until = async |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        let mut bodies = [Value::Null, Value::Null, Value::Null];
        wait_until(what, MAXIMUM_WAIT, async || {
            bodies = [
                fits(report, &client, "/readyz").await,
                fits(draft, &client, "/draft").await,
                fits(spring, &client, "/spring").await,
            ];
            is_so(&bodies[0]) && is_so(&fits(report, &client, "/readyz").await)
        })
        .await;
        for path in ["/livez", "/startupz", "/health", "/readyz?exclude=cache"] {
            fits(report, &client, path).await;
        }
        for name in ["db%3Amain", "cache", "ratio%20%22%25%22"] {
            fits(entry, &client, &format!("/health/{name}")).await;
            fits(spring, &client, &format!("/spring/{name}")).await;
            fits(draft, &client, &format!("/draft/{name}")).await;
        }
        bodies
    };
    let is = |status: &'static str| move |body: &Value| body["status"] == status;

    let [native, draft, spring] = until("up", &is("up")).await;
    assert_eq!(native["checks"].as_object().expect("checks").len(), 3);
    has(&native, "/version", "1.2.3");
    let pool = json!({"max": 1, "open": 1, "idle": 1, "in_use": 0});
    has(&native, "/checks/db:main/pool", pool);
    has(&draft, "/version", "1.2.3");
    has(&draft, "/notes/0", "region: north");
    let time = "/checks/db%3Amain:responseTime/0";
    has(&draft, &format!("{time}/componentType"), "datastore");
    has(&draft, &format!("{time}/observedUnit"), "ms");
    has(&draft, "/checks/ratio \"%25\":depth/0/observedValue", 3);
    has(&spring, "/groups/0", "storage");

    redis.freeze();
    let [native, ..] = until("degraded", &is("degraded")).await;
    has(&native, "/checks/cache/reason", "timeout");
    redis.thaw();
    until("up again", &is("up")).await;

    // The app holds the only connection: the pool is saturated, and the server is up.
    let held = pg.get().await.expect("a connection");
    let is_saturated = |body: &Value| body["checks"]["db:main"]["reason"] == "saturated";
    let [_, draft, spring] = until("saturated", &is_saturated).await;
    has(&draft, "/checks/db%3Amain:connections/0/observedValue", 1);
    has(&draft, "/checks/db%3Amain:connections/0/status", "warn");
    has(&spring, "/components/db:main/status", "UP");
    has(&spring, "/components/db:main/description", "degraded");
    drop(held);
    until("not saturated", &is("up")).await;

    postgres.kill();
    let [native, draft, spring] = until("down", &is("down")).await;
    assert!(
        native["checks"]["db:main"]["failing_for_ms"].is_u64(),
        "{native}"
    );
    has(&draft, "/status", "fail");
    let details = &spring["components"]["db:main"]["details"];
    assert!(details["error"].is_string(), "{spring}");
    postgres.restart().await;
    until("up after a restart", &is("up")).await;

    health.enter_maintenance("moving the disk");
    let [native, draft, spring] = until("in maintenance", &is("down")).await;
    has(&native, "/reason", "maintenance");
    has(&native, "/message", "moving the disk");
    has(&draft, "/output", "maintenance: moving the disk");
    has(&spring, "/status", "DOWN");
    health.set_draining(true);
    let [native, draft, spring] = until("draining", &is("down")).await;
    has(&native, "/reason", "draining");
    has(&draft, "/output", "draining");
    has(&spring, "/status", "OUT_OF_SERVICE");
}

#[tokio::test]
async fn a_pending_first_run_fits_the_schemas() {
    let hangs = Dependency::new("slow", async || pending().await);
    let health = Health::builder()
        .add(hangs.timeout(Duration::from_secs(60)))
        .answer_within(Duration::from_millis(1))
        .build();
    let client = client(&health, Access::everybody());
    let body = fits(&native(REPORT), &client, "/readyz").await;
    has(&body, "/reason", "starting");
    assert!(body["checks"]["slow"]["pending_for_ms"].is_u64(), "{body}");
    fits(&draft(), &client, "/draft").await;
    fits(&spring(), &client, "/spring").await;
}

#[tokio::test]
async fn an_unauthorized_callers_answer_fits_its_own_definition() {
    let client = client(&down(), Access::nobody());
    let body = fits(&native(STATUS_ONLY), &client, "/readyz").await;
    assert!(!native(REPORT).is_valid(&body) && !native(ENTRY).is_valid(&body));
    let body = fits(&draft(), &client, "/draft").await;
    assert_eq!(body, json!({"status": "fail"}));
    let body = fits(&spring(), &client, "/spring").await;
    assert_eq!(body, json!({"status": "DOWN"}));
}

#[tokio::test]
async fn the_native_schema_has_every_reason_and_rejects_the_rest() {
    assert!(jsonschema::meta::is_valid(&native_schema()));
    let reasons = native_schema()["$defs"]["reason"]["enum"].take();
    let known: BTreeSet<String> = serde_json::from_value(reasons).expect("texts");
    let all = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    assert_eq!(known, all.collect());

    let good = serde_json::to_value(down().report().await).expect("JSON");
    let report = native(REPORT);
    assert!(report.is_valid(&good));
    for (pointer, wrong) in [
        ("/status", json!("UP")),
        ("/checks", json!([])),
        ("/checks/database/required", json!("yes")),
        ("/checks/database/reason", json!("because")),
        ("/checks/database/duration_ms", json!(-1)),
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

//! Real answers in native JSON against the schema that the docs show.

use crate::helpers::wire;
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use crate::support::{Postgres, Redis, wait_until};
use axum::Router;
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

const MAXIMUM_WAIT: Duration = Duration::from_secs(20);

fn schema() -> Value {
    serde_json::from_str(Format::JSON_SCHEMA).expect("JSON")
}

/// The schema of one of its definitions alone: all three together let a wrong one pass as another.
fn validator(definition: &str) -> Validator {
    let mut schema = schema();
    let object = schema.as_object_mut().expect("an object");
    object.remove("anyOf");
    object.insert("$ref".into(), format!("#/$defs/{definition}").into());
    jsonschema::validator_for(&schema).expect("a schema")
}

#[track_caller]
fn fits(validator: &Validator, body: &str) -> Value {
    let value = serde_json::from_str(body).expect("JSON");
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {body}");
    value
}

async fn serve(health: Health, details: Access) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = Router::new().layer(HealthLayer::new(health).details(details));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[test]
fn the_schema_is_one_and_knows_every_reason() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let known: BTreeSet<_> = schema()["$defs"]["reason"]["enum"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect();
    let all = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    assert_eq!(known, all.collect());
}

#[tokio::test]
async fn answers_of_real_servers_fit_through_every_fault() {
    let mut postgres = Postgres::start().await;
    let redis = Redis::start().await;
    let (pg, cache) = (postgres.pool(3), redis.pool(3));
    let hasty = |dependency: Dependency| {
        dependency
            .cache_for(Duration::from_millis(10))
            .timeout(Duration::from_millis(300))
    };
    let health = Health::builder()
        .add(hasty(Dependency::new(
            "database",
            checks::postgres(pg.clone()),
        )))
        .add(hasty(
            Dependency::new("cache", checks::redis(cache)).optional(),
        ))
        .add(Dependency::new("ratio \"%\"", async || {
            let outcome = Outcome::up().observe("text", "a\nb");
            Ok(outcome
                .observe("float", f64::NAN)
                .observe("fraction", 0.5)
                .observe("ok", true))
        }))
        .info("version", "1.2.3")
        .build();
    let address = serve(health.clone(), Access::everybody()).await;
    let (report, entry) = (validator("report"), validator("entry"));
    let ask = async |expected: &str| {
        let mut seen = Value::Null;
        wait_until(expected, MAXIMUM_WAIT, async || {
            for path in [
                "/livez",
                "/readyz",
                "/startupz",
                "/health",
                "/readyz?exclude=cache",
            ] {
                seen = fits(&report, &wire::get(address, path).await.body);
            }
            for name in ["database", "cache", "ratio%20%22%25%22"] {
                fits(
                    &entry,
                    &wire::get(address, &format!("/health/{name}")).await.body,
                );
            }
            seen = fits(&report, &wire::get(address, "/health").await.body);
            seen["status"] == expected
        })
        .await;
        seen
    };
    let up = ask("up").await;
    assert_eq!(up["checks"].as_object().map(|checks| checks.len()), Some(3));
    assert_eq!(up["version"], "1.2.3");
    for number in ["max", "open", "idle", "in_use"] {
        assert!(up["checks"]["database"]["pool"][number].is_u64(), "{up}");
    }
    redis.freeze();
    let degraded = ask("degraded").await;
    assert_eq!(degraded["checks"]["cache"]["reason"], "timeout");
    redis.thaw();
    postgres.kill();
    let down = ask("down").await;
    assert!(
        down["checks"]["database"]["failing_for_ms"].is_u64(),
        "{down}"
    );
    postgres.restart().await;
    ask("up").await;
    health.enter_maintenance("moving the disk");
    let out = fits(&report, &wire::get(address, "/readyz").await.body);
    assert_eq!(
        (&out["reason"], &out["message"]),
        (&json!("maintenance"), &json!("moving the disk"))
    );
}

#[tokio::test]
async fn what_is_pending_and_what_is_new_fits() {
    let health = Health::builder()
        .add(
            Dependency::new("slow", async || {
                std::future::pending::<()>().await;
                Ok(Outcome::up())
            })
            .timeout(Duration::from_secs(60)),
        )
        .answer_within(Duration::from_millis(1))
        .build();
    let address = serve(health, Access::everybody()).await;
    let answer = fits(
        &validator("report"),
        &wire::get(address, "/readyz").await.body,
    );
    assert_eq!(answer["reason"], "starting");
    assert!(
        answer["checks"]["slow"]["pending_for_ms"].is_u64(),
        "{answer}"
    );
}

#[tokio::test]
async fn an_unauthorized_callers_answer_fits_its_own_part_alone() {
    let health = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build();
    let address = serve(health, Access::nobody()).await;
    for path in ["/livez", "/readyz", "/startupz", "/health"] {
        let body = wire::get(address, path).await.body;
        let value = fits(&validator("unauthorized"), &body);
        assert!(!validator("report").is_valid(&value));
        assert!(!validator("entry").is_valid(&value));
    }
}

#[tokio::test]
async fn what_is_no_answer_of_ours_does_not_fit() {
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let report = health.report_for(&Probe::Full).await;
    let good = serde_json::to_value(&report).expect("JSON");
    let report = validator("report");
    assert!(report.is_valid(&good));
    for (pointer, wrong) in [
        ("/status", json!("UP")),
        ("/checks", json!([])),
        ("/checks/database/status", Value::Null),
        ("/checks/database/required", json!("yes")),
        ("/checks/database/duration_ms", json!(-1)),
        ("/checks/database/age_ms", json!(0.5)),
        (
            "/checks/database",
            json!({"status": "up", "required": true, "error": "raw text"}),
        ),
        (
            "/checks/database",
            json!({"status": "down", "required": true, "reason": "because"}),
        ),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("is there") = wrong;
        assert!(!report.is_valid(&bad), "{bad}");
    }
}

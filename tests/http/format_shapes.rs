//! health+json and Spring's shape by schemas written after their documents, on a real Postgres that
//! is up, saturated and gone.

use std::{net::SocketAddr, time::Duration};

use crate::support::{Postgres, get, wait_until};
use axum::Router;
use jsonschema::Validator;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe, Reason, checks,
};

const MAXIMUM_WAIT: Duration = Duration::from_secs(20);

/// draft-inadarei-api-health-check-06, section 3 and 4, with what it says SHOULD be.
fn draft() -> Validator {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let links =
        json!({"type": "object", "additionalProperties": {"type": "string", "format": "uri"}});
    let not_on_pass = |fields: &[&str]| {
        let none: Vec<_> = fields
            .iter()
            .map(|field| json!({"required": [field]}))
            .collect();
        json!({
            "if": {"properties": {"status": {"const": "pass"}}},
            "then": {"not": {"anyOf": none}},
        })
    };
    let schema = json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["pass", "warn", "fail"]},
            "version": {"type": "string"},
            "releaseId": {"type": "string"},
            "notes": texts,
            "output": {"type": "string"},
            "checks": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": "^[^:]+:[^:]+$"},
                "additionalProperties": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"allOf": [{
                        "type": "object",
                        "required": ["status", "componentType"],
                        "properties": {
                            "componentId": {"type": "string"},
                            "componentType": {"enum": ["component", "datastore", "system"]},
                            "observedUnit": {"type": "string", "minLength": 1},
                            "status": {"enum": ["pass", "warn", "fail"]},
                            "time": {
                                "type": "string",
                                "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$",
                            },
                            "output": {"type": "string", "minLength": 1},
                            "links": links,
                        },
                        "dependentRequired": {"observedUnit": ["observedValue"]},
                    }, not_on_pass(&["output", "affectedEndpoints"])]},
                },
            },
            "links": links,
            "serviceId": {"type": "string"},
            "description": {"type": "string"},
        },
        "additionalProperties": false,
        "allOf": [not_on_pass(&["output"])],
    });
    jsonschema::validator_for(&schema).expect("a schema")
}

/// What Spring's dashboards and Spring Boot Admin read.
fn actuator() -> Validator {
    let schema = json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"$ref": "#/$defs/status"},
            "description": {"type": "string"},
            "components": {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/component"}},
            "groups": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        },
        "additionalProperties": false,
        "$defs": {
            "status": {"enum": ["UP", "DOWN", "OUT_OF_SERVICE", "UNKNOWN"]},
            "component": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": {"$ref": "#/$defs/status"},
                    "description": {"type": "string"},
                    "details": {
                        "type": "object",
                        "minProperties": 1,
                        "properties": {"error": {"type": "string", "minLength": 1}},
                    },
                },
                "additionalProperties": false,
            },
        },
    });
    jsonschema::validator_for(&schema).expect("a schema")
}

async fn serve(health: Health, details: Access) -> SocketAddr {
    let layer = HealthLayer::new(health)
        .path_with_format("/draft", Probe::Readiness, Format::health_json())
        .path_with_format("/actuator/health", Probe::Readiness, Format::spring())
        .details(details);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().layer(layer)).await });
    address
}

/// Both answers, fit for their documents, with the code that goes with their word.
struct Shapes {
    address: SocketAddr,
    draft: Validator,
    actuator: Validator,
}

impl Shapes {
    async fn ask(&self, below: &str) -> (Value, Value) {
        let (code, body) = get(&format!("http://{}/draft{below}", self.address)).await;
        let draft: Value = serde_json::from_str(&body).expect("JSON");
        let errors: Vec<_> = self
            .draft
            .iter_errors(&draft)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} {draft}");
        // The draft: pass and warn 2xx or 3xx, fail 4xx or 5xx.
        assert_eq!(
            draft["status"] == "fail",
            code.as_u16() >= 400,
            "{code} {draft}"
        );

        let (code, body) = get(&format!("http://{}/actuator/health{below}", self.address)).await;
        let actuator: Value = serde_json::from_str(&body).expect("JSON");
        let schema = &self.actuator;
        if below.is_empty() {
            let errors: Vec<_> = schema
                .iter_errors(&actuator)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:?} {actuator}");
        } else {
            let whole = json!({"status": "UP", "components": {"one": actuator}});
            assert!(schema.is_valid(&whole), "{actuator}");
        }
        // Spring's own codes: DOWN and OUT_OF_SERVICE 503, UP 200.
        assert_eq!(actuator["status"] == "UP", code == 200, "{code} {actuator}");
        (draft, actuator)
    }

    async fn until(&self, word: &str) -> (Value, Value) {
        self.until_so(word, |draft| draft["status"] == word).await
    }

    async fn until_so(&self, what: &str, so: impl Fn(&Value) -> bool) -> (Value, Value) {
        let mut seen = (Value::Null, Value::Null);
        wait_until(what, MAXIMUM_WAIT, async || {
            seen = self.ask("").await;
            so(&seen.0)
        })
        .await;
        seen
    }
}

#[tokio::test]
async fn every_state_of_a_real_server_has_the_shape_of_its_document() {
    let mut postgres = Postgres::start().await;
    let pool = postgres.pool(1);
    // A loaded machine must have time to find out that the server is fine.
    let hasty = |dependency: Dependency| {
        dependency
            .cache_for(Duration::from_millis(10))
            .timeout(Duration::from_secs(5))
    };
    let health = Health::builder()
        .add(hasty(Dependency::new("db:main", checks::postgres(pool.clone()))).group("storage"))
        .check("batch", async || Ok(Outcome::up().observe("depth", 3_u32)))
        .info("version", "1")
        .info("region", "north")
        .answer_within(Duration::from_secs(5))
        .build();
    let shapes = Shapes {
        address: serve(health.clone(), Access::everybody()).await,
        draft: draft(),
        actuator: actuator(),
    };
    let (draft, actuator) = shapes.until("pass").await;
    assert_eq!(
        (&draft["version"], &draft["notes"]),
        (&json!("1"), &json!(["region: north"]))
    );
    for key in ["db%3Amain:responseTime", "db%3Amain:connections"] {
        assert_eq!(
            draft["checks"][key][0]["componentType"], "datastore",
            "{draft}"
        );
    }
    assert_eq!(
        draft["checks"]["db%3Amain:responseTime"][0]["observedUnit"],
        "ms"
    );
    assert_eq!(draft["checks"]["batch:depth"][0]["observedValue"], 3);
    assert_eq!(actuator["groups"], json!(["storage"]));
    shapes.ask("/batch").await;

    // The only connection is with somebody else: the server is fine, the pool is not.
    let held = pool.get().await.expect("a connection");
    let (draft, actuator) = shapes
        .until_so("saturated", |draft| {
            let check = &draft["checks"]["db%3Amain:connections"][0];
            check["output"]
                .as_str()
                .is_some_and(|output| output.starts_with("saturated"))
        })
        .await;
    let check = &draft["checks"]["db%3Amain:connections"][0];
    assert_eq!(
        (&check["observedValue"], &check["status"]),
        (&json!(1), &json!("warn"))
    );
    assert_eq!(actuator["components"]["db:main"]["status"], "UP");
    assert_eq!(actuator["components"]["db:main"]["description"], "degraded");
    drop(held);
    shapes.until("pass").await;

    postgres.kill();
    let (_, actuator) = shapes.until("fail").await;
    let error = &actuator["components"]["db:main"]["details"]["error"];
    assert!(error.is_string(), "{actuator}");
    shapes.ask("/db:main").await;
    postgres.restart().await;
    shapes.until("pass").await;

    health.set_draining(true);
    let (draft, actuator) = shapes.until("fail").await;
    assert_eq!(draft["output"], "draining");
    assert_eq!(actuator["status"], "OUT_OF_SERVICE");
}

#[tokio::test]
async fn an_unauthorized_callers_answer_has_the_shape_too() {
    let health = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Auth)))
        .build();
    health.set_started();
    let shapes = Shapes {
        address: serve(health, Access::nobody()).await,
        draft: draft(),
        actuator: actuator(),
    };
    let seen = shapes.ask("").await;
    assert_eq!(seen, (json!({"status": "fail"}), json!({"status": "DOWN"})));
}

#[test]
fn the_schemas_refuse_what_the_documents_forbid() {
    for bad in [
        json!({}),
        json!({"status": "up"}),
        json!({"status": "pass", "output": ""}),
        json!({"status": "pass", "checks": {"a": [{"status": "pass", "componentType": "system"}]}}),
        json!({"status": "pass", "checks": {"a:b:c": [{"status": "pass", "componentType": "system"}]}}),
        json!({"status": "pass", "checks": {"a:b": {"status": "pass", "componentType": "system"}}}),
        json!({"status": "pass", "checks": {"a:b": [{"status": "pass", "componentType": "system", "output": "x"}]}}),
        json!({"status": "pass", "checks": {"a:b": [{"status": "pass", "componentType": "system", "time": "now"}]}}),
    ] {
        assert!(!draft().is_valid(&bad), "{bad}");
    }
    for bad in [
        json!({"status": "up"}),
        json!({"status": "UP", "details": {}}),
        json!({"status": "UP", "groups": []}),
    ] {
        assert!(!actuator().is_valid(&bad), "{bad}");
    }
}

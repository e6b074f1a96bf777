//! The example of custom formats, run while its backend listens and after that.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::server::listen;
use crate::support::{Program, ask, becomes, get};

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn clients_of_other_systems_can_read_its_formats() {
    let (backend, address) = listen().await;
    let address = address.to_string();
    let variables = [("ADDR", "127.0.0.1:0"), ("BACKEND_ADDR", &address)];
    let mut program = Program::example("custom_render", &variables);
    let own = program.says("/healthcheck").await;
    let own = own.trim_end_matches("/healthcheck");
    let [djblets, aspnet] = ["healthcheck", "hc"].map(|path| format!("{own}/{path}"));

    let (code, body) = get(&djblets).await;
    assert_eq!(code, StatusCode::OK);
    let expected = r#"{"checks":{"backend.default":"UP"},"errors":{},"status":"UP"}"#;
    assert_eq!(body, expected);
    let (code, body) = get(&aspnet).await;
    assert_eq!(code, StatusCode::OK);
    let mut healthy = parsed(&body);
    for duration in ["/totalDuration", "/entries/backend.default/duration"] {
        let span = healthy.pointer_mut(duration).expect("is there").take();
        let span = span.as_str().expect("text");
        assert!(span.starts_with("00:00:0") && span.len() == 16, "{span}");
    }
    let entry = json!({
        "data": {"address": address}, "duration": null, "status": "Healthy", "tags": [],
    });
    let entries = json!({"backend.default": entry});
    let expected = json!({"status": "Healthy", "totalDuration": null, "entries": entries});
    assert_eq!(healthy, expected);

    drop(backend);
    let body = parsed(&becomes(&djblets, StatusCode::SERVICE_UNAVAILABLE).await);
    let (checks, errors) = (&body["checks"], &body["errors"]);
    assert_eq!(body["status"], "DOWN");
    assert_eq!(*checks, json!({"backend.default": "DOWN"}));
    assert_eq!(*errors, json!({"backend.default": "refused"}));
    let body = parsed(&becomes(&aspnet, StatusCode::SERVICE_UNAVAILABLE).await);
    assert_eq!(body["entries"]["backend.default"]["description"], "refused");
    assert_eq!(body["status"], "Unhealthy");

    // Through a proxy the caller is unauthorized: the same shape without entries.
    let request = Request::get(&djblets).header("x-forwarded-for", "203.0.113.9");
    let (code, body) = ask(request.body(Full::default()).expect("valid"), None).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, r#"{"checks":{},"errors":{},"status":"DOWN"}"#);
}

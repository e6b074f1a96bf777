//! The example of custom formats, run while its backend listens and after that.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::helpers::server::listen;
use crate::support::{Program, ask, becomes, get};

const OUTAGE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn clients_of_other_systems_can_read_its_formats() {
    let (backend, address) = listen().await;
    let address = address.to_string();
    let variables = [("ADDR", "127.0.0.1:0"), ("BACKEND_ADDR", &address)];
    let mut program = Program::example("custom_render", &variables);
    let djblets = program.says("/healthcheck").await;
    let aspnet = djblets.replace("/healthcheck", "/hc");

    let up = r#"{"checks":{"backend.default":"UP"},"errors":{},"status":"UP"}"#;
    assert_eq!(get(&djblets).await, (StatusCode::OK, up.to_owned()));
    let mut healthy = parsed(&get(&aspnet).await.1);
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
    let body = becomes(&djblets, OUTAGE).await;
    let down = r#"{"checks":{"backend.default":"DOWN"},"errors":{"backend.default":"refused"},"#;
    assert_eq!(body, format!(r#"{down}"status":"DOWN"}}"#));
    let body = parsed(&becomes(&aspnet, OUTAGE).await);
    assert_eq!(body["entries"]["backend.default"]["description"], "refused");
    assert_eq!(body["status"], "Unhealthy");

    // Through a proxy the caller is unauthorized: the same shape without entries.
    let request = Request::get(&djblets).header("x-forwarded-for", "203.0.113.9");
    let (code, body) = ask(request.body(Full::default()).expect("valid"), None).await;
    let expected = r#"{"checks":{},"errors":{},"status":"DOWN"}"#;
    assert_eq!((code, &*body), (OUTAGE, expected));
}

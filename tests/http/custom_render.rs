//! The example of forms of one's own, run, with its backend there and gone.

use crate::support::{Program, ask, becomes, get};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn clients_of_other_systems_read_their_own_form() {
    let backend = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = backend.local_addr().expect("bound").to_string();
    let variables = [("ADDR", "127.0.0.1:0"), ("BACKEND_ADDR", &address)];
    let mut program = Program::example("custom_render", &variables);
    let own = program.says("/healthcheck").await;
    let own = own.trim_end_matches("/healthcheck");
    let [djblets, aspnet] = ["healthcheck", "hc"].map(|path| format!("{own}/{path}"));

    let (code, body) = get(&djblets).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        body,
        r#"{"checks":{"backend.default":"UP"},"errors":{},"status":"UP"}"#
    );
    let (code, body) = get(&aspnet).await;
    assert_eq!(code, StatusCode::OK);
    let mut healthy = parsed(&body);
    for duration in ["/totalDuration", "/entries/backend.default/duration"] {
        let span = healthy.pointer_mut(duration).expect("is there").take();
        let span = span.as_str().expect("text");
        assert!(
            span.starts_with("00:00:0") && span.len() == "00:00:00.0219302".len(),
            "{span}"
        );
    }
    assert_eq!(
        healthy,
        json!({"status": "Healthy", "totalDuration": null, "entries": {"backend.default": {
            "data": {"address": address}, "duration": null, "status": "Healthy", "tags": [],
        }}})
    );

    drop(backend);
    let body = becomes(&djblets, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(
        parsed(&body),
        json!({"checks": {"backend.default": "DOWN"}, "errors": {"backend.default": "refused"}, "status": "DOWN"})
    );
    let unhealthy = parsed(&becomes(&aspnet, StatusCode::SERVICE_UNAVAILABLE).await);
    assert_eq!(
        unhealthy["entries"]["backend.default"]["description"],
        "refused"
    );
    assert_eq!(unhealthy["status"], "Unhealthy");

    // Through a proxy it is an unauthorized caller that asks: the same shape with nothing in it.
    let request = Request::get(&djblets).header("x-forwarded-for", "203.0.113.9");
    let (code, body) = ask(request.body(Full::default()).expect("valid"), None).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, r#"{"checks":{},"errors":{},"status":"DOWN"}"#);
}

//! Two examples as processes: probes on a separate port, and the formats of other systems.

use std::{net::SocketAddr, process::Command};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::helpers::{
    server::listen,
    wire::{self, Wire},
};
use crate::support::{MAXIMUM_WAIT, Program, becomes, example, get, unused_port, wait_until};

async fn code(address: SocketAddr, path: &str) -> u16 {
    wire::get(address, path).await.code
}

#[tokio::test]
async fn one_handle_answers_on_both_ports_until_the_end() {
    let [app, management] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], unused_port())));
    let mut command = Command::new(example("management_port"));
    command.env("ADDR", app.to_string());
    command.env("MANAGEMENT_ADDR", management.to_string());
    // Longer than the test: a second signal ends the drain.
    command.env("DRAIN_SECONDS", "600");
    let mut program = Program::start("management_port", &mut command);
    wait_until("both listen", MAXIMUM_WAIT, async || {
        TcpStream::connect(app).await.is_ok() && TcpStream::connect(management).await.is_ok()
    })
    .await;

    let health = wire::get(management, "/health").await;
    assert!(health.body.contains("database"), "{}", health.body);
    assert_eq!(wire::get(app, "/readyz").await.body, r#"{"status":"up"}"#);
    for path in ["/livez", "/startupz", "/health", "/health/database"] {
        assert_eq!(code(app, path).await, 404, "{path}");
        assert_eq!(code(management, path).await, 200, "{path}");
    }
    assert_eq!(code(management, "/").await, 404, "the app has its own port");

    program.signal(Signal::SIGTERM);
    wait_until("the app's port is unready", MAXIMUM_WAIT, async || {
        code(app, "/readyz").await == 503
    })
    .await;
    assert_eq!(code(management, "/readyz").await, 503);
    assert_eq!(code(management, "/livez").await, 200);
    assert_eq!(code(app, "/").await, 200, "requests are still served");

    // A connection that stays open delays the end by a moment only.
    let _open = Wire::connect(app).await;
    program.signal(Signal::SIGTERM);
    assert!(program.ends().await.success());
}

#[tokio::test]
async fn clients_of_other_systems_can_read_its_formats() {
    let (backend, address) = listen().await;
    let address = address.to_string();
    let variables = [("ADDR", "127.0.0.1:0"), ("BACKEND_ADDR", &address)];
    let mut program = Program::example("custom_render", &variables);
    let djblets = program.says("/healthcheck").await;
    let aspnet = djblets.replace("/healthcheck", "/hc");
    let parsed = |body: &str| serde_json::from_str::<Value>(body).expect("JSON");

    let up = r#"{"checks":{"backend.default":"UP"},"errors":{},"status":"UP"}"#;
    assert_eq!(get(&djblets).await.1, up);
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
    let down = json!({
        "checks": {"backend.default": "DOWN"}, "errors": {"backend.default": "refused"}, "status": "DOWN",
    });
    let outage = 503.try_into().expect("a code");
    assert_eq!(parsed(&becomes(&djblets, outage).await), down);
    let body = parsed(&becomes(&aspnet, outage).await);
    assert_eq!(body["entries"]["backend.default"]["description"], "refused");
    assert_eq!(body["status"], "Unhealthy");
}

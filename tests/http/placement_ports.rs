//! Probes on a separate port: the example, run as its users do.

use std::{net::SocketAddr, process::Command};

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::helpers::wire::{self, Wire};
use crate::support::{MAXIMUM_WAIT, Program, example, unused_port, wait_until};

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
    assert_eq!(wire::get(app, "/").await.body, "hello\n");
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

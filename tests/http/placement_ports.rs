//! Probes on a port of their own: the example, as its users see it.

use crate::helpers::wire;
use std::{net::SocketAddr, process::Command, time::Duration};

use crate::support::{Program, example, unused_port, wait_until};
use nix::sys::signal::Signal;
use tokio::{net::TcpStream, time::Instant};

const LIMIT: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(1);

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], unused_port()))
}

async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

async fn code(address: SocketAddr, path: &str) -> u16 {
    wire::get(address, path).await.code
}

#[tokio::test]
async fn one_handle_answers_on_both_ports_and_the_probes_port_ends_last() {
    let (app, management) = (local(), local());
    let mut program = Program::start(
        "management_port",
        Command::new(example("management_port"))
            .env("ADDR", app.to_string())
            .env("MANAGEMENT_ADDR", management.to_string())
            .env("DRAIN_SECONDS", DRAIN.as_secs().to_string()),
    );
    wait_until("both listen", LIMIT, async || {
        listens(app).await && listens(management).await
    })
    .await;

    let health = wire::get(management, "/health").await;
    assert_eq!(health.code, 200);
    assert!(health.body.contains("database"), "{}", health.body);
    assert_eq!(wire::get(app, "/readyz").await.body, r#"{"status":"up"}"#);
    assert_eq!(wire::get(app, "/").await.body, "hello\n");
    for path in ["/livez", "/startupz", "/health", "/health/database"] {
        assert_eq!(code(app, path).await, 404, "{path}");
        assert_eq!(code(management, path).await, 200, "{path}");
    }
    assert_eq!(code(management, "/").await, 404, "the app is not there");

    let signal = Instant::now();
    program.signal(Signal::SIGTERM);
    wait_until("the app's port is unready", LIMIT, async || {
        code(app, "/readyz").await == 503
    })
    .await;
    assert_eq!(code(management, "/readyz").await, 503);
    assert_eq!(code(management, "/livez").await, 200);
    assert_eq!(code(app, "/").await, 200, "served on");
    // Open, and silent: the platform asks on while the app's last connection is waited for.
    let _open = wire::Wire::connect(app).await;
    wait_until("the app's port is closed", LIMIT, async || {
        !listens(app).await
    })
    .await;
    assert!(signal.elapsed() >= DRAIN);
    wait_until("it has ended", LIMIT, async || program.end().is_some()).await;
    assert!(program.end().is_some_and(|end| end.success()));
}

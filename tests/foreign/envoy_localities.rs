//! Two localities behind a real Envoy, which is set up by `examples/deploy/envoy-localities.yaml`.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;
use tower_health::{Health, HealthLayer, Outcome, Reason};

use crate::support::{Program, get, unused_port, wait_until, wheel};

const CONFIG: &str = include_str!("../../examples/deploy/envoy-localities.yaml");
const LIMIT: Duration = Duration::from_secs(60);
/// Responses in a row from one locality that show where the traffic goes.
const IN_A_ROW: usize = 20;

/// An app of one locality; its response is the name of the locality.
struct App {
    address: SocketAddr,
    health: Health,
    is_degraded: Arc<AtomicBool>,
}

impl App {
    async fn start(locality: &'static str) -> Self {
        let is_degraded = Arc::new(AtomicBool::new(false));
        let degraded = is_degraded.clone();
        let check = move || {
            let is_degraded = degraded.load(Ordering::Relaxed);
            async move {
                Ok(match is_degraded {
                    true => Outcome::degraded(Reason::Slow),
                    false => Outcome::up(),
                })
            }
        };
        let health = Health::builder().check("database", check).build();
        let app = Router::new()
            .route("/", axum::routing::get(async move || locality))
            .layer(HealthLayer::new(health.clone()).envoy_headers());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(axum::serve(listener, app).into_future());
        Self {
            address,
            health,
            is_degraded,
        }
    }
}

struct Envoy {
    admin: SocketAddr,
    public: SocketAddr,
    _program: Program,
}

impl Envoy {
    fn start(local: &App, remote: &App) -> Self {
        let own = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], unused_port())));
        let addresses = [own[0], own[1], local.address, remote.address];
        let mut config = CONFIG.to_owned();
        for (port, address) in [9901, 8080, 3001, 3002].into_iter().zip(addresses) {
            let placed = format!("port_value: {port}}}");
            assert_eq!(config.matches(&placed).count(), 1, "{placed}");
            config = config.replace(&placed, &format!("port_value: {}}}", address.port()));
        }
        let mut command = Command::new(wheel("envoy"));
        command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]);
        command.args(["--config-yaml", &config]);
        Self {
            admin: own[0],
            public: own[1],
            _program: Program::start("envoy", &mut command),
        }
    }

    /// Waits until all requests go to `locality`.
    async fn uses(&self, locality: &str) {
        let mut in_a_row = 0;
        wait_until(&format!("traffic goes to {locality}"), LIMIT, async || {
            let served = body(self.public, "/").await;
            let served = served.is_some_and(|body| body == locality);
            in_a_row = if served { in_a_row + 1 } else { 0 };
            in_a_row == IN_A_ROW
        })
        .await;
    }
}

/// The body that answers `path`; nothing while no program listens.
async fn body(address: SocketAddr, path: &str) -> Option<String> {
    tokio::net::TcpStream::connect(address).await.ok()?;
    Some(get(&format!("http://{address}{path}")).await.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_leaves_a_degraded_locality_and_returns() {
    let (local, remote) = tokio::join!(App::start("local"), App::start("remote"));
    let envoy = Envoy::start(&local, &remote);
    // Where no locality is healthy, degraded ones serve.
    for (local_is_degraded, remote_is_degraded, used) in [
        (false, false, "local"),
        (true, false, "remote"),
        (true, true, "local"),
        (true, false, "remote"),
        (false, false, "local"),
    ] {
        local
            .is_degraded
            .store(local_is_degraded, Ordering::Relaxed);
        remote
            .is_degraded
            .store(remote_is_degraded, Ordering::Relaxed);
        envoy.uses(used).await;
    }
    local.health.set_draining(true);
    envoy.uses("remote").await;
    let clusters = body(envoy.admin, "/clusters").await.expect("a response");
    let flags = format!("{}::health_flags::", local.address);
    let line = clusters.lines().find(|line| line.contains(&flags));
    let line = line.expect("the local instance");
    assert!(line.contains("excluded_via_immediate_hc_fail"), "{line}");
}

//! Two localities behind a real Envoy, which is set up by `examples/deploy/envoy-localities.yaml`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower_health::{Health, HealthLayer, Outcome, Reason};

use crate::helpers::wire;
use crate::support::{Program, unused_port, wait_until, wheel};

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
            .route("/", get(move || async move { locality }))
            .layer(HealthLayer::new(health.clone()).envoy_headers());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async { axum::serve(listener, app).await });
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
        let own = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port())));
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
            let served = body(self.public, "/")
                .await
                .is_some_and(|body| body == locality);
            in_a_row = if served { in_a_row + 1 } else { 0 };
            in_a_row == IN_A_ROW
        })
        .await;
    }
}

async fn body(address: SocketAddr, target: &str) -> Option<String> {
    tokio::net::TcpStream::connect(address).await.ok()?;
    let request = Request::get(target).header("host", "app");
    let request = request.body(Full::default()).expect("valid");
    let mut client = wire::http1(address).await;
    let response = client.send_request(request).await.ok()?;
    let body = response.into_body().collect().await.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_leaves_a_degraded_locality_and_returns() {
    let (local, remote) = tokio::join!(App::start("local"), App::start("remote"));
    let envoy = Envoy::start(&local, &remote);
    envoy.uses("local").await;
    local.is_degraded.store(true, Ordering::Relaxed);
    envoy.uses("remote").await;
    // Where no locality is healthy, degraded ones serve.
    remote.is_degraded.store(true, Ordering::Relaxed);
    envoy.uses("local").await;
    remote.is_degraded.store(false, Ordering::Relaxed);
    envoy.uses("remote").await;
    local.is_degraded.store(false, Ordering::Relaxed);
    envoy.uses("local").await;
    local.health.set_draining(true);
    envoy.uses("remote").await;
    let clusters = body(envoy.admin, "/clusters").await.expect("a response");
    let flags = format!("{}::health_flags::", local.address);
    let line = clusters.lines().find(|line| line.contains(&flags));
    let line = line.expect("the local instance");
    assert!(line.contains("excluded_via_immediate_hc_fail"), "{line}");
}

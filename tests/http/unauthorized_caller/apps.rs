//! Two apps in the same state, one full of secrets, one with nothing to hide.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_health::{
    Access, Check, CheckResult, Dependency, Failure, Format, Health, HealthLayer, Outcome, Probe,
    Reason,
    render::{Render, View},
    report::PoolStats,
};

/// The beginning of every name and text that nobody may see.
pub const MARK: &str = "zq";
/// Every number that nobody may see is made of it.
pub const NUMBER: u32 = 7_313;
pub const TOKEN: &str = "zq-token";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Up,
    Degraded,
    Down,
    Starting,
    Draining,
    Maintenance,
}

pub const STATES: [State; 6] = [
    State::Up,
    State::Degraded,
    State::Down,
    State::Starting,
    State::Draining,
    State::Maintenance,
];

/// A check with a place that only authorized callers may see.
struct Placed<F>(F);

impl<F, R> Check for Placed<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = CheckResult> + Send,
{
    fn check(&self) -> impl Future<Output = CheckResult> + Send {
        (self.0)()
    }

    fn target(&self) -> Option<String> {
        Some("zq-host:7313".to_owned())
    }
}

/// All that an app can say about itself.
pub fn secretive(state: State) -> Health {
    let up = async || {
        tokio::time::sleep(Duration::from_millis(3)).await;
        Ok(Outcome::up()
            .message("zq-message")
            .observe("zq-observation", NUMBER)
            .pool(PoolStats::new(NUMBER, NUMBER, NUMBER)))
    };
    let down = async || {
        Err(Failure::new(Reason::Mismatch)
            .message("zq-failure 7313")
            .caused_by("zq-cause")
            .observe("zq-observation", "zq-value")
            .pool(PoolStats::new(NUMBER, 0, 0)))
    };
    let named = |dependency: Dependency| {
        dependency
            .group("zq-group")
            .group("storage")
            .kind("zq-kind")
    };
    let mut builder = Health::builder()
        .add(named(Dependency::new("zq-database", Placed(up))))
        .add(named(Dependency::new("zq\"<b>\u{e9}", up)))
        .info("zq-field", "zq-9.8.7")
        .info("version", "zq-7313");
    builder = match state {
        State::Degraded => builder.add(named(Dependency::new("zq-search", down)).optional()),
        State::Down => builder.add(named(Dependency::new("zq-search", down))),
        State::Starting => builder
            .add(named(hanging("zq-search")))
            .answer_within(Duration::from_nanos(1)),
        _ => builder,
    };
    put_into(builder.build(), state, "zq-maintenance 7313")
}

/// The same states of an app with nothing to hide.
pub fn open(state: State) -> Health {
    let up = async || Ok(Outcome::up());
    let down = async || Err(Failure::new(Reason::Failed));
    let mut builder = Health::builder().add(Dependency::new("a", up).group("storage"));
    builder = match state {
        State::Degraded => builder.add(Dependency::new("b", down).group("storage").optional()),
        State::Down => builder.add(Dependency::new("b", down).group("storage")),
        State::Starting => builder
            .add(hanging("b").group("storage"))
            .answer_within(Duration::from_nanos(1)),
        _ => builder,
    };
    put_into(builder.build(), state, "x")
}

fn hanging(name: &'static str) -> Dependency {
    let hangs = async || {
        std::future::pending::<()>().await;
        Ok(Outcome::up())
    };
    Dependency::new(name, hangs).timeout(Duration::from_secs(3_600))
}

fn put_into(health: Health, state: State, why: &'static str) -> Health {
    match state {
        State::Starting => {}
        State::Draining => health.set_draining(true),
        State::Maintenance => health.enter_maintenance(why),
        _ => health.set_started(),
    }
    health
}

/// Writes all that it is given, by every means that a renderer has.
struct Blabbing;

impl Render for Blabbing {
    fn content_type(&self) -> &'static str {
        "application/x-all"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        let entries = view.entries().iter().map(|entry| {
            let observations: Vec<_> = entry.observations().collect();
            format!("{entry:?} {observations:?} {:?}", view.checked_at(entry))
        });
        let entries: String = entries.collect();
        let whole = (
            view.reason(),
            view.message(),
            view.info(),
            view.groups(),
            view.created_at(),
        );
        format!("{view:?} {whole:?} {entries}").into_bytes()
    }
}

/// Where the path has the same name, whatever the app.
pub const PATHS: [&str; 13] = [
    "/livez",
    "/readyz",
    "/startupz",
    "/health",
    "/storage",
    "/json",
    "/health-json",
    "/spring",
    "/text",
    "/openmetrics",
    "/own",
    "/page",
    "/foreign",
];

pub async fn serve(health: Health) -> SocketAddr {
    let operators = Access::networks(["203.0.113.0/24"])
        .and_then(|access| access.trusted_proxies(["198.51.100.7"]))
        .expect("valid");
    let mut layer = HealthLayer::new(health)
        .details(Access::bearer([TOKEN]).or(operators))
        .path("/storage", Probe::group("storage"));
    for (path, format) in [
        ("/json", Format::json()),
        ("/health-json", Format::health_json()),
        ("/spring", Format::spring()),
        ("/text", Format::text()),
        ("/openmetrics", Format::openmetrics()),
        ("/own", Format::custom(Blabbing)),
        #[cfg(feature = "html")]
        ("/page", Format::html()),
    ] {
        layer = layer.path_with_format(path, Probe::Readiness, format);
    }
    let app = Router::new()
        .route("/foreign", get(async || "the app's own"))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

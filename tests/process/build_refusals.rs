//! Mistakes in literals are refused where they stand: the panic points at the caller's line.
// The panic hook is the process's: one test at a time sets it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use tower_health::{
    Access, CheckResult, Dependency, Format, Health, HealthLayer, Outcome, Probe, Status,
    render::{Render, View},
};

async fn up() -> CheckResult {
    Ok(Outcome::up())
}

/// The file and line that a panic of `build` points at.
fn panics_at(build: impl FnOnce()) -> Option<(String, u32)> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Arc::new(Mutex::new(None));
    let seen = place.clone();
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        let place = info.location().map(|at| (at.file().to_owned(), at.line()));
        *seen.lock().expect("no panic under it") = place;
    }));
    let result = catch_unwind(AssertUnwindSafe(build));
    set_hook(hook);
    let place = place.lock().expect("no panic under it").take();
    result.err().and(place)
}

struct Misnamed(&'static str);

impl Render for Misnamed {
    fn content_type(&self) -> &'static str {
        self.0
    }

    fn render(&self, _: &View<'_>) -> Vec<u8> {
        Vec::new()
    }
}

macro_rules! refused_here {
    ($($build:expr),+ $(,)?) => {$(
        let line = line!();
        let place = panics_at(|| drop($build));
        assert_eq!(place, Some((file!().to_owned(), line)), "{}", stringify!($build));
    )+};
}

#[test]
// A macro's line is that of its call: one call, one line each.
#[rustfmt::skip]
fn refusals_point_at_the_callers_line() {
    let builder = || Health::builder().check("a", up);
    let layer = || HealthLayer::new(builder().build());
    refused_here!(builder().check("a", up));
    refused_here!(builder().add(Dependency::new("a", up)));
    refused_here!(builder().check("", up));
    refused_here!(builder().check("a/b", up));
    refused_here!(builder().check("a\nb", up));
    refused_here!(Dependency::new("", up));
    refused_here!(Dependency::new("a\u{0}", up));
    refused_here!(builder().info("status", "x"));
    refused_here!(builder().info("version", "1").info("version", "2"));
    refused_here!(builder().group("storage", ["a", "nobody"]).build());
    refused_here!(layer().path("health", Probe::Full));
    refused_here!(layer().path("/a/", Probe::Full));
    refused_here!(layer().path("/a b", Probe::Full));
    refused_here!(layer().path("/health", Probe::Full));
    refused_here!(layer().path("/a", Probe::group("nobody")));
    refused_here!(layer().path_with_format("/a/", Probe::Full, Format::text()));
    refused_here!(layer().path_with_format("/a", Probe::group("nobody"), Format::text()));
    refused_here!(layer().status_code(Status::Up, StatusCode::CONTINUE));
    refused_here!(layer().status_code(Status::Up, StatusCode::SWITCHING_PROTOCOLS));
    refused_here!(layer().status_code(Status::Down, StatusCode::NO_CONTENT));
    refused_here!(layer().status_code(Status::Down, StatusCode::RESET_CONTENT));
    refused_here!(layer().status_code(Status::Degraded, StatusCode::NOT_MODIFIED));
    assert_eq!(panics_at(|| drop(layer().status_code(Status::Up, StatusCode::IM_A_TEAPOT))), None);
    refused_here!(Format::custom(Misnamed("no media type")));
    refused_here!(Format::custom(Misnamed("text/plain\r\nx: y")));
    refused_here!(Access::bearer([""]));
    refused_here!(Access::bearer(["good", "bad\n"]));
    assert_eq!(panics_at(|| drop(layer().path("/a", Probe::Full))), None);
    assert_eq!(panics_at(|| drop(Format::custom(Misnamed("text/plain; a=b")))), None);
    // Whatever comes first, the group or its member.
    let group = Health::builder().group("storage", ["a"]).group("empty", None::<&str>);
    let layer = HealthLayer::new(group.check("a", up).build());
    assert_eq!(panics_at(|| drop(layer.clone().path("/a", Probe::group("storage")))), None);
    assert_eq!(panics_at(|| drop(layer.path("/a", Probe::group("empty")))), None);
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test]
#[rustfmt::skip]
async fn options_of_checks_that_cannot_hold_are_refused() {
    use bb8_postgres::PostgresConnectionManager;
    use bb8_redis::RedisConnectionManager;
    use tokio_postgres::NoTls;
    use tower_health::checks;

    let manager = PostgresConnectionManager::new(Default::default(), NoTls);
    let postgres = || checks::postgres(bb8::Pool::builder().build_unchecked(manager.clone()));
    let manager = RedisConnectionManager::new("redis://127.0.0.1:1").expect("valid");
    let redis = || checks::redis(bb8::Pool::builder().build_unchecked(manager.clone()));
    refused_here!(postgres().expect_value("1"));
    refused_here!(postgres().degraded_above(1.0));
    refused_here!(redis().max_memory_usage(90.0));
    refused_here!(redis().max_memory_usage(0.0));
    assert_eq!(panics_at(|| drop(postgres().query("SELECT 1").expect_value("1"))), None);
    assert_eq!(panics_at(|| drop(redis().max_memory_usage(0.9))), None);
}

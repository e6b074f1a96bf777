//! What is set for the whole process: the panic hook. A mistake in a literal points at the caller's line.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::{Arc, Mutex},
};

use http::StatusCode;
use tower_health::{
    Access, CheckResult, Dependency, Format, Health, HealthLayer, Outcome, Probe, Status,
    render::{Render, View},
};

async fn up() -> CheckResult {
    Ok(Outcome::up())
}

/// The file and line of the panic, or `None` if `build` does not panic.
fn panics_at(build: impl FnOnce()) -> Option<(String, u32)> {
    let location = Arc::new(Mutex::new(None));
    let seen = location.clone();
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        let location = info.location().map(|at| (at.file().to_owned(), at.line()));
        *seen.lock().expect("no panic under it") = location;
    }));
    let result = catch_unwind(AssertUnwindSafe(build));
    set_hook(hook);
    let location = location.lock().expect("no panic under it").take();
    result.err().and(location)
}

struct ContentType(&'static str);

impl Render for ContentType {
    fn content_type(&self) -> &'static str {
        self.0
    }

    fn render(&self, _: &View<'_>) -> Vec<u8> {
        Vec::new()
    }
}

macro_rules! panics_here {
    ($build:expr) => {
        let here = Some((file!().to_owned(), line!()));
        assert_eq!(panics_at(|| drop($build)), here, "{}", stringify!($build));
    };
}

/// The only test of this process.
#[tokio::test]
// `line!` of a macro is the line of its call: one call on each line.
#[rustfmt::skip]
async fn a_mistake_in_a_literal_points_at_the_callers_line() {
    let builder = || Health::builder().check("a", up);
    let layer = || HealthLayer::new(builder().build());
    panics_here!(builder().check("a", up));
    panics_here!(builder().add(Dependency::new("a", up)));
    panics_here!(builder().check("a/b", up));
    panics_here!(Dependency::new("", up));
    panics_here!(builder().info("status", "x"));
    panics_here!(builder().info("version", "1").info("version", "2"));
    panics_here!(builder().group("storage", ["a", "unknown"]).build());
    panics_here!(layer().path("health", Probe::Full));
    panics_here!(layer().path("/health", Probe::Full));
    panics_here!(layer().path("/a", Probe::group("unknown")));
    panics_here!(layer().path_with_format("/a/", Probe::Full, Format::text()));
    panics_here!(layer().status_code(Status::Up, StatusCode::CONTINUE));
    panics_here!(layer().status_code(Status::Down, StatusCode::NO_CONTENT));
    panics_here!(layer().status_code(Status::Degraded, StatusCode::NOT_MODIFIED));
    panics_here!(Format::custom(ContentType("no media type")));
    panics_here!(Format::custom(ContentType("text/plain\r\nx: y")));
    panics_here!(Access::bearer(["good", "bad\n"]));
    #[cfg(all(feature = "postgres", feature = "redis"))]
    {
        use tower_health::checks::{postgres, redis};

        let manager = bb8_postgres::PostgresConnectionManager::new(Default::default(), tokio_postgres::NoTls);
        let postgres = || postgres(bb8::Pool::builder().build_unchecked(manager.clone()));
        let manager = bb8_redis::RedisConnectionManager::new("redis://127.0.0.1:1").expect("valid");
        let redis = || redis(bb8::Pool::builder().build_unchecked(manager.clone()));
        panics_here!(postgres().expect_value("1"));
        panics_here!(postgres().degraded_above(1.0));
        panics_here!(redis().max_memory_usage(90.0));
        }
}

//! User instructions per request, counted by callgrind: exact, whatever else the machine does.
//!
//! Runs itself under valgrind once per variant, prints the table and fails when a
//! variant costs more over the bare service of the same run than its limit. Without
//! valgrind it says so and measures nothing.
//!
//! `cargo bench --bench instructions`

mod support;

use std::{convert::Infallible, hint::black_box, pin::Pin, time::Duration};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use support::{
    Bare,
    callgrind::{REQUESTS, count, is_missing, variant},
    drive, layer, layer_of_eight, request,
};
use tower_health::{Dependency, Health, HealthLayer, Outcome};
use tower_layer::Layer;
use tower_service::Service;

/// Name, what it is measured over, most instructions over that.
const LIMITS: &[(&str, &str, i64)] = &[
    ("bare", "", 0),
    ("pass", "bare", 150),
    ("pass_eight_paths", "pass", 5),
    ("pass_same_length", "pass", 90),
    ("pass_same_prefix", "pass", 165),
    ("pass_same_body", "bare", 110),
    ("hit", "", 1_900),
    ("hit_details", "", 1_950),
];

fn main() {
    match variant() {
        Some(variant) => run(&variant),
        None => measure_all(),
    }
}

fn measure_all() {
    if is_missing("instructions") {
        return;
    }
    let mut counts: Vec<(&str, i64)> = Vec::new();
    let mut failed = false;
    println!(
        "{:<20} {:>12} {:>8} {:>8}",
        "variant", "instructions", "over", "limit"
    );
    for (variant, over, limit) in LIMITS {
        let count = count(variant);
        let base = counts.iter().find(|(name, _)| name == over);
        let delta = count - base.map_or(0, |(_, count)| *count);
        let bad = *limit > 0 && delta > *limit;
        failed |= bad;
        println!(
            "{variant:<20} {count:>12} {delta:>8} {limit:>8}{}",
            if bad { "  TOO MANY" } else { "" }
        );
        counts.push((variant, count));
    }
    assert!(!failed, "a variant costs more instructions than its limit");
}

fn run(variant: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        const FOREIGN: &str = "/api/v1/users/42";
        match variant {
            "bare" => repeat(Bare, FOREIGN),
            "pass" => repeat(layer().layer(Bare), FOREIGN),
            "pass_eight_paths" => repeat(layer_of_eight().layer(Bare), FOREIGN),
            "pass_same_length" => repeat(layer().layer(Bare), "/readyx"),
            "pass_same_prefix" => repeat(layer().layer(Bare), "/healthful-recipes"),
            "pass_same_body" => repeat(layer().keep_body_type().layer(Bare), FOREIGN),
            "hit" => repeat(cached(false).await, "/readyz"),
            "hit_details" => repeat(cached(true).await, "/readyz"),
            other => unreachable!("{other} is no variant"),
        }
    });
}

/// A service with a verdict that holds for the whole measurement.
async fn cached(
    details: bool,
) -> impl Service<Request<()>, Response = Response<impl Body<Data: Buf>>, Error = Infallible> {
    let hour = Duration::from_secs(3_600);
    let up = async || Ok(Outcome::up());
    let health = Health::builder()
        .add(Dependency::new("database", up).cache_for(hour))
        .add(Dependency::new("cache", up).cache_for(hour))
        .build();
    let _ = health.report().await;
    let access = if details {
        tower_health::Access::everybody()
    } else {
        tower_health::Access::nobody()
    };
    HealthLayer::new(health).details(access).layer(Bare)
}

fn repeat<S, B>(mut service: S, path: &str)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut slot = Box::pin(None);
    // Lazy statics and thread locals are made outside the count.
    drop(drive(&mut service, request(path), &mut slot));
    // One at a time: with many at once what is counted is also how the allocator joins what is freed.
    for _ in 0..REQUESTS {
        measured(&mut service, request(path), &mut slot);
    }
}

/// The only function that is counted, with all it calls.
#[inline(never)]
fn measured<S, B>(service: &mut S, request: Request<()>, slot: &mut Pin<Box<Option<S::Future>>>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    drop(black_box(drive(service, black_box(request), slot)));
}

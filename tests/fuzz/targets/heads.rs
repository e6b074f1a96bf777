//! Request heads to answers, through hyper as in an app: who answers, with which code, and what an
//! unauthorized caller learns.

#![no_main]

use std::{convert::Infallible, time::Duration};

use http::{Method, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::join,
    runtime::{Builder, Runtime},
};
use tower::{Layer, Service};
use tower_health::{Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason};
use tower_health_fuzz::inner;

const PROBES: &str = "/livez /readyz /startupz /health /health/detail /p";
/// No response to an unauthorized caller contains this.
const SECRETS: [&str; 3] = ["datenbank", "zwischenspeicher", "4.7.11-geheim"];
/// The place of a code for a request that the app answers.
const APP: u16 = 0;

/// A layer, the code of a probe without the token if it needs one, and whether it shows details.
type World = (HealthLayer, Option<u16>, bool);

thread_local! {
    static WORLDS: (Runtime, [World; 4]) = worlds();
}

fuzz_target!(|bytes: &[u8]| {
    WORLDS.with(|(runtime, worlds)| {
        for world in worlds {
            runtime.block_on(serve(world, bytes));
        }
    });
});

fn worlds() -> (Runtime, [World; 4]) {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("starts");
    let entered = runtime.enter();
    // Each probe waits for a run.
    let cache = Dependency::new(SECRETS[1], async || Err(Failure::new(Reason::Refused)));
    let health = Health::builder()
        // Its result stays fresh, because the clock is paused.
        .check(SECRETS[0], async || Ok(Outcome::up()))
        .add(cache.optional().cache_for(Duration::ZERO))
        .info("version", SECRETS[2])
        .build();
    let plain = HealthLayer::new(health)
        .path("/p", Probe::Readiness)
        .path("/health/detail", Probe::Full);
    let open = plain.clone().details(Access::everybody());
    let closed = plain.clone().allow(Access::bearer(["token"]));
    let concealed = closed.clone().forward_denied();
    drop(entered);
    let worlds = [
        (plain, None, false),
        (open, None, true),
        (closed, Some(403), false),
        (concealed, Some(APP), false),
    ];
    (runtime, worlds)
}

/// Serves all requests that hyper finds in `bytes`, in one connection.
async fn serve(world: &World, bytes: &[u8]) {
    let mut written = Vec::new();
    let service = service_fn(|request: Request<Incoming>| {
        let expected = expected(world, &request);
        let head = format!("{request:?}");
        let response = world.0.layer(tower::service_fn(inner)).call(request);
        async move {
            let response = response.await?;
            let is_app = response.headers().contains_key("x-inner");
            let status = response.status().as_u16();
            let code = if is_app { APP } else { status };
            assert!(expected.contains(&code), "{code}, {expected:?}: {head}");
            assert!(is_app || response.headers()["cache-control"] == "no-store");
            Ok::<_, Infallible>(response)
        }
    });
    let stream = TokioIo::new(join(bytes, &mut written));
    // The end of the bytes does not end the connection.
    let server = http1::Builder::new().half_close(true).clone();
    // What is not HTTP is an error.
    let _ = server.serve_connection(stream, service).await;
    let written = String::from_utf8_lossy(&written);
    let shown = SECRETS.iter().find(|secret| written.contains(**secret));
    assert!(world.2 || shown.is_none(), "{shown:?} is shown");
}

/// The codes that `request` may be answered with.
fn expected((_, denied, shows): &World, request: &Request<Incoming>) -> Vec<u16> {
    let path = request.uri().path();
    let is_probe = |path| PROBES.split(' ').any(|probe| probe == path);
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let sent = request.headers().get("authorization");
    let has_token = sent.is_some_and(|sent| {
        let (scheme, token) = sent.as_bytes().split_at_checked(7).unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"bearer ") && token == b"token"
    });
    match path.rsplit_once('/') {
        _ if is_probe(path) => match denied {
            Some(code) if !has_token => vec![*code],
            _ if is_read => vec![200],
            _ => vec![405],
        },
        Some((above, _)) if is_probe(above) && is_read && *shows => vec![APP, 200, 503],
        _ => vec![APP],
    }
}

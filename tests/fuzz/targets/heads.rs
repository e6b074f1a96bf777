//! Request heads to answers, through hyper as an app would: who answers, with which code, and what an unauthorized caller learns.

#![no_main]

use std::{cell::RefCell, convert::Infallible, future::Future, rc::Rc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::{io::join, runtime::Runtime, task::LocalSet};
use tower_health::{
    Access, Dependency, Failure, Health, HealthLayer, Outcome, Probe, Reason,
    service::HealthService,
};
use tower_health_fuzz::Inner;
use tower_layer::Layer;
use tower_service::Service;

const PATHS: [&str; 6] = [
    "/livez",
    "/readyz",
    "/startupz",
    "/health",
    "/health/detail",
    "/p",
];
/// No response to an unauthorized caller contains this.
const SECRETS: [&str; 3] = ["datenbank", "zwischenspeicher", "4.7.11-geheim"];

const FORMATS: [&str; 6] = [
    "application/json",
    "application/health+json",
    "application/vnd.spring-boot.actuator.v3+json",
    "text/plain",
    "application/openmetrics-text",
    "text/html",
];

/// One way of being set up.
struct World {
    service: HealthService<Inner>,
    shows: bool,
    asks_token: bool,
    conceals: bool,
}

struct Worlds {
    runtime: Runtime,
    worlds: Vec<World>,
}

thread_local! {
    static WORLDS: Worlds = Worlds::new();
}

fuzz_target!(|bytes: &[u8]| {
    WORLDS.with(|worlds| {
        for world in &worlds.worlds {
            worlds
                .runtime
                .block_on(LocalSet::new().run_until(world.serve(bytes)));
        }
    });
});

impl Worlds {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }
            .enable_time()
            .start_paused(true)
            .build()
            .expect("starts");
        let entered = runtime.enter();
        let health = Health::builder()
            // Kept for good, as the clock stands still.
            .check(SECRETS[0], async || Ok(Outcome::up()))
            // Never kept: each probe waits for a run.
            .add(
                Dependency::new(SECRETS[1], async || Err(Failure::new(Reason::Refused)))
                    .optional()
                    .cache_for(std::time::Duration::ZERO),
            )
            .info("version", SECRETS[2])
            .build();
        let layer = HealthLayer::new(health)
            .path("/p", Probe::Readiness)
            .path("/health/detail", Probe::Full);
        let token = Access::bearer(["token"]);
        let world = |layer: HealthLayer, shows, asks_token, conceals| World {
            service: layer.layer(Inner),
            shows,
            asks_token,
            conceals,
        };
        let worlds = vec![
            world(layer.clone(), false, false, false),
            world(
                layer.clone().details(Access::everybody()),
                true,
                false,
                false,
            ),
            world(layer.clone().allow(token.clone()), false, true, false),
            world(layer.allow(token).forward_denied(), false, true, true),
        ];
        drop(entered);
        Self { runtime, worlds }
    }
}

impl World {
    /// All requests that hyper finds in `bytes`, in one connection.
    fn serve(&self, bytes: &[u8]) -> impl Future<Output = ()> {
        let (mut written, seen) = (Vec::new(), Rc::new(RefCell::new(0)));
        async move {
            let answered = seen.clone();
            let service = service_fn(|request: Request<Incoming>| {
                *answered.borrow_mut() += 1;
                let expected = self.expected(&request);
                let answer = self.service.clone().call(request);
                async move { self.looked_at(answer.await?, expected).await }
            });
            // The end of what is sent is no reason to give up on the answers.
            let mut connection = http1::Builder::new();
            connection.half_close(true);
            let stream = TokioIo::new(join(bytes, &mut written));
            // What is no HTTP is hyper's to refuse.
            let _ = connection.serve_connection(stream, service).await;
            assert!(*seen.borrow() == 0 || written.starts_with(b"HTTP/1."));
            if !self.shows {
                for secret in SECRETS {
                    let found = written
                        .windows(secret.len())
                        .any(|part| part == secret.as_bytes());
                    assert!(!found, "{secret} is in the response");
                }
            }
        }
    }

    /// Who answers `request`, and how, by a plain reading of the rules.
    fn expected(&self, request: &Request<Incoming>) -> Expected {
        let path = request.uri().path();
        let below = path.rsplit_once('/').filter(|(_, name)| !name.is_empty());
        let is_probe = PATHS.contains(&path);
        let is_below = !is_probe && below.is_some_and(|(parent, _)| PATHS.contains(&parent));
        if !is_probe && !is_below {
            return Expected::Inner;
        }
        let sent = request
            .headers()
            .get("authorization")
            .map(|value| value.as_bytes());
        let may = sent.is_some_and(|sent| {
            sent.len() == 12
                && sent[..7].eq_ignore_ascii_case(b"bearer ")
                && sent.ends_with(b"token")
        });
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        if is_below && !(self.shows && is_read) {
            return Expected::Inner;
        }
        if self.asks_token && !may {
            return match self.conceals {
                true => Expected::Inner,
                false => Expected::Code(StatusCode::FORBIDDEN),
            };
        }
        if !is_read {
            return Expected::Code(StatusCode::METHOD_NOT_ALLOWED);
        }
        match below.filter(|_| is_below) {
            None => Expected::Code(StatusCode::OK),
            Some(("/livez", _)) => Expected::Inner,
            Some((_, name)) if SECRETS[0] == name => Expected::Code(StatusCode::OK),
            // A scraper gets 200 whatever the status.
            Some((_, name)) if SECRETS[1] == name && request.headers().contains_key("accept") => {
                Expected::Either
            }
            // Down by itself, however optional.
            Some((_, name)) if SECRETS[1] == name => {
                Expected::Code(StatusCode::SERVICE_UNAVAILABLE)
            }
            // In a name escapes stand for what they stand for.
            Some((_, name)) if name.contains('%') => Expected::Any,
            Some(_) => Expected::Inner,
        }
    }

    async fn looked_at<B>(
        &self,
        response: Response<B>,
        expected: Expected,
    ) -> Result<Response<http_body_util::Full<Bytes>>, Infallible>
    where
        B: hyper::body::Body<Data = Bytes, Error = Infallible>,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let is_inner = head.headers.contains_key("x-inner");
        match expected {
            Expected::Inner => assert!(is_inner, "the probe answered {}", head.status),
            Expected::Code(code) => assert_eq!((is_inner, head.status), (false, code)),
            Expected::Either => {
                assert!(!is_inner && [200, 503].contains(&head.status.as_u16()))
            }
            Expected::Any => {
                assert!(is_inner || [200, 503].contains(&head.status.as_u16()))
            }
        }
        if !is_inner {
            assert_eq!(head.headers["cache-control"], "no-store");
            let kind = head.headers.get("content-type").map(|kind| kind.as_bytes());
            if head.status == StatusCode::OK {
                let kind = kind.expect("what has a body has a type");
                assert!(
                    FORMATS
                        .iter()
                        .any(|format| kind.starts_with(format.as_bytes()))
                );
            }
            if kind == Some(b"application/json") && !self.shows {
                let statuses = ["", r#"{"status":"degraded"}"#, r#"{"status":"up"}"#];
                assert!(statuses.iter().any(|status| body == status), "{body:?}");
            }
        }
        Ok(Response::from_parts(head, body.into()))
    }
}

#[derive(Debug)]
enum Expected {
    Inner,
    Code(StatusCode),
    /// A probe, up or down.
    Either,
    /// A probe or the inner service.
    Any,
}

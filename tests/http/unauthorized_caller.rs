//! An unauthorized caller tries every path, format, query and header, and learns the status only.
//!
//! Two apps in the same state get the same requests: one has secrets, the other has none. The answers must not
//! differ by a byte. An effect of a secret on the text, length, headers or code of an answer would show.

use std::{future::pending, net::SocketAddr, time::Duration};

use http::Request;
use http_body_util::Full;
use tower_health::{
    Access, Dependency, Failure, Format, Health, HealthLayer, Outcome, PeerAddr, Probe, Reason,
    render::{Render, View},
    report::PoolStats,
};

use crate::helpers::{layer_client::LayerClient, server::up, wire::Answer};

/// The beginning of every secret text, and a part of every secret number.
const SECRET: [&str; 3] = ["zq", "7313", "mismatch"];
const NUMBER: u32 = 7_313;
const TOKEN: &str = "zq-token";

const STATES: [&str; 6] = [
    "up",
    "degraded",
    "down",
    "starting",
    "draining",
    "maintenance",
];

/// A dependency that is up or down, with every kind of secret or with none.
fn dependency(name: &'static str, is_up: bool, has_secrets: bool) -> Dependency {
    let check = move || async move {
        let pool = PoolStats::new(NUMBER, NUMBER, 0);
        if has_secrets {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        match (is_up, has_secrets) {
            (true, false) => Ok(Outcome::up()),
            (false, false) => Err(Failure::new(Reason::Failed)),
            (true, true) => {
                let up = Outcome::up().message("zq-message").pool(pool);
                Ok(up.observe("zq-observation", NUMBER))
            }
            (false, true) => {
                let failure = Failure::new(Reason::Mismatch).message("zq-failure 7313");
                let failure = failure.caused_by("zq-cause").pool(pool);
                Err(failure.observe("zq-observation", "zq-value"))
            }
        }
    };
    let dependency = Dependency::new(name, check).group("storage");
    match has_secrets {
        true => dependency
            .group("zq-group")
            .kind("zq-kind")
            .target("zq-host:7313"),
        false => dependency,
    }
}

/// An app in `state`, with every kind of secret or with none.
fn app(state: &str, has_secrets: bool) -> Health {
    // The names differ too: a path or query with a name of one app must not show that the app has it.
    let named = |secret, plain| if has_secrets { secret } else { plain };
    let dependency = |name, is_up| dependency(name, is_up, has_secrets);
    let mut builder = Health::builder();
    if has_secrets {
        builder = builder
            .add(dependency("zq\"<b>\u{e9}", true))
            .info("zq-field", "zq-9.8.7")
            .info("version", "zq-7313");
    }
    builder = builder.add(dependency(named("zq-database", "a"), true));
    let search = named("zq-search", "b");
    let hangs = Dependency::new(search, async || pending().await);
    builder = match state {
        "degraded" => builder.add(dependency(search, false).optional()),
        "down" => builder.add(dependency(search, false)),
        "starting" => builder
            .add(hangs.timeout(Duration::from_secs(3_600)))
            .answer_within(Duration::from_nanos(1)),
        _ => builder,
    };
    let health = builder.build();
    match state {
        "starting" => {}
        "draining" => health.set_draining(true),
        "maintenance" => health.enter_maintenance(named("zq-maintenance 7313", "x")),
        _ => health.set_started(),
    }
    health
}

/// Writes all that a renderer can read.
struct Everything;

impl Render for Everything {
    fn content_type(&self) -> &'static str {
        "application/x-all"
    }

    fn render(&self, view: &View<'_>) -> Vec<u8> {
        format!("{view:?}").into()
    }
}

/// The probe paths, one path for each format, and a path of the app.
const PATHS: &str = "/livez /readyz /startupz /health /storage /json /health-json /spring /text \
    /openmetrics /everything /page /route";

fn client(health: Health) -> LayerClient {
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
        ("/everything", Format::custom(Everything)),
        #[cfg(feature = "html")]
        ("/page", Format::html()),
    ] {
        layer = layer.path_with_format(path, Probe::Readiness, format);
    }
    LayerClient(layer)
}

/// A method, a target, and one header.
type Attempt = (&'static str, String, (&'static str, &'static str));

/// Everything that an unauthorized caller may try.
fn attempts() -> Vec<Attempt> {
    let below = "/zq-database /zq%2Ddatabase /zq%22%3Cb%3E%C3%A9 /unknown / /a/b";
    let queries = "?verbose ?exclude=zq-search ?verbose=1&exclude=zq-group&exclude=unknown";
    let accepts = "*/* application/json application/health+json text/plain text/html image/png \
        application/vnd.spring-boot.actuator.v3+json application/openmetrics-text";
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("authorization", "Bearer zq-toke"),
        ("authorization", "Basic enEtdG9rZW4="),
        ("cookie", "authorization=Bearer zq-token"),
        ("range", "bytes=0-1"),
    ];
    let methods = "HEAD POST OPTIONS TRACE ZQ";
    let mut attempts = Vec::new();
    for path in PATHS.split(' ') {
        let suffixes = below.split(' ').chain(queries.split(' '));
        for suffix in [""].into_iter().chain(suffixes) {
            let mut push = |method, header| {
                attempts.push((method, format!("{path}{suffix}"), header));
            };
            push("GET", ("user-agent", "prober"));
            if suffix.is_empty() || suffix == "?verbose" {
                for accept in accepts.split_whitespace() {
                    push("GET", ("accept", accept));
                }
            }
            if suffix.is_empty() || suffix == "/zq-database" {
                for method in methods.split(' ') {
                    push(method, ("user-agent", "prober"));
                }
                for header in headers {
                    push("GET", header);
                }
            }
        }
    }
    attempts
}

async fn send(client: &LayerClient, (method, target, header): &Attempt) -> Answer {
    let peer = PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1)));
    let request = Request::builder().method(*method).uri(target);
    let request = request.header(header.0, header.1).extension(peer);
    client
        .send(request.body(Full::default()).expect("valid"))
        .await
}

async fn send_all(client: LayerClient, attempts: &[Attempt]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for attempt in attempts {
        answers.push(send(&client, attempt).await);
    }
    answers
}

fn has_secret(answer: &Answer) -> bool {
    let text = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    SECRET.iter().any(|secret| text.contains(secret))
}

#[tokio::test]
async fn an_unauthorized_caller_learns_the_status_only() {
    let attempts = attempts();
    for state in STATES {
        let answers = send_all(client(app(state, true)), &attempts).await;
        let expected = send_all(client(app(state, false)), &attempts).await;
        let mut statuses = 0;
        for ((attempt, answer), expected) in attempts.iter().zip(&answers).zip(&expected) {
            assert!(!has_secret(answer), "{state} {attempt:?} {answer:?}");
            assert_eq!(answer, expected, "{state} {attempt:?}");
            statuses += usize::from(answer.body.starts_with(r#"{"status":"#));
        }
        // Two apps without any answer would not differ either.
        assert!(statuses > 100, "{state}: {statuses}");
    }
}

/// The secrets that the test above looks for are there, in every format.
#[tokio::test]
async fn an_operator_gets_the_secrets_but_no_causes() {
    let client = client(app("down", true));
    let get = async |path: &str| {
        let header = ("authorization", "Bearer zq-token");
        send(&client, &("GET", path.to_owned(), header)).await
    };
    for path in PATHS.split(' ') {
        let answer = get(path).await;
        let is_known = path != "/route" && (cfg!(feature = "html") || path != "/page");
        assert_eq!(has_secret(&answer), is_known, "{path} {answer:?}");
    }
    let text = get("/everything").await.body;
    let secrets = "zq-database zq-search zq-group zq-kind zq-host:7313 zq-field zq-9.8.7 zq-7313 \
        zq-observation zq-value zq-failure 7313, Mismatch";
    for secret in secrets.split_whitespace() {
        assert!(text.contains(secret), "{secret} in {text}");
    }
    // Raw texts of errors are for the log.
    assert!(!text.contains("zq-cause"), "{text}");
}

#[tokio::test]
async fn a_denied_caller_does_not_learn_the_status() {
    let mut attempts = attempts();
    attempts.retain(|attempt| attempt.1.starts_with("/readyz"));
    let mut first = None;
    for state in STATES {
        let layer = HealthLayer::new(app(state, true)).allow(Access::bearer([TOKEN]));
        let answers = send_all(LayerClient(layer.clone()), &attempts).await;
        let forwarded = send_all(LayerClient(layer.forward_denied()), &attempts).await;
        for ((attempt, denied), forwarded) in attempts.iter().zip(&answers).zip(&forwarded) {
            // What is below a probe path reaches the app.
            let (code, body, length) = match attempt.1.split('?').next() {
                Some("/readyz") => (403, "", Some("0")),
                _ => (200, "inner", None),
            };
            assert_eq!((denied.code, &*denied.body), (code, body), "{attempt:?}");
            assert_eq!(denied.header("content-length"), length, "{attempt:?}");
            assert_eq!((forwarded.code, &*forwarded.body), (200, "inner"));
            assert!(!has_secret(denied), "{attempt:?} {denied:?}");
        }
        // No state differs from another one.
        assert_eq!(*first.get_or_insert_with(|| answers.clone()), answers);
    }
}

#[tokio::test]
async fn details_are_stricter_than_probes() {
    let networks = Access::networks(["127.0.0.1"]).expect("valid");
    let forwarded = ("x-forwarded-for", "127.0.0.5");
    let token = ("authorization", "Bearer zq-token");
    let has_token = Access::predicate(|head| head.headers().contains_key("authorization"));
    let panics = Access::predicate(|_| panic!("a bug of the app"));
    // Whether the local caller may probe, and whether it sees details.
    for (access, header, may_probe, sees) in [
        (Access::nobody(), token, false, false),
        (Access::everybody(), forwarded, true, true),
        (Access::loopback(), token, true, true),
        (Access::loopback(), ("via", "1.1 x"), false, false),
        (Access::loopback(), ("host", "example.org"), true, false),
        (networks, forwarded, true, false),
        (has_token.or(Access::nobody()), token, true, true),
        (panics, token, false, false),
    ] {
        let layer = HealthLayer::new(up());
        let attempt = ("GET", "/health".to_owned(), header);
        let client = LayerClient(layer.clone().details(access.clone()));
        let answer = send(&client, &attempt).await;
        assert_eq!(answer.body.contains("database"), sees, "{access:?}");
        let answer = send(&LayerClient(layer.allow(access)), &attempt).await;
        let code = if may_probe { 200 } else { 403 };
        assert_eq!(answer.code, code, "{header:?}");
    }
}

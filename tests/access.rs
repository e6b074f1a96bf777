//! Who may probe and who sees details, over real sockets with several addresses of loopback.
#![cfg(feature = "axum")]
#![allow(missing_docs)]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use axum::Router;
use http::{Request, StatusCode};
use http_body_util::Full;
use support::{Program, ask, installed, unused_port, wait_until};
use tokio::net::TcpListener;
use tower_health::{Access, Failure, Health, HealthLayer, Outcome, Reason};

/// Names and values of a request's headers.
type Fields<'a> = &'a [(&'a str, &'a str)];

mod support;

const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in an answer to whom details are shown, and in no other.
const NAME: &str = "zq-database";

fn health() -> Health {
    Health::builder()
        .check(NAME, async || Ok(Outcome::up()))
        .build()
}

async fn serve(layer: HealthLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let app = Router::new().layer(layer);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What `/health` answers to `source`, one of loopback's addresses, with these headers.
async fn health_of(
    address: SocketAddr,
    source: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, String) {
    let mut request = Request::get(format!("http://{address}/health"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let source: IpAddr = source.parse().expect("an address");
    ask(request.body(Full::default()).expect("valid"), Some(source)).await
}

async fn sees_details(address: SocketAddr, source: &str, headers: &[(&str, &str)]) -> bool {
    let (code, body) = health_of(address, source, headers).await;
    assert_eq!(code, StatusCode::OK);
    let full = body.contains(NAME);
    assert!(full || body == r#"{"status":"up"}"#, "{body}");
    full
}

#[tokio::test]
async fn each_kind_of_access_opens_to_its_own() {
    let networks = || Access::networks(["127.0.0.5", "127.0.1.0/24"]).expect("valid");
    let bearer = || Access::bearer(["old-token", "new-token"]);
    let closure = || Access::closure(|head| head.headers().contains_key("x-badge"));
    let panics = || Access::closure(|_| panic!("a bug of the app's"));
    const NEW: &[(&str, &str)] = &[("authorization", "Bearer new-token")];
    const OLD: &[(&str, &str)] = &[("authorization", "bearer old-token")];
    const WRONG: &[(&str, &str)] = &[("authorization", "Bearer new-toke")];
    const BADGE: &[(&str, &str)] = &[("x-badge", "")];
    const PROXIED: &[(&str, &str)] = &[("x-forwarded-for", "127.0.0.5")];
    let table: [(Access, &str, Fields<'_>, bool); 20] = [
        (Access::nobody(), "127.0.0.1", &[], false),
        (Access::everybody(), "127.0.0.9", &[], true),
        (Access::everybody(), "127.0.0.9", PROXIED, true),
        (Access::loopback(), "127.0.0.1", &[], true),
        (Access::loopback(), "127.0.0.9", &[], true),
        (Access::loopback(), "127.0.0.1", PROXIED, false),
        (networks(), "127.0.0.5", &[], true),
        (networks(), "127.0.0.6", &[], false),
        (networks(), "127.0.1.200", &[], true),
        // No proxy is trusted: what it says of others counts for nothing.
        (networks(), "127.0.0.6", PROXIED, false),
        (
            networks(),
            "127.0.0.5",
            &[("x-forwarded-for", "9.9.9.9")],
            true,
        ),
        (bearer(), "127.0.0.1", &[], false),
        (bearer(), "127.0.0.9", NEW, true),
        (bearer(), "127.0.0.9", OLD, true),
        (bearer(), "127.0.0.1", WRONG, false),
        (closure(), "127.0.0.1", BADGE, true),
        (closure(), "127.0.0.1", &[], false),
        (panics(), "127.0.0.1", &[], false),
        (networks().or(bearer()), "127.0.0.9", NEW, true),
        (
            networks().or(bearer()).or(closure()),
            "127.0.0.9",
            WRONG,
            false,
        ),
    ];
    for (access, source, headers, expected) in table {
        let what = format!("{access:?} {source} {headers:?}");
        let address = serve(HealthLayer::new(health()).details(access.clone())).await;
        let seen = sees_details(address, source, headers).await;
        assert_eq!(seen, expected, "{what}");
        // The same rule for who may probe at all.
        let address = serve(HealthLayer::new(health()).allow(access)).await;
        let (code, body) = health_of(address, source, headers).await;
        let answer = match expected {
            true => (StatusCode::OK, r#"{"status":"up"}"#.to_owned()),
            false => (StatusCode::FORBIDDEN, String::new()),
        };
        assert_eq!((code, body), answer, "{what}");
    }
}

#[tokio::test]
async fn tokens_rotate_without_a_moment_in_which_nobody_sees() {
    let with = |tokens: &[&'static str]| {
        let tokens = tokens.iter().copied();
        HealthLayer::new(health()).details(Access::bearer(tokens))
    };
    let sees = async |address, token: &str| {
        let value = format!("Bearer {token}");
        sees_details(address, "127.0.0.1", &[("authorization", &value)]).await
    };
    for (tokens, old, new) in [
        (&["old"][..], true, false),
        (&["old", "new"], true, true),
        (&["new"], false, true),
        (&[], false, false),
    ] {
        let address = serve(with(tokens)).await;
        assert_eq!(sees(address, "old").await, old, "{tokens:?}");
        assert_eq!(sees(address, "new").await, new, "{tokens:?}");
    }
}

/// As in the docs of `trusted_proxies`: operators in one network, behind proxies at two addresses.
async fn behind_proxies() -> SocketAddr {
    let operators = Access::networks(["127.0.5.0/24"])
        .and_then(|access| access.trusted_proxies(["127.0.0.7", "127.0.0.8"]))
        .expect("valid");
    serve(HealthLayer::new(health()).details(operators)).await
}

#[tokio::test]
async fn only_a_trusted_proxy_speaks_for_its_client() {
    let address = behind_proxies().await;
    let operator = "127.0.5.1";
    let table: &[(&str, Fields<'_>, bool)] = &[
        // Without a proxy.
        (operator, &[], true),
        ("127.0.0.9", &[], false),
        // A stranger that says it was one.
        ("127.0.0.9", &[("x-forwarded-for", operator)], false),
        ("127.0.0.9", &[("forwarded", "for=127.0.5.1")], false),
        // The proxy for its clients.
        ("127.0.0.7", &[("x-forwarded-for", operator)], true),
        (
            "127.0.0.8",
            &[("forwarded", "for=127.0.5.1;proto=https")],
            true,
        ),
        ("127.0.0.7", &[("x-forwarded-for", "127.0.0.9")], false),
        ("127.0.0.7", &[], false),
        // Through both.
        (
            "127.0.0.8",
            &[("x-forwarded-for", "127.0.5.1, 127.0.0.7")],
            true,
        ),
        (
            "127.0.0.8",
            &[
                ("x-forwarded-for", "127.0.5.1"),
                ("x-forwarded-for", "127.0.0.7"),
            ],
            true,
        ),
        // What a stranger wrote stands to the left of what the proxy did.
        (
            "127.0.0.7",
            &[("x-forwarded-for", "127.0.5.1, 127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", "127.0.5.1"),
                ("x-forwarded-for", "127.0.0.9"),
            ],
            false,
        ),
        (
            "127.0.0.7",
            &[("forwarded", "for=127.0.5.1, for=127.0.0.9")],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("forwarded", "for=127.0.5.1;x=\""),
                ("forwarded", "for=127.0.0.9"),
            ],
            false,
        ),
        // Two headers that disagree, one of which the proxy may not have written.
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", "127.0.0.9"),
                ("forwarded", "for=127.0.5.1"),
            ],
            false,
        ),
        (
            "127.0.0.7",
            &[
                ("x-forwarded-for", operator),
                ("forwarded", "for=127.0.0.9"),
            ],
            false,
        ),
        // Headers that are nobody's standard.
        ("127.0.0.7", &[("x-real-ip", operator)], false),
        ("127.0.0.7", &[("x-forwarded-for", "unknown")], false),
        ("127.0.0.7", &[("x-forwarded-for", "127.0.5.1 ")], true),
        (
            "127.0.0.7",
            &[("x-forwarded-for", "::ffff:127.0.5.1")],
            true,
        ),
    ];
    for (source, headers, expected) in table {
        let seen = sees_details(address, source, headers).await;
        assert_eq!(seen, *expected, "{source} {headers:?}");
    }
}

const HAPROXY: &str = "\
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  option forwardfor
frontend probes
  bind \"${LISTEN}\"
  default_backend app
backend app
  source 127.0.0.7
  server app \"${APP}\"
";

/// The proxy's own words, not ours for it.
#[tokio::test]
async fn a_real_proxy_speaks_for_its_clients_and_not_for_their_lies() {
    let app = behind_proxies().await;
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("access-haproxy.cfg");
    fs::write(&config, HAPROXY).expect("writes");
    let listen = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let mut command = Command::new(installed("haproxy"));
    command
        .args([Path::new("-db"), Path::new("-f"), &config])
        .env("LISTEN", listen.to_string())
        .env("APP", app.to_string());
    let _haproxy = Program::start("haproxy", &mut command);
    wait_until("haproxy listens", PATIENCE, async || {
        tokio::net::TcpStream::connect(listen).await.is_ok()
    })
    .await;
    assert!(sees_details(listen, "127.0.5.1", &[]).await);
    assert!(!sees_details(listen, "127.0.0.9", &[]).await);
    let lie = [("x-forwarded-for", "127.0.5.1")];
    assert!(!sees_details(listen, "127.0.0.9", &lie).await);
    // From the proxy's own address, but past it.
    assert!(!sees_details(app, "127.0.0.7", &[]).await);
}

#[tokio::test]
async fn a_stranger_gets_the_code_but_no_reason() {
    let health = Health::builder()
        .check(NAME, async || Err(Failure::new(Reason::Auth)))
        .build();
    health.set_started();
    let address = serve(HealthLayer::new(health).details(Access::loopback())).await;
    let (code, body) = health_of(address, "127.0.0.1", &[("via", "1.1 x")]).await;
    assert_eq!(
        (code, &*body),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"down"}"#)
    );
    let (_, body) = health_of(address, "127.0.0.1", &[]).await;
    assert!(body.contains(r#""reason":"auth""#), "{body}");
}

#[test]
fn an_entry_that_is_no_network_is_named() {
    for entry in [
        "10.0.0.0/33",
        "192.168.1.5/24",
        " 10.0.0.1",
        "localhost",
        "",
    ] {
        let named = format!("{entry:?} is neither an address nor a network such as 10.0.0.0/8");
        let error = Access::networks(["127.0.0.1", entry]).expect_err(entry);
        assert_eq!(error.to_string(), named);
        let error = Access::loopback()
            .trusted_proxies([entry])
            .expect_err(entry);
        assert_eq!(error.to_string(), named);
    }
}

#[test]
#[should_panic(expected = "bearer token number 2 is empty, which would let everybody in")]
fn a_token_that_is_none_is_named_by_its_place() {
    drop(Access::bearer(["secret", ""]));
}

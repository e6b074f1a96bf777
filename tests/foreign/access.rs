//! Access behind real proxies: HAProxy, Envoy and a TCP forwarder, each with its own headers.

use std::{fs, net::SocketAddr, process::Command};

use tower_health::{Access, HealthLayer, access::InvalidNetwork};

use crate::{
    helpers::{
        peers::{health, sees_details, serve},
        wire::{Answer, Wire},
    },
    support::{MAXIMUM_WAIT, Program, Proxy, installed, unused_port, wait_until, wheel},
};

/// Where the proxies connect from.
const PROXY: &str = "127.0.0.7";

/// What HAProxy's own check asks for: HTTP/1.0 without a host.
const PLAIN: &str = "GET /health HTTP/1.0\r\n\r\n";

/// These networks, behind the proxy.
fn networks<const N: usize>(networks: [&str; N]) -> Access {
    let access = |access: Access| access.trusted_proxies([PROXY]);
    let valid: Result<_, InvalidNetwork> = Access::networks(networks).and_then(access);
    valid.expect("valid")
}

/// One request over a new connection, byte for byte.
async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut wire = Wire::connect(address).await;
    wire.send(request).await;
    wire.answer().await
}

fn shows(answer: &Answer) -> bool {
    assert_eq!(answer.code, 200, "{answer:?}");
    answer.body != r#"{"status":"up"}"#
}

/// Starts `command`, which is to listen on `address`.
async fn listening(
    name: &'static str,
    command: &mut Command,
    address: SocketAddr,
) -> (Program, SocketAddr) {
    let program = Program::start(name, command);
    wait_until("the proxy listens", MAXIMUM_WAIT, async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    (program, address)
}

/// HAProxy in front of `app`; `rule` is about its requests. Its own check has passed.
async fn haproxy(app: SocketAddr, rule: &str) -> (Program, SocketAddr) {
    let listen = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let config = format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend probes
  bind {listen}
  {rule}
  default_backend app
backend app
  source {PROXY}
  option httpchk GET /health
  server app {app} check inter 100ms
"
    );
    let file = format!(
        "{}/haproxy-{}.cfg",
        env!("CARGO_TARGET_TMPDIR"),
        listen.port()
    );
    fs::write(&file, config).expect("writes");
    let mut command = Command::new(installed("haproxy"));
    let started = listening("haproxy", command.args(["-db", "-f", &file]), listen).await;
    wait_until("its own check passes", MAXIMUM_WAIT, async || {
        raw(listen, PLAIN).await.code != 503
    })
    .await;
    fs::remove_file(&file).expect("is read");
    started
}

async fn envoy(app: SocketAddr, remote_address: bool) -> (Program, SocketAddr) {
    let listen = SocketAddr::from(([127, 0, 0, 1], unused_port()));
    let config = format!(
        r#"
static_resources:
  listeners:
    - address: {{socket_address: {{address: 127.0.0.1, port_value: {listen}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: public
                use_remote_address: {remote_address}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts: [{{name: app, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: app}}}}]}}]
  clusters:
    - name: app
      connect_timeout: 5s
      upstream_bind_config: {{source_address: {{address: {PROXY}, port_value: 0}}}}
      load_assignment:
        cluster_name: app
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {app}}}}}}}}}]}}]
"#,
        listen = listen.port(),
        app = app.port(),
    );
    let mut command = Command::new(wheel("envoy"));
    command.args(["--disable-hot-restart", "--concurrency", "1"]);
    command.args(["-l", "warning", "--config-yaml", &config]);
    listening("envoy", &mut command, listen).await
}

#[tokio::test]
async fn haproxy_names_its_clients_and_forged_lists_do_not_count() {
    let layer = HealthLayer::new(health()).details(networks(["127.0.5.0/24"]));
    let app = serve(layer.allow(networks([PROXY, "127.0.5.0/24"]))).await;
    let (_haproxy, listen) = haproxy(app, "option forwardfor").await;
    assert!(sees_details(listen, "127.0.5.1", &[]).await);
    // The client's address is the last of the list, and may not probe.
    let outsider = raw(listen, PLAIN).await;
    assert_eq!((outsider.code, &*outsider.body), (403, ""));
    let forged = "GET /health HTTP/1.0\r\nx-forwarded-for: 127.0.5.1\r\n\r\n";
    assert_eq!(raw(listen, forged).await.code, 403);
}

#[tokio::test]
async fn over_http_1_0_a_proxied_request_shows_no_local_details() {
    let loopback = || {
        let trusted = Access::loopback().trusted_proxies([PROXY]);
        trusted.expect("valid")
    };
    let layer = HealthLayer::new(health());
    let app = serve(layer.details(loopback()).allow(loopback())).await;
    // Without a proxy, HTTP/1.0 needs no host.
    assert!(shows(&raw(app, PLAIN).await));
    // The proxy names no client: it may probe as itself, as with its health check.
    let rule = "http-request set-header x-forwarded-proto http";
    let (_haproxy, listen) = haproxy(app, rule).await;
    for request in [PLAIN, "GET /health HTTP/1.0\r\nhost: localhost\r\n\r\n"] {
        assert!(!shows(&raw(listen, request).await), "{request}");
    }
}

#[tokio::test]
async fn envoy_that_names_no_client_may_probe_but_sees_no_details() {
    let layer = HealthLayer::new(health()).details(networks([PROXY]));
    let app = serve(layer.allow(networks([PROXY]))).await;
    // Its default: `x-forwarded-proto` and nothing about the client.
    let (_envoy, listen) = envoy(app, false).await;
    assert!(!sees_details(listen, "127.0.0.9", &[]).await);
    assert!(sees_details(app, PROXY, &[]).await, "its own request");
}

#[tokio::test]
async fn envoy_names_its_clients_and_forged_headers_do_not_count() {
    let app = serve(HealthLayer::new(health()).details(networks(["127.0.5.0/24"]))).await;
    let (_envoy, listen) = envoy(app, true).await;
    assert!(sees_details(listen, "127.0.5.1", &[]).await);
    for forged in [
        ("x-forwarded-for", "127.0.5.1"),
        ("x-real-ip", "127.0.5.1"),
        ("forwarded", "for=127.0.5.1"),
    ] {
        assert!(
            !sees_details(listen, "127.0.0.9", &[forged]).await,
            "{forged:?}"
        );
    }
}

/// As `kubectl port-forward` and `ssh -L` do: the peer is local, and the host is what the client wrote.
#[tokio::test]
async fn through_a_forwarded_port_only_local_host_names_see_details() {
    let app = serve(HealthLayer::new(health()).details(Access::loopback())).await;
    let forward = Proxy::start(app.port()).await;
    let listen = SocketAddr::from(([127, 0, 0, 1], forward.port()));
    let hosts = [
        ("localhost:8080", true),
        ("127.0.0.1:8080", true),
        ("rebound.example.org", false),
        ("app.example.org:8080", false),
    ];
    for (host, expected) in hosts {
        let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(shows(&raw(listen, &request).await), expected, "{host}");
        let absolute = format!("GET http://{host}/health HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(shows(&raw(listen, &absolute).await), expected, "{host}");
    }
}

//! Access behind real proxies, HAProxy and Envoy, each with its own headers.

use std::{fs, net::SocketAddr, process::Command};

use tower_health::{Access, HealthLayer};

use crate::{
    helpers::peers::{NAME, health, health_of, serve},
    support::{MAXIMUM_WAIT, Program, installed, unused_port, wait_until, wheel},
};

/// Where the proxies connect from.
const PROXY: &str = "127.0.0.7";

/// In the network that may probe and see details, as the proxies themselves may.
const OPERATOR: &str = "127.0.5.1";

/// Starts `command`, which is to listen on `address`.
async fn listening(name: &'static str, command: &mut Command, address: SocketAddr) -> Program {
    let program = Program::start(name, command);
    wait_until("the proxy listens", MAXIMUM_WAIT, async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    program
}

async fn haproxy(listen: SocketAddr, app: SocketAddr) -> Program {
    let config = format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  option forwardfor
listen probes
  bind {listen}
  source {PROXY}
  server app {app}
"
    );
    let file = format!("{}/haproxy-access.cfg", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&file, config).expect("writes");
    let mut command = Command::new(installed("haproxy"));
    listening("haproxy", command.args(["-db", "-f", &file]), listen).await
}

async fn envoy(listen: SocketAddr, app: SocketAddr, remote_address: bool) -> Program {
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
async fn proxies_name_their_clients_and_forged_headers_do_not_count() {
    let operators = || {
        let networks = Access::networks([PROXY, "127.0.5.0/24"]);
        let access = networks.and_then(|access| access.trusted_proxies([PROXY]));
        access.expect("valid")
    };
    let layer = HealthLayer::new(health()).details(operators());
    let app = serve(layer.allow(operators())).await;
    // The code, and whether there are details.
    let found = async |address, source, headers: &[_]| {
        let (code, body) = health_of(address, source, headers).await;
        (code.as_u16(), body.contains(NAME))
    };
    assert_eq!(found(app, PROXY, &[]).await, (200, true), "its own request");
    for proxy in ["haproxy", "envoy", "envoy by default"] {
        let listen = SocketAddr::from(([127, 0, 0, 1], unused_port()));
        let _proxy = match proxy {
            "haproxy" => haproxy(listen, app).await,
            _ => envoy(listen, app, proxy == "envoy").await,
        };
        if proxy == "envoy by default" {
            // It sends `x-forwarded-proto` and nothing about the client: it may probe as itself.
            assert_eq!(found(listen, "127.0.0.9", &[]).await, (200, false));
            continue;
        }
        assert_eq!(found(listen, OPERATOR, &[]).await, (200, true), "{proxy}");
        for forged in [
            ("x-request-id", "1"),
            ("x-forwarded-for", OPERATOR),
            ("x-real-ip", OPERATOR),
            ("forwarded", "for=127.0.5.1"),
        ] {
            let outsider = found(listen, "127.0.0.9", &[forged]).await;
            assert_eq!(outsider, (403, false), "{proxy} {forged:?}");
        }
    }
}

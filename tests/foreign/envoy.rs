//! Apps behind a real Envoy, which is set up by its files in `examples/deploy`.

use std::{net::SocketAddr, process::Command};

use axum::{Router, routing::get};
use tower_health::{Health, HealthLayer};

use crate::{
    helpers::{
        balanced::{Cluster, Envoy, Instance, LIMIT, Load, turn},
        server::serve_axum,
        switch::Switch,
        wire,
    },
    support::{Postgres, Program, Redis, unused_port, wait_until, wheel},
};

const LOCALITIES: &str = include_str!("../../examples/deploy/envoy-localities.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_no_request() {
    let _turn = turn().await;
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let mut instances = Instance::three(&postgres, &redis).await;
    // The table is made by the first visit.
    assert_eq!(instances[0].code("/").await, 200);
    let addresses = instances.each_ref().map(Instance::address);
    let envoy = Envoy::start(Cluster::Http, addresses).await;

    let load = Load::start(envoy.address(), true);
    for instance in &mut instances {
        envoy.until_used(instance.address()).await;
        instance.restart().await;
        envoy.until(instance.address(), true).await;
    }
    envoy.until_used(addresses[2]).await;
    let tally = load.stop().await;

    println!("{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(tally.sent > 100, "{tally:?}");
    // The first response after the signal removed each of them, long before a probe was due.
    let reported = envoy.counter("cluster.app.health_check.passive_failure");
    assert!(reported.await >= 3);
    // Nor did Envoy have to save any.
    assert_eq!(envoy.counter("cluster.app.upstream_rq_retry").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_frozen_database_leaves_and_returns() {
    let _turn = turn().await;
    let (own, shared, redis) = tokio::join!(Postgres::start(), Postgres::start(), Redis::start());
    let instances = Instance::one_apart(&own, &shared, &redis).await;
    let addresses = instances.each_ref().map(Instance::address);
    let envoy = Envoy::start(Cluster::Http, addresses).await;

    let load = Load::start(envoy.address(), false);
    for round in 0..2 {
        envoy.until_used(addresses[0]).await;
        own.freeze();
        let out = envoy.until(addresses[0], false).await;
        own.thaw();
        let back = envoy.until(addresses[0], true).await;
        println!("round {round}: out after {out:?}, back after {back:?}");
    }
    envoy.until_used(addresses[0]).await;
    let tally = load.stop().await;
    println!("{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
    for address in &addresses[1..] {
        assert!(envoy.is_up(*address).await);
    }
}

/// An app that is degraded while `cache` is off; its response is the name of its locality.
async fn app(locality: &'static str, cache: &Switch) -> (Health, SocketAddr) {
    let cache = cache.dependency("cache").optional();
    let health = Health::builder().add(cache).build();
    let router = Router::new().route("/", get(async move || locality));
    let layer = HealthLayer::new(health.clone()).envoy_headers();
    (health, serve_axum(router.layer(layer)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_leaves_a_degraded_locality_and_returns() {
    let caches = [Switch::on(), Switch::on()];
    let (health, local) = app("local", &caches[0]).await;
    let (_remote, remote) = app("remote", &caches[1]).await;
    let own = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], unused_port())));
    let mut config = LOCALITIES.to_owned();
    for (port, address) in [
        (9901, own[0]),
        (8080, own[1]),
        (3001, local),
        (3002, remote),
    ] {
        let placed = format!("port_value: {port}}}");
        assert_eq!(config.matches(&placed).count(), 1, "{placed}");
        config = config.replace(&placed, &format!("port_value: {}}}", address.port()));
    }
    let mut command = Command::new(wheel("envoy"));
    command.args("--disable-hot-restart --concurrency 1 -l error".split(' '));
    let _envoy = Program::start("envoy", command.args(["--config-yaml", &config]));
    wait_until("Envoy listens", LIMIT, async || {
        tokio::net::TcpStream::connect(own[1]).await.is_ok()
    })
    .await;
    let uses = async |locality| {
        let mut in_a_row = 0;
        wait_until(&format!("traffic goes to {locality}"), LIMIT, async || {
            let is_used = wire::get(own[1], "/").await.body == locality;
            in_a_row = if is_used { in_a_row + 1 } else { 0 };
            in_a_row == 20
        })
        .await;
    };
    // Where no locality is healthy, degraded ones serve.
    for (local_is_up, remote_is_up, used) in [
        (true, true, "local"),
        (false, true, "remote"),
        (false, false, "local"),
        (false, true, "remote"),
        (true, true, "local"),
    ] {
        caches[0].set(local_is_up);
        caches[1].set(remote_is_up);
        uses(used).await;
    }
    health.set_draining(true);
    uses("remote").await;
}

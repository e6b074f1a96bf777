//! Three instances of the demo behind a real Envoy, which is set up by `examples/deploy/envoy.yaml`.

use crate::helpers::balanced::{Cluster, Envoy, Instance, Load, turn};
use crate::support::{Postgres, Redis};

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

//! Three instances of the demo behind a real HAProxy, which is set up by `examples/deploy/haproxy.cfg`.

use tokio::time::Instant;

use crate::{
    helpers::{
        balanced::{Balancer, DRAIN, Instance, LIMIT, Load, Storm, turn},
        wire::Wire,
    },
    support::{Postgres, Redis, wait_until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_no_request() {
    let _turn = turn().await;
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let mut instances = Instance::three(&postgres, &redis).await;
    // The table is made by the first visit.
    assert_eq!(instances[0].code("/").await, 200);
    let balancer = Balancer::start(&instances).await;

    let load = Load::start(balancer.address(), true);
    for (index, instance) in instances.iter_mut().enumerate() {
        balancer.until_used(index).await;
        instance.restart().await;
        balancer.until(index, true).await;
    }
    balancer.until_used(2).await;
    let tally = load.stop().await;

    println!("{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(tally.sent > 100, "{tally:?}");
    // HAProxy had to retry none: it was notified in time.
    for server in balancer.servers().await {
        assert_eq!((server.is_up, server.retries), (true, 0), "{server:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_frozen_database_leaves_and_returns() {
    let _turn = turn().await;
    let (own, shared, redis) = tokio::join!(Postgres::start(), Postgres::start(), Redis::start());
    let instances = Instance::one_apart(&own, &shared, &redis).await;
    let balancer = Balancer::start(&instances).await;

    let load = Load::start(balancer.address(), false);
    for round in 0..2 {
        balancer.until_used(0).await;
        own.freeze();
        let out = balancer.until(0, false).await;
        // On a busy machine the first checks that fail are those that come too late to say why.
        wait_until("HAProxy knows why", LIMIT, async || {
            balancer.server(0).await.code == "503"
        })
        .await;
        own.thaw();
        let back = balancer.until(0, true).await;
        println!("round {round}: out after {out:?}, back after {back:?}");
    }
    balancer.until_used(0).await;
    let tally = load.stop().await;
    println!("{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
    for index in [1, 2] {
        let server = balancer.server(index).await;
        assert_eq!((server.is_up, server.retries), (true, 0), "{server:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_a_storm_of_probes_ends_the_instance() {
    let _turn = turn().await;
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    let mut instance = Instance::start(&postgres, &redis).await;
    wait_until("it is ready", LIMIT, async || {
        instance.code("/readyz").await == 200
    })
    .await;
    // Clients that say nothing, or not all of it, must not hold up the end.
    let silent = Wire::connect(instance.address()).await;
    let mut halting = Wire::connect(instance.address()).await;
    halting.send("GET /readyz HTTP/1.1\r\nhost:").await;
    let storm = Storm::start(instance.address(), 64);
    wait_until("the storm rages", LIMIT, async || storm.answered() > 1_000).await;

    let signal = Instant::now();
    instance.terminate();
    let end = instance.ends().await;
    println!("ended after {:?}", signal.elapsed());
    // It did not wait for those two: they are still there.
    assert!(end.success(), "{end}");
    assert!(silent.ends().await && halting.ends().await);
    for fate in storm.end().await {
        // Served on, unready, for as long as it had promised.
        assert!(fate.turned_away >= signal + DRAIN, "{fate:?} {signal:?}");
    }
}

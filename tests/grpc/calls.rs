//! Check, Watch and List through a tonic server and the tonic client: the tables that the
//! tests of other implementations assert.

use crate::helpers::grpc;
use std::time::Duration;

use crate::helpers::gate::Gate;
use crate::helpers::grpc::{
    NOT_SERVING, SERVICE_UNKNOWN, SERVING, channel, check, client, list, serve, soon, watch,
};
use crate::helpers::switch::Switch;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, service::Routes, transport::Server};
use tower_health::{Access, Dependency, Health, HealthLayer, Outcome, Probe};

/// Two services of the app's: one whose dependency works, one whose dependency is told what it is.
fn health(switch: &Switch) -> Health {
    Health::builder()
        .add(Dependency::new("always", async || Ok(Outcome::up())).group("fine"))
        .add(switch.dependency("switch").optional().group("moody"))
        .add(
            switch
                .dependency("needed")
                .exclude_from_readiness()
                .group("ill"),
        )
        .group("declared", ["always"])
        .group("empty", [""; 0])
        .map_grpc_service("healthy", Probe::group("fine"))
        .map_grpc_service("unhealthy", Probe::group("ill"))
        .build()
}

/// C++ `health_service_end2end_test`, A: what is registered has its status, and shutting down is
/// `NOT_SERVING` for all of it.
#[tokio::test]
async fn check_answers_for_what_there_is() {
    let switch = Switch::off();
    let health = health(&switch);
    let mut client = client(serve(HealthLayer::new(health.clone())).await).await;
    let table = [
        ("", Ok(SERVING), Ok(NOT_SERVING)),
        ("healthy", Ok(SERVING), Ok(NOT_SERVING)),
        ("unhealthy", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        // Groups go by their own names, too; an optional member does not take its group down.
        ("fine", Ok(SERVING), Ok(NOT_SERVING)),
        ("moody", Ok(SERVING), Ok(NOT_SERVING)),
        ("ill", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("unregistered", Err(Code::NotFound), Err(Code::NotFound)),
        // Of dependencies strangers hear nothing.
        ("always", Err(Code::NotFound), Err(Code::NotFound)),
        // A prober that asks for these would restart the app while it drains.
        ("liveness", Ok(SERVING), Ok(SERVING)),
        ("startup", Ok(SERVING), Ok(SERVING)),
        ("readiness", Ok(SERVING), Ok(NOT_SERVING)),
    ];
    for (name, expected, _) in table {
        assert_eq!(check(&mut client, name).await, expected, "{name:?}");
    }
    health.set_draining(true);
    for (name, _, expected) in table {
        let found = check(&mut client, name).await;
        assert_eq!(found, expected, "{name:?}, draining");
    }
    health.set_draining(false);
    assert_eq!(check(&mut client, "").await, Ok(SERVING));
}

/// The same, B: an unknown service is watched until it becomes known, and follows its changes.
#[tokio::test]
async fn watch_of_an_unknown_service_stays_open_until_it_is_known() {
    let switch = Switch::off();
    let health = Health::builder().build();
    let mut client = client(serve(HealthLayer::new(health.clone())).await).await;
    let mut watch = watch(&mut client, "later").await;
    assert_eq!(watch.next().await, Ok(SERVICE_UNKNOWN));
    health
        .add(switch.dependency("database").group("later"))
        .expect("a new name");
    assert_eq!(watch.next().await, Ok(NOT_SERVING));
    switch.set(true);
    assert_eq!(watch.next().await, Ok(SERVING));
    assert!(health.remove("database"));
    assert_eq!(watch.next().await, Ok(SERVICE_UNKNOWN));
}

/// The same, C: nothing that is set after the shutdown shows.
#[tokio::test]
async fn draining_is_told_at_once_and_nothing_overrules_it() {
    let switch = Switch::on();
    let health = health(&switch);
    let mut client = client(serve(HealthLayer::new(health.clone())).await).await;
    assert_eq!(check(&mut client, "unhealthy").await, Ok(SERVING));
    let mut watches = Vec::new();
    for name in ["", "healthy", "unhealthy"] {
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(SERVING), "{name:?}");
        watches.push(watch);
    }
    // Long enough that nothing below comes from the end of the streams.
    let draining = tokio::spawn({
        let health = health.clone();
        async move { health.drain(Duration::from_secs(600)).await }
    });
    for watch in &mut watches {
        assert_eq!(watch.next().await, Ok(NOT_SERVING));
    }
    switch.set(false);
    switch.set(true);
    health
        .add(Dependency::new("new", async || Ok(Outcome::up())).group("new"))
        .expect("a new name");
    for name in ["", "healthy", "unhealthy", "new"] {
        assert_eq!(check(&mut client, name).await, Ok(NOT_SERVING), "{name:?}");
        let mut late = watch(&mut client, name).await;
        assert_eq!(late.next().await, Ok(NOT_SERVING), "{name:?}");
    }
    assert_eq!(
        check(&mut client, "unregistered").await,
        Err(Code::NotFound)
    );
    for watch in &mut watches {
        assert!(watch.is_silent_for(Duration::from_millis(100)).await);
    }
    draining.abort();
}

/// The same, D.
#[tokio::test]
async fn a_name_longer_than_200_bytes_is_an_invalid_argument() {
    let mut client = client(serve(HealthLayer::new(Health::builder().build())).await).await;
    let table = [(200, Code::NotFound), (201, Code::InvalidArgument)];
    for (length, expected) in table {
        let found = check(&mut client, &"x".repeat(length)).await;
        assert_eq!(found, Err(expected), "{length}");
    }
    let refused = client.watch(grpc::ask(&"x".repeat(201))).await;
    let code = refused.expect_err("too long").code();
    assert_eq!(code, Code::InvalidArgument);
}

/// The same, E.
#[tokio::test]
async fn without_the_service_it_is_unimplemented() {
    let layer = HealthLayer::new(Health::builder().build());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let server = Server::builder()
        .layer(layer)
        .add_routes(Routes::default())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let mut client = client(address).await;
    assert_eq!(check(&mut client, "").await, Err(Code::Unimplemented));
}

/// grpc-go: `MultipleClients`, `SameStatus`, `ServiceStatusSetBeforeStartingServer`,
/// `SetServiceStatusBeforeClientCallsWatch`, `DefaultStatusChange`, `OverallServerHealthChange`.
#[tokio::test]
async fn each_watcher_hears_each_change_once() {
    let switch = Switch::off();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
        .build();
    health.report().await;
    let address = serve(HealthLayer::new(health.clone())).await;
    for name in ["", "shop.v1.Orders", "orders"] {
        switch.set(false);
        let (mut one, mut other) = (client(address).await, client(address).await);
        grpc::soon(async { while check(&mut one, name).await != Ok(NOT_SERVING) {} }).await;
        let mut watches = [
            watch(&mut one, name).await,
            watch(&mut one, name).await,
            watch(&mut other, name).await,
        ];
        for watch in &mut watches {
            assert_eq!(watch.next().await, Ok(NOT_SERVING), "{name:?}");
        }
        // Many runs, one status.
        let before = switch.runs();
        for watch in &mut watches {
            assert!(watch.is_silent_for(Duration::from_millis(60)).await);
        }
        assert!(switch.runs() > before, "checks run while somebody watches");
        for up in [true, false, true] {
            switch.set(up);
            let expected = if up { SERVING } else { NOT_SERVING };
            for watch in &mut watches {
                assert_eq!(watch.next().await, Ok(expected), "{name:?}");
            }
        }
    }
}

#[tokio::test]
async fn before_the_first_verdict_nothing_serves() {
    let health = Health::builder()
        .add(
            Dependency::new("hangs", async || {
                std::future::pending::<()>().await;
                Ok(Outcome::up())
            })
            .timeout(Duration::from_secs(600)),
        )
        .answer_within(Duration::from_millis(50))
        .build();
    let mut client = client(serve(HealthLayer::new(health)).await).await;
    let mut watch = watch(&mut client, "").await;
    assert_eq!(watch.next().await, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "").await, Ok(NOT_SERVING));
}

#[tokio::test]
async fn list_is_everything_that_the_asker_may_know_of() {
    let switch = Switch::off();
    let names = |expected: &[(&str, i32)]| {
        let expected = expected.iter().map(|(name, s)| ((*name).to_owned(), *s));
        Ok::<_, Code>(expected.collect::<std::collections::BTreeMap<_, _>>())
    };
    let stranger = [
        ("", SERVING),
        ("healthy", SERVING),
        ("unhealthy", NOT_SERVING),
        ("fine", SERVING),
        ("moody", SERVING),
        ("ill", NOT_SERVING),
        ("declared", SERVING),
        ("empty", SERVING),
    ];
    let dependencies = [
        ("always", SERVING),
        ("switch", NOT_SERVING),
        ("needed", NOT_SERVING),
    ];
    let friend: Vec<_> = stranger.into_iter().chain(dependencies).collect();
    let layer = HealthLayer::new(health(&switch));
    let to_stranger = list(channel(serve(layer.clone()).await).await).await;
    assert_eq!(to_stranger, names(&stranger));
    let address = serve(layer.details(Access::loopback())).await;
    assert_eq!(list(channel(address).await).await, names(&friend));
    let mut client = client(address).await;
    for (name, status) in dependencies {
        assert_eq!(check(&mut client, name).await, Ok(status), "{name:?}");
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(status), "{name:?}");
    }
}

/// grpc-go: `TestListResourceExhausted`.
#[tokio::test]
async fn a_list_of_more_than_100_is_refused() {
    for (count, expected) in [(99, Ok(100)), (100, Err(Code::ResourceExhausted))] {
        let mut builder = Health::builder();
        for number in 0..count {
            builder = builder.map_grpc_service(format!("service-{number}"), Probe::Full);
        }
        let address = serve(HealthLayer::new(builder.build())).await;
        let found = list(channel(address).await).await;
        assert_eq!(found.map(|statuses| statuses.len()), expected);
    }
}

#[tokio::test]
async fn who_may_not_ask_is_denied_or_hears_of_no_service() {
    let layer = HealthLayer::new(Health::builder().build()).allow(Access::nobody());
    for (layer, expected) in [
        (layer.clone(), Code::PermissionDenied),
        (layer.forward_denied(), Code::Unimplemented),
    ] {
        let address = serve(layer).await;
        let mut client = client(address).await;
        assert_eq!(check(&mut client, "").await, Err(expected));
        let watch = client.watch(grpc::ask("")).await;
        assert_eq!(watch.expect_err("refused").code(), expected);
        assert_eq!(list(channel(address).await).await, Err(expected));
    }
}

#[test]
#[should_panic(expected = "no dependency is in the group \"orders\"")]
fn a_service_of_a_group_without_members_is_refused() {
    let builder = Health::builder().map_grpc_service("shop.v1.Orders", Probe::group("orders"));
    builder.build();
}

/// The dependency answers well, and the app wants no traffic all the same.
#[tokio::test]
async fn draining_that_begins_while_a_check_waits_is_heard() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("database", gate.check()).group("orders"))
        .answer_within(Duration::from_secs(60))
        .build();
    let address = serve(HealthLayer::new(health.clone())).await;
    let mut client = client(address).await;
    let waiting = tokio::spawn(async move { check(&mut client, "orders").await });
    soon(async {
        while gate.runs() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    health.set_draining(true);
    gate.pass.add_permits(1);
    assert_eq!(waiting.await.expect("no panic"), Ok(NOT_SERVING));
}

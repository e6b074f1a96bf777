//! `Check`, `Watch` and `List` through a tonic server and the tonic client.

use std::{collections::BTreeMap, future::pending, time::Duration};

use tonic::Code;
use tower_health::{Access, Dependency, Health, Outcome, Probe};

use crate::helpers::{
    gate::Gate,
    grpc::{
        NOT_SERVING, SERVICE_UNKNOWN, SERVING, ask, becomes, channel, check, client, list, serve,
        watch,
    },
    switch::Switch,
};
use crate::support::{MAXIMUM_WAIT, wait_until};

/// Two services of the app: one whose dependency is up, one whose dependency the test sets.
fn health(switch: &Switch) -> Health {
    let needed = switch.dependency("needed").exclude_from_readiness();
    Health::builder()
        .add(Dependency::new("always", async || Ok(Outcome::up())).group("fine"))
        .add(switch.dependency("switch").optional().group("mixed"))
        .add(needed.group("failing"))
        .group("declared", ["always"])
        .group("empty", [""; 0])
        .map_grpc_service("healthy", Probe::group("fine"))
        .map_grpc_service("unhealthy", Probe::group("failing"))
        .build()
}

#[tokio::test]
async fn check_answers_every_known_name() {
    let health = health(&Switch::off());
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
    // Name, in rotation, while draining.
    let table = [
        ("", Ok(SERVING), Ok(NOT_SERVING)),
        ("healthy", Ok(SERVING), Ok(NOT_SERVING)),
        ("unhealthy", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        // An optional dependency that is down changes no name but its own.
        ("fine", Ok(SERVING), Ok(NOT_SERVING)),
        ("mixed", Ok(SERVING), Ok(NOT_SERVING)),
        ("failing", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("always", Ok(SERVING), Ok(NOT_SERVING)),
        ("unregistered", Err(Code::NotFound), Err(Code::NotFound)),
        // A prober of these would restart the app while it drains.
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

#[tokio::test]
async fn watch_of_an_unknown_name_follows_it_once_known() {
    let switch = Switch::off();
    let health = Health::builder().build();
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
    let mut watch = watch(&mut client, "later").await;
    assert_eq!(watch.next().await, Ok(SERVICE_UNKNOWN));
    let dependency = switch.dependency("database").group("later");
    health.add(dependency).expect("a new name");
    assert_eq!(watch.next().await, Ok(NOT_SERVING));
    switch.set(true);
    assert_eq!(watch.next().await, Ok(SERVING));
    assert!(health.remove("database"));
    assert_eq!(watch.next().await, Ok(SERVICE_UNKNOWN));
}

#[tokio::test]
async fn draining_is_sent_at_once_and_overrides_results() {
    let health = health(&Switch::on());
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
    assert_eq!(check(&mut client, "unhealthy").await, Ok(SERVING));
    let mut watches = Vec::new();
    for name in ["", "healthy", "unhealthy"] {
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(SERVING), "{name:?}");
        watches.push(watch);
    }
    // Long enough that nothing below is the end of a stream.
    let draining = tokio::spawn({
        let health = health.clone();
        async move { health.drain(Duration::from_secs(600)).await }
    });
    for watch in &mut watches {
        assert_eq!(watch.next().await, Ok(NOT_SERVING));
    }
    let new = Dependency::new("new", async || Ok(Outcome::up()));
    health.add(new).expect("a new name");
    for name in ["", "healthy", "new"] {
        assert_eq!(check(&mut client, name).await, Ok(NOT_SERVING), "{name:?}");
        let mut late = watch(&mut client, name).await;
        assert_eq!(late.next().await, Ok(NOT_SERVING), "{name:?}");
    }
    draining.abort();
}

#[tokio::test]
async fn draining_during_a_check_is_not_serving() {
    let gate = Gate::new();
    let health = Health::builder()
        .check("database", gate.check())
        .answer_within(2 * MAXIMUM_WAIT)
        .build();
    let mut client = client(serve(health.grpc_service()).await).await;
    let waiting = tokio::spawn(async move { check(&mut client, "").await });
    wait_until("the run starts", MAXIMUM_WAIT, async || gate.runs() == 1).await;
    health.set_draining(true);
    gate.pass.add_permits(1);
    assert_eq!(waiting.await.expect("no panic"), Ok(NOT_SERVING));
}

#[tokio::test]
async fn names_and_messages_have_a_maximum_length() {
    let mut client = client(serve(Health::builder().build().grpc_service()).await).await;
    for (length, expected) in [
        (200, Code::NotFound),
        (201, Code::InvalidArgument),
        // With its field number and its length the message has 1,024 bytes.
        (1_021, Code::InvalidArgument),
        (1_022, Code::OutOfRange),
    ] {
        let name = "x".repeat(length);
        let found = check(&mut client, &name).await;
        assert_eq!(found, Err(expected), "{length}");
        if expected != Code::NotFound {
            let refused = client.watch(ask(&name)).await.expect_err("too long");
            assert_eq!(refused.code(), expected, "{length}");
        }
    }
}

#[tokio::test]
async fn every_watch_of_a_name_receives_each_change() {
    let switch = Switch::off();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
        .build();
    let service = health.grpc_service().details(Access::loopback());
    let address = serve(service).await;
    for name in ["", "shop.v1.Orders", "orders"] {
        switch.set(false);
        let (mut one, mut other) = (client(address).await, client(address).await);
        becomes(&mut one, name, NOT_SERVING).await;
        let mut watches = [
            watch(&mut one, name).await,
            watch(&mut one, name).await,
            watch(&mut other, name).await,
        ];
        for expected in [NOT_SERVING, SERVING, NOT_SERVING, SERVING] {
            switch.set(expected == SERVING);
            for watch in &mut watches {
                assert_eq!(watch.next().await, Ok(expected), "{name:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_result_in_time_a_name_is_not_serving() {
    let hanging = Dependency::new("hanging", || async {
        pending::<()>().await;
        Ok(Outcome::up())
    });
    let health = Health::builder()
        .add(hanging.timeout(2 * MAXIMUM_WAIT))
        .answer_within(Duration::from_millis(50))
        .build();
    let mut client = client(serve(health.grpc_service()).await).await;
    let mut watch = watch(&mut client, "").await;
    assert_eq!(watch.next().await, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "").await, Ok(NOT_SERVING));
}

#[tokio::test]
async fn list_answers_every_name_with_details_only() {
    let owned = |expected: &[(&str, i32)]| {
        let expected = expected.iter().map(|(name, s)| ((*name).to_owned(), *s));
        Ok::<_, Code>(expected.collect::<BTreeMap<_, _>>())
    };
    let mapped = [
        ("", SERVING),
        ("healthy", SERVING),
        ("unhealthy", NOT_SERVING),
    ];
    let with_details = [
        ("fine", SERVING),
        ("mixed", SERVING),
        ("failing", NOT_SERVING),
        ("declared", SERVING),
        ("empty", SERVING),
        ("always", SERVING),
        ("switch", NOT_SERVING),
        ("needed", NOT_SERVING),
    ];
    let all: Vec<_> = mapped.into_iter().chain(with_details).collect();
    let service = health(&Switch::off()).grpc_service();
    let unauthorized = list(channel(serve(service.clone()).await).await).await;
    assert_eq!(unauthorized, owned(&mapped));
    let address = serve(service.details(Access::loopback())).await;
    assert_eq!(list(channel(address).await).await, owned(&all));
    let mut client = client(address).await;
    for (name, status) in with_details {
        assert_eq!(check(&mut client, name).await, Ok(status), "{name:?}");
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(status), "{name:?}");
    }
}

#[tokio::test]
async fn a_list_of_more_than_100_names_is_refused() {
    for (mapped, expected) in [(99, Ok(100)), (100, Err(Code::ResourceExhausted))] {
        // Names that the caller may not see do not count.
        let mut builder = Health::builder().check("hidden", async || Ok(Outcome::up()));
        for number in 0..mapped {
            builder = builder.map_grpc_service(format!("service-{number}"), Probe::Full);
        }
        let address = serve(builder.build().grpc_service()).await;
        let found = list(channel(address).await).await;
        assert_eq!(found.map(|statuses| statuses.len()), expected);
    }
}

#[test]
#[should_panic(expected = "no dependency is in the group \"orders\"")]
fn a_service_mapped_to_an_empty_group_panics() {
    let builder = Health::builder().map_grpc_service("shop.v1.Orders", Probe::group("orders"));
    builder.build();
}

//! `Check`, `Watch` and `List` through a tonic server and the tonic client: the tables that the tests of
//! other implementations assert.

use crate::helpers::grpc;
use std::time::Duration;

use crate::helpers::gate::Gate;
use crate::helpers::grpc::{
    NOT_SERVING, SERVICE_UNKNOWN, SERVING, channel, check, client, list, serve, soon, watch,
};
use crate::helpers::switch::Switch;
use tonic::Code;
use tower_health::{Access, Dependency, Health, Outcome, Probe};

/// Two services of the app: one whose dependency is up, one whose dependency the test sets.
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
async fn check_answers_every_known_name() {
    let switch = Switch::off();
    let health = health(&switch);
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
    let table = [
        ("", Ok(SERVING), Ok(NOT_SERVING)),
        ("healthy", Ok(SERVING), Ok(NOT_SERVING)),
        ("unhealthy", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        // Groups go by their own names, too; an optional member does not take its group down.
        ("fine", Ok(SERVING), Ok(NOT_SERVING)),
        ("moody", Ok(SERVING), Ok(NOT_SERVING)),
        ("ill", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("unregistered", Err(Code::NotFound), Err(Code::NotFound)),
        ("always", Ok(SERVING), Ok(NOT_SERVING)),
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

/// The same, B: an unknown service is watched until it becomes known, and follows its changes.
#[tokio::test]
async fn watch_of_an_unknown_name_follows_it_once_known() {
    let switch = Switch::off();
    let health = Health::builder().build();
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
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
async fn draining_is_sent_at_once_and_overrules_results() {
    let switch = Switch::on();
    let health = health(&switch);
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
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
    let mut client = client(serve(Health::builder().build().grpc_service()).await).await;
    let table = [(200, Code::NotFound), (201, Code::InvalidArgument)];
    for (length, expected) in table {
        let found = check(&mut client, &"x".repeat(length)).await;
        assert_eq!(found, Err(expected), "{length}");
    }
    let refused = client.watch(grpc::ask(&"x".repeat(201))).await;
    let code = refused.expect_err("too long").code();
    assert_eq!(code, Code::InvalidArgument);
}

/// grpc-go: `MultipleClients`, `SameStatus`, `ServiceStatusSetBeforeStartingServer`,
/// `SetServiceStatusBeforeClientCallsWatch`, `DefaultStatusChange`, `OverallServerHealthChange`.
#[tokio::test]
async fn each_watch_receives_each_change_once() {
    let switch = Switch::off();
    let health = Health::builder()
        .add(switch.dependency("database").group("orders"))
        .map_grpc_service("shop.v1.Orders", Probe::group("orders"))
        .build();
    health.report().await;
    let service = health.grpc_service().details(Access::loopback());
    let address = serve(service).await;
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
        assert!(switch.runs() > before, "checks run while a watch is open");
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
async fn before_the_first_result_names_are_not_serving() {
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
    let mut client = client(serve(health.grpc_service()).await).await;
    let mut watch = watch(&mut client, "").await;
    assert_eq!(watch.next().await, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "").await, Ok(NOT_SERVING));
}

#[tokio::test]
async fn list_answers_every_name_with_details_only() {
    let switch = Switch::off();
    let names = |expected: &[(&str, i32)]| {
        let expected = expected.iter().map(|(name, s)| ((*name).to_owned(), *s));
        Ok::<_, Code>(expected.collect::<std::collections::BTreeMap<_, _>>())
    };
    let mapped = [
        ("", SERVING),
        ("healthy", SERVING),
        ("unhealthy", NOT_SERVING),
    ];
    let rest = [
        ("fine", SERVING),
        ("moody", SERVING),
        ("ill", NOT_SERVING),
        ("declared", SERVING),
        ("empty", SERVING),
        ("always", SERVING),
        ("switch", NOT_SERVING),
        ("needed", NOT_SERVING),
    ];
    let all: Vec<_> = mapped.into_iter().chain(rest).collect();
    let service = health(&switch).grpc_service();
    let unauthorized = list(channel(serve(service.clone()).await).await).await;
    assert_eq!(unauthorized, names(&mapped));
    let address = serve(service.details(Access::loopback())).await;
    assert_eq!(list(channel(address).await).await, names(&all));
    let mut client = client(address).await;
    for (name, status) in rest {
        assert_eq!(check(&mut client, name).await, Ok(status), "{name:?}");
        let mut watch = watch(&mut client, name).await;
        assert_eq!(watch.next().await, Ok(status), "{name:?}");
    }
}

/// grpc-go: `TestListResourceExhausted`.
#[tokio::test]
async fn a_list_of_more_than_100_names_is_refused() {
    for (count, expected) in [(99, Ok(100)), (100, Err(Code::ResourceExhausted))] {
        let mut builder = Health::builder();
        for number in 0..count {
            builder = builder.map_grpc_service(format!("service-{number}"), Probe::Full);
        }
        let address = serve(builder.build().grpc_service()).await;
        let found = list(channel(address).await).await;
        assert_eq!(found.map(|statuses| statuses.len()), expected);
    }
}

#[tokio::test]
async fn a_caller_that_is_not_allowed_is_denied() {
    let service = Health::builder().build().grpc_service();
    let address = serve(service.allow(Access::nobody())).await;
    let mut client = client(address).await;
    let denied = Code::PermissionDenied;
    assert_eq!(check(&mut client, "").await, Err(denied));
    let watch = client.watch(grpc::ask("")).await;
    assert_eq!(watch.expect_err("refused").code(), denied);
    assert_eq!(list(channel(address).await).await, Err(denied));
}

#[test]
#[should_panic(expected = "no dependency is in the group \"orders\"")]
fn a_service_mapped_to_an_empty_group_panics() {
    let builder = Health::builder().map_grpc_service("shop.v1.Orders", Probe::group("orders"));
    builder.build();
}

/// The dependency is up, and the app is draining.
#[tokio::test]
async fn draining_during_a_check_is_not_serving() {
    let gate = Gate::new();
    let health = Health::builder()
        .add(Dependency::new("database", gate.check()).group("orders"))
        .answer_within(Duration::from_secs(60))
        .build();
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
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

//! `Check`, `Watch` and `List` through a tonic server and the tonic client.

use std::{collections::BTreeMap, future::pending, time::Duration};

use tonic::{Code, Request};
use tower_health::{Access, Dependency, Health, Outcome, Probe};

use crate::helpers::{
    gate::Gate,
    grpc::{
        HealthListRequest, NOT_SERVING, SERVICE_UNKNOWN, SERVING, ask, check, client, list, serve,
        status, watch,
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
async fn every_method_answers_the_names_that_a_caller_may_see() {
    let health = health(&Switch::off());
    let service = health.grpc_service();
    let address = serve(service.clone().details(Access::bearer(["token"]))).await;
    let mut one = client(address).await;
    // Name, in rotation, while draining. First those that callers without details may see.
    let table = [
        ("", Ok(SERVING), Ok(NOT_SERVING)),
        ("healthy", Ok(SERVING), Ok(NOT_SERVING)),
        ("unhealthy", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        // An optional dependency that is down changes no name but its own.
        ("fine", Ok(SERVING), Ok(NOT_SERVING)),
        ("mixed", Ok(SERVING), Ok(NOT_SERVING)),
        ("failing", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("declared", Ok(SERVING), Ok(NOT_SERVING)),
        ("empty", Ok(SERVING), Ok(NOT_SERVING)),
        ("always", Ok(SERVING), Ok(NOT_SERVING)),
        ("switch", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("needed", Ok(NOT_SERVING), Ok(NOT_SERVING)),
        ("unregistered", Err(Code::NotFound), Err(Code::NotFound)),
        // A prober of these would restart the app while it drains.
        ("liveness", Ok(SERVING), Ok(SERVING)),
        ("startup", Ok(SERVING), Ok(SERVING)),
        ("readiness", Ok(SERVING), Ok(NOT_SERVING)),
    ];
    for (token, listed) in [("token", 11), ("another", 3)] {
        let authorization = format!("Bearer {token}").parse().expect("a value");
        let mut request = Request::new(HealthListRequest {});
        let metadata = request.metadata_mut();
        metadata.insert("authorization", authorization);
        let metadata = metadata.clone();
        let found = list(address, request).await.expect("a list");
        let names = table[..listed].iter();
        let names = names.map(|(name, found, _)| ((*name).to_owned(), found.expect("a status")));
        assert_eq!(found, names.collect::<BTreeMap<_, _>>());
        for (index, (name, expected, _)) in table.into_iter().enumerate() {
            let is_shown = index < listed || index > 11;
            let expected = if is_shown {
                expected
            } else {
                Err(Code::NotFound)
            };
            let mut request = Request::new(ask(name));
            *request.metadata_mut() = metadata.clone();
            let found = status(one.check(request).await);
            assert_eq!(found, expected, "{token} {name:?}");
        }
    }
    let mut all = client(serve(service.details(Access::loopback())).await).await;
    for (name, expected, _) in table {
        // A watch says what `Check` says; unlike it, a watch of an unknown name stays open.
        let found = watch(&mut all, name).await.next().await;
        assert_eq!(found, Ok(expected.unwrap_or(SERVICE_UNKNOWN)), "{name:?}");
        let hidden = watch(&mut one, name).await.next().await;
        let is_hidden = matches!(hidden, Ok(SERVICE_UNKNOWN));
        let position = table.iter().position(|row| row.0 == name).expect("a row");
        assert_eq!(is_hidden, (3..12).contains(&position), "{name:?}");
    }
    health.set_draining(true);
    for (name, _, expected) in table {
        assert_eq!(check(&mut all, name).await, expected, "{name:?}, draining");
    }
    health.set_draining(false);
    assert_eq!(check(&mut all, "").await, Ok(SERVING));
}

/// Behind a proxy `loopback` shows no names, and no answer shows whether a hidden name exists.
#[tokio::test]
async fn a_hidden_name_is_answered_like_an_unknown_one() {
    let service = health(&Switch::on()).grpc_service();
    let address = serve(service.details(Access::loopback())).await;
    let mut client = client(address).await;
    let mut found = Vec::new();
    for name in ["always", "fine", "unregistered"] {
        let mut request = Request::new(ask(name));
        let proxied = "127.0.0.1".parse().expect("a value");
        request.metadata_mut().insert("x-forwarded-for", proxied);
        let status = client.check(request).await.expect_err("not found");
        found.push((status.code(), status.message().to_owned()));
    }
    assert_eq!(found[2].0, Code::NotFound);
    assert!(found.iter().all(|one| *one == found[2]), "{found:?}");
}

#[tokio::test]
async fn a_caller_that_is_not_allowed_is_denied() {
    let service = health(&Switch::on()).grpc_service();
    let service = service.allow(Access::nobody());
    let address = serve(service.details(Access::everybody())).await;
    let mut client = client(address).await;
    let denied = Code::PermissionDenied;
    for name in ["", "always", "unregistered"] {
        assert_eq!(check(&mut client, name).await, Err(denied), "{name:?}");
        let refused = client.watch(ask(name)).await.expect_err("refused");
        assert_eq!(refused.code(), denied, "{name:?}");
    }
    assert_eq!(list(address, HealthListRequest {}).await, Err(denied));
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
async fn names_messages_and_lists_are_bounded() {
    let mut one = client(serve(Health::builder().build().grpc_service()).await).await;
    for (length, expected) in [
        (200, Code::NotFound),
        (201, Code::InvalidArgument),
        // With its field number and its length the message has 1,024 bytes.
        (1_021, Code::InvalidArgument),
        (1_022, Code::OutOfRange),
    ] {
        let name = "x".repeat(length);
        assert_eq!(check(&mut one, &name).await, Err(expected), "{length}");
        if expected != Code::NotFound {
            let refused = one.watch(ask(&name)).await.expect_err("too long");
            assert_eq!(refused.code(), expected, "{length}");
        }
    }
    for (mapped, expected) in [(99, Ok(100)), (100, Err(Code::ResourceExhausted))] {
        // Names that the caller may not see do not count.
        let mut builder = Health::builder().check("hidden", async || Ok(Outcome::up()));
        for number in 0..mapped {
            builder = builder.map_grpc_service(format!("service-{number}"), Probe::Full);
        }
        let address = serve(builder.build().grpc_service()).await;
        let found = list(address, HealthListRequest {}).await;
        assert_eq!(found.map(|statuses| statuses.len()), expected);
    }
}

#[tokio::test]
async fn without_a_result_in_time_a_name_is_not_serving() {
    let hanging = Dependency::new("hanging", async || pending().await);
    let health = Health::builder()
        .add(hanging.timeout(2 * MAXIMUM_WAIT))
        .answer_within(Duration::from_millis(50))
        .build();
    let mut client = client(serve(health.grpc_service()).await).await;
    let first = watch(&mut client, "").await.next().await;
    assert_eq!(first, Ok(NOT_SERVING));
    assert_eq!(check(&mut client, "").await, Ok(NOT_SERVING));
}

#[test]
#[should_panic(expected = "no dependency is in the group \"orders\"")]
fn a_service_mapped_to_an_empty_group_panics() {
    let builder = Health::builder().map_grpc_service("shop.v1.Orders", Probe::group("orders"));
    builder.build();
}

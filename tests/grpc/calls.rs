//! `Check`, `Watch` and `List` through a tonic server and the tonic client.

use std::{collections::BTreeMap, future::pending, time::Duration};

use tokio::{select, sync::oneshot, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Endpoint, Server},
};
use tonic_health::pb::health_client::HealthClient;
use tower_health::{Access, Dependency, Health, Outcome, Probe};

use crate::helpers::{
    gate::Gate,
    grpc::{
        HealthListRequest, NOT_SERVING, SERVICE_UNKNOWN, SERVING, ask, check, client, list, serve,
        soon, watch,
    },
    server::listen,
    switch::Switch,
};
use crate::support::{MAXIMUM_WAIT, wait_until};

#[tokio::test]
async fn every_method_answers_the_names_that_a_caller_may_see() {
    let switch = Switch::off();
    let needed = switch.dependency("needed").exclude_from_readiness();
    let health = Health::builder()
        .add(Dependency::new("always", async || Ok(Outcome::up())).group("fine"))
        .add(switch.dependency("switch").optional().group("mixed"))
        .add(needed.group("failing"))
        .group("declared", ["always"])
        .group("empty", [""; 0])
        .map_grpc_service("healthy", Probe::group("fine"))
        .map_grpc_service("unhealthy", Probe::group("failing"))
        .build();
    // Name, in rotation, while draining. First those that callers without details may see.
    let table = [
        ("", SERVING, NOT_SERVING),
        ("healthy", SERVING, NOT_SERVING),
        ("unhealthy", NOT_SERVING, NOT_SERVING),
        // An optional dependency that is down changes no name but its own.
        ("fine", SERVING, NOT_SERVING),
        ("mixed", SERVING, NOT_SERVING),
        ("failing", NOT_SERVING, NOT_SERVING),
        ("declared", SERVING, NOT_SERVING),
        ("empty", SERVING, NOT_SERVING),
        ("always", SERVING, NOT_SERVING),
        ("switch", NOT_SERVING, NOT_SERVING),
        ("needed", NOT_SERVING, NOT_SERVING),
        // A prober of these would restart the app while it drains.
        ("liveness", SERVING, SERVING),
        ("startup", SERVING, SERVING),
        ("readiness", SERVING, NOT_SERVING),
        ("unregistered", SERVICE_UNKNOWN, SERVICE_UNKNOWN),
    ];
    for (details, listed) in [(Access::loopback(), 11), (Access::nobody(), 3)] {
        let address = serve(health.grpc_service().details(details)).await;
        let found = list(address, HealthListRequest {}).await.expect("a list");
        let names = table[..listed].iter();
        let names = names.map(|(name, status, _)| ((*name).to_owned(), *status));
        assert_eq!(found, names.collect::<BTreeMap<_, _>>());
        let mut client = client(address).await;
        for (index, (name, status, draining)) in table.into_iter().enumerate() {
            let first = watch(&mut client, name).await.next().await;
            if (listed..11).contains(&index) || status == SERVICE_UNKNOWN {
                assert_eq!(first, Ok(SERVICE_UNKNOWN), "{name:?}");
                // Nothing shows whether a hidden name exists.
                let error = client.check(ask(name)).await.expect_err("not found");
                let expected = (Code::NotFound, "unknown service");
                assert_eq!((error.code(), error.message()), expected, "{name:?}");
            } else {
                assert_eq!(first, Ok(status), "{name:?}");
                assert_eq!(check(&mut client, name).await, Ok(status), "{name:?}");
                health.set_draining(true);
                assert_eq!(check(&mut client, name).await, Ok(draining), "{name:?}");
                health.set_draining(false);
            }
        }
    }
}

#[tokio::test]
async fn a_caller_that_is_not_allowed_is_denied() {
    let service = Health::builder().build().grpc_service();
    let service = service.allow(Access::nobody()).details(Access::everybody());
    let found = check(&mut client(serve(service).await).await, "").await;
    assert_eq!(found, Err(Code::PermissionDenied));
}

#[tokio::test]
async fn watch_of_an_unknown_name_follows_it_once_known() {
    let switch = Switch::off();
    // A tenth of the limit may be watches of unknown names.
    let health = Health::builder().max_watches_per_connection(10).build();
    let service = health.grpc_service().details(Access::loopback());
    let mut client = client(serve(service).await).await;
    let mut later = watch(&mut client, "later").await;
    assert_eq!(later.next().await, Ok(SERVICE_UNKNOWN));
    let refused = client
        .watch(ask("another"))
        .await
        .expect_err("over a limit");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(watch(&mut client, "").await.next().await, Ok(SERVING));

    let dependency = switch.dependency("database").group("later");
    health.add(dependency).expect("a new name");
    assert_eq!(later.next().await, Ok(NOT_SERVING));
    let another = watch(&mut client, "another").await.next().await;
    assert_eq!(another, Ok(SERVICE_UNKNOWN), "there is room");
    switch.set(true);
    assert_eq!(later.next().await, Ok(SERVING));
    assert!(health.remove("database"));
    assert_eq!(later.next().await, Ok(SERVICE_UNKNOWN));
}

#[tokio::test]
async fn open_watches_are_limited_per_connection_and_address() {
    let builder = Health::builder().max_watches_per_connection(2);
    let address = serve(builder.max_watches_per_ip(3).build().grpc_service()).await;
    let (mut clients, mut open) = (Vec::new(), Vec::new());
    for (source, allowed) in [("127.0.0.1", 2), ("127.0.0.1", 1), ("127.0.0.2", 2)] {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let endpoint = endpoint.local_address(source.parse().ok());
        let mut client = HealthClient::new(endpoint.connect().await.expect("connects"));
        for _ in 0..allowed {
            open.push(watch(&mut client, "").await);
        }
        let refused = client.watch(ask("")).await.expect_err("over a limit");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        clients.push(client);
    }
    // A watch that ends makes room.
    open.remove(0);
    soon(async { while clients[1].watch(ask("")).await.is_err() {} }).await;
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
    let mut client = client(serve(Health::builder().build().grpc_service()).await).await;
    for (length, expected) in [
        (200, Code::NotFound),
        (201, Code::InvalidArgument),
        // With its field number and its length the message has 1,024 bytes.
        (1_021, Code::InvalidArgument),
        (1_022, Code::OutOfRange),
    ] {
        let found = check(&mut client, &"x".repeat(length)).await;
        assert_eq!(found, Err(expected), "{length}");
    }
    let refused = client.watch(ask(&"x".repeat(201))).await;
    assert_eq!(refused.expect_err("long").code(), Code::InvalidArgument);
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

/// Without a drain the server waits for its clients, as with tonic-health.
#[tokio::test]
async fn a_drain_ends_open_watches_and_the_server_stops() {
    let some_time = Duration::from_millis(100);
    for drain in ["after a delay", "at once", "never"] {
        let health = Health::builder().build();
        let server = Server::builder().add_service(health.grpc_service());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
            match drain {
                "after a delay" => health.drain(some_time).await,
                "at once" => health.set_draining(true),
                _ => {}
            }
        };
        let (listener, address) = listen().await;
        let incoming = TcpListenerStream::new(listener);
        let server = tokio::spawn(server.serve_with_incoming_shutdown(incoming, shutdown));
        let mut client = client(address).await;
        let mut watches = Vec::new();
        for name in ["liveness", "unknown", ""] {
            let mut watch = watch(&mut client, name).await;
            watch.next().await.expect("a status");
            watches.push(watch);
        }
        stop.send(()).expect("still listening");
        if drain == "never" {
            select! {
                end = watches[0].next() => panic!("{end:?}"),
                () = sleep(some_time) => assert!(!server.is_finished()),
            }
            drop((watches, client));
        } else {
            assert_eq!(watches[2].next().await, Ok(NOT_SERVING));
            for watch in &mut watches {
                assert_eq!(watch.next().await, Err(Code::Unavailable), "{drain}");
            }
        }
        soon(server).await.expect("no panic").expect("stops");
    }
}

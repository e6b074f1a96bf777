//! Open watches while a server stops.

use std::time::Duration;

use tokio::{select, sync::oneshot, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::Server};
use tower_health::{Health, Outcome};

use crate::helpers::{
    grpc::{NOT_SERVING, client, soon, watch},
    server::listen,
};

/// Without a drain the server waits for its clients, as with tonic-health.
#[tokio::test]
async fn a_drain_ends_open_watches_and_the_server_stops() {
    let some_time = Duration::from_millis(100);
    for drain in ["after a delay", "at once", "never"] {
        let builder = Health::builder().check("database", async || Ok(Outcome::up()));
        let health = builder.build();
        let service = health.grpc_service();
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
        let server = Server::builder().add_service(service);
        let server =
            server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown);
        let server = tokio::spawn(server);
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

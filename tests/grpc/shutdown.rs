//! Open watches while a server stops.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    service::Routes,
    transport::{Error, Server},
};
use tower_health::{Health, Outcome};

use crate::helpers::grpc::{NOT_SERVING, SERVING, client, listener, soon, watch};

fn health() -> Health {
    let builder = Health::builder().check("database", async || Ok(Outcome::up()));
    builder.build()
}

/// A tonic server that stops gracefully after the sender's message and `before_stop`.
async fn stoppable(
    routes: Routes,
    before_stop: impl Future<Output = ()> + Send + 'static,
) -> (
    SocketAddr,
    oneshot::Sender<()>,
    JoinHandle<Result<(), Error>>,
) {
    let (listener, address) = listener().await;
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
        before_stop.await;
    };
    let server = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown);
    (address, stop, tokio::spawn(server))
}

#[tokio::test]
async fn a_drain_ends_open_watches_and_the_server_stops() {
    for with_delay in [true, false] {
        let health = health();
        let routes = Routes::new(health.grpc_service());
        let (address, stop, server) = stoppable(routes, async move {
            if with_delay {
                health.drain(Duration::from_millis(100)).await;
            } else {
                health.set_draining(true);
            }
        })
        .await;
        let mut client = client(address).await;
        let mut watches = Vec::new();
        for name in ["", "unknown", "liveness"] {
            let mut watch = watch(&mut client, name).await;
            watch.next().await.expect("a status");
            watches.push(watch);
        }
        stop.send(()).expect("still listening");
        assert_eq!(watches[0].next().await, Ok(NOT_SERVING));
        for watch in &mut watches {
            assert_eq!(watch.next().await, Err(Code::Unavailable));
        }
        soon(server).await.expect("no panic").expect("stops");
    }
}

/// As with tonic-health: the server waits for its clients, and stops once they have disconnected.
#[tokio::test]
async fn without_a_drain_open_watches_hold_the_server() {
    let (address, stop, server) = stoppable(Routes::new(health().grpc_service()), async {}).await;
    let mut client = client(address).await;
    let mut open = watch(&mut client, "").await;
    assert_eq!(open.next().await, Ok(SERVING));
    stop.send(()).expect("still listening");
    let silent = open.is_silent_for(Duration::from_millis(100)).await;
    assert!(silent && !server.is_finished());
    drop((open, client));
    soon(server).await.expect("no panic").expect("stops");
}

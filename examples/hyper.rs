//! Plain hyper, HTTP/1.1 and HTTP/2: the layer around a tower service.
//!
//! ```sh
//! cargo run --example hyper --features signal,tracing
//! ```
#![allow(missing_docs)]

use std::{convert::Infallible, env, error::Error, net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, service_fn};
use tower_health::{Access, Health, HealthLayer, Outcome, PeerAddr, service::ResponseBody};

/// Longer than load balancers need to notice.
const DRAIN: Duration = Duration::from_secs(5);

type AppResponse = Response<ResponseBody<Full<Bytes>>>;

/// The app with its probes, for one connection from `peer`.
fn app(
    health: Health,
    peer: SocketAddr,
) -> impl Service<Request<Incoming>, Response = AppResponse, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let hello = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::from("hello\n")))
    });
    ServiceBuilder::new()
        // hyper does not pass on the peer address; without it no caller counts as loopback.
        .map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        })
        .layer(HealthLayer::new(health).details(Access::loopback()))
        .service(hello)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("http://{}/readyz", listener.local_addr()?);
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();

    let connections = GracefulShutdown::new();
    let mut drained = pin!(health.drain_on_shutdown_signal(DRAIN));
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut drained => break,
        };
        let service = TowerToHyperService::new(app(health.clone(), peer));
        let server = auto::Builder::new(TokioExecutor::new());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            // An error here is a client that disconnected.
            let _ = connection.await;
        });
    }
    drop(listener);
    // Open requests finish.
    connections.shutdown().await;
    Ok(())
}

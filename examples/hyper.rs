//! Plain hyper, HTTP/1.1 and HTTP/2: the layer around a tower service, and the peer's address noted by hand.
#![allow(missing_docs)]

use std::{convert::Infallible, env, error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, service_fn};
use tower_health::{Access, Health, HealthLayer, Outcome, PeerAddr, ResponseBody};

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// The app with its probes, for one connection from `peer`.
fn app(
    health: Health,
    peer: SocketAddr,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send
{
    let hello = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::from("hello\n")))
    });
    ServiceBuilder::new()
        // hyper notes no peer: without this nobody is known to be on loopback.
        .map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        })
        .layer(HealthLayer::new(health).details(Access::loopback()))
        .service(hello)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let health = Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build();
    let listener = TcpListener::bind(addr).await?;
    println!("http://{}/readyz", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = TowerToHyperService::new(app(health.clone(), peer));
        tokio::spawn(async move {
            // A client that goes away is no error of ours.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

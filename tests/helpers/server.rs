//! Apps, and servers of them.

use std::{error::Error, net::SocketAddr};

use axum::Router;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tower_health::{Dependency, Failure, Health, Outcome, PeerAddr, Reason};

/// An app whose database is up.
pub fn up() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .build()
}

/// An app that has started and whose database, which is required, is down.
pub fn down() -> Health {
    let health = Health::builder()
        .check("database", async || Err(Failure::new(Reason::Refused)))
        .build();
    health.set_started();
    health
}

/// An app whose optional cache is down.
pub fn degraded() -> Health {
    Health::builder()
        .check("database", async || Ok(Outcome::up()))
        .add(Dependency::new("cache", async || Err(Failure::new(Reason::Refused))).optional())
        .build()
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// By `axum::serve`, with the peer address in each request.
pub async fn serve_axum(router: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// By hyper in both versions of HTTP, with upgrades and with the peer address in each request.
pub async fn serve_hyper<S, B>(service: S) -> SocketAddr
where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<Box<dyn Error + Send + Sync>>,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                service.call(request)
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let stream = TokioIo::new(stream);
                let _ = server.serve_connection_with_upgrades(stream, service).await;
            });
        }
    });
    address
}

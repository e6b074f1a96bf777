//! One app behind the layer, served in every way that the crate names.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    middleware::map_response,
    response::Response,
    routing::{any, get, post},
};
use http::{HeaderValue, Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, make::Shared};
use tower_health::{Access, Failure, Health, HealthLayer, Outcome, Reason};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// `Router::layer`, `axum::serve`.
    AxumLayer,
    /// The whole router wrapped, `axum::serve`.
    AxumFromOutside,
    /// The whole router wrapped, plain hyper in both versions.
    Hyper,
}

pub struct Served {
    pub address: SocketAddr,
    /// Whether a request reached the app that nobody sent as a request.
    pub smuggled: Arc<AtomicBool>,
}

impl Served {
    /// The app behind a layer whose required dependency is up or not.
    pub async fn by(served_by: ServedBy, up: bool) -> Self {
        let health = Health::builder()
            .check("database", move || async move {
                match up {
                    true => Ok(Outcome::up()),
                    false => Err(Failure::new(Reason::Refused)),
                }
            })
            .build();
        // Details are open: more of the crate's code is within reach of whoever asks.
        let layer = HealthLayer::new(health).details(Access::everybody());
        let smuggled = Arc::new(AtomicBool::new(false));
        let app = app(smuggled.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        match served_by {
            ServedBy::AxumLayer => {
                let app = app.layer(layer);
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            ServedBy::AxumFromOutside => {
                let app = Shared::new(layer.keep_body_type().layer(app));
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            ServedBy::Hyper => {
                tokio::spawn(serve_by_hyper(listener, layer.layer(app)));
            }
        }
        Self { address, smuggled }
    }
}

/// Every response of the app says that it is the app's.
fn app(smuggled: Arc<AtomicBool>) -> Router {
    Router::new()
        .route("/", get(async || "index"))
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/smuggled",
            any(async move || smuggled.store(true, Ordering::SeqCst)),
        )
        .layer(map_response(async |mut response: Response| {
            let yes = HeaderValue::from_static("yes");
            response.headers_mut().insert("x-inner", yes);
            response
        }))
}

async fn serve_by_hyper<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>
        + Service<Request<hyper::body::Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    <S as Service<Request<hyper::body::Incoming>>>::Future: Send,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await
        });
    }
}

//! The app's own service, `shop.v1.Orders`, written by hand: most apps have it generated.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::backends::{Cache, Database};

/// The longest wait of a call for a backend.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(2);

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    item: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Receipt {
    #[prost(int64, tag = "1")]
    number: i64,
}

#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) database: Database,
    pub(crate) cache: Cache,
}

impl NamedService for Orders {
    const NAME: &'static str = "shop.v1.Orders";
}

impl Service<http::Request<Body>> for Orders {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let place = Place(self.clone());
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/shop.v1.Orders/Place" => {
                    Grpc::new(ProstCodec::default()).unary(place, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// The one method: an order is a number in the database and a hit in the cache.
struct Place(Orders);

impl UnaryService<Order> for Place {
    type Response = Receipt;
    type Future = BoxFuture<Response<Receipt>, Status>;

    fn call(&mut self, order: Request<Order>) -> Self::Future {
        let Orders { database, cache } = self.0.clone();
        Box::pin(async move {
            if order.into_inner().item.is_empty() {
                return Err(Status::invalid_argument("no item"));
            }
            let both = async { tokio::join!(database.visit(), cache.hit()) };
            match timeout(BACKEND_TIMEOUT, both).await {
                Ok((Some(number), _)) => Ok(Response::new(Receipt { number })),
                _ => Err(Status::unavailable("the database does not answer")),
            }
        })
    }
}

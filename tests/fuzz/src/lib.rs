//! What the targets share: a request on its way through a layer, without a server.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower_health::{Access, Health, HealthLayer};
use tower_layer::Layer;
use tower_service::Service;

/// The app behind the layer.
#[derive(Clone, Copy, Debug)]
pub struct Inner;

impl<A> Service<Request<A>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<A>) -> Self::Future {
        let response = Response::builder().header("x-inner", "yes");
        ready(Ok(response.body(Full::default()).expect("valid")))
    }
}

/// Whether `access` allows a probe with this head.
pub fn allows(access: Access, headers: HeaderMap, peer: Option<std::net::IpAddr>) -> bool {
    let mut request = Request::builder().uri("/livez").body(()).expect("valid");
    *request.headers_mut() = headers;
    if let Some(peer) = peer {
        let peer = tower_health::PeerAddr((peer, 4711).into());
        request.extensions_mut().insert(peer);
    }
    let mut service = HealthLayer::new(Health::builder().build())
        .allow(access)
        .layer(Inner);
    let response = pin!(service.call(request));
    // Nothing is checked: the answer is there at once.
    match response.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => match response.status() {
            StatusCode::OK => true,
            StatusCode::FORBIDDEN => false,
            other => panic!("{other}"),
        },
        Poll::Pending => panic!("it waits for a verdict that nobody has asked for"),
    }
}

/// `name: value` lines; what no request can have is left out.
pub fn headers(text: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split('\n').take(64) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t', '\r']).as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

//! What the targets share: a request on its way through a layer, without a server.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_health::{Access, Health, HealthLayer, PeerAddr};

/// The app behind the layer.
pub async fn inner<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder().header("x-inner", "yes");
    Ok(response.body(Full::default()).expect("valid"))
}

/// Whether `access` allows a probe with this head.
pub fn allows(access: &Access, headers: HeaderMap, peer: Option<IpAddr>) -> bool {
    let mut request = Request::builder().uri("/livez").body(()).expect("valid");
    *request.headers_mut() = headers;
    if let Some(peer) = peer {
        request.extensions_mut().insert(PeerAddr((peer, 1).into()));
    }
    let layer = HealthLayer::new(Health::builder().build()).allow(access.clone());
    let response = pin!(layer.layer(service_fn(inner)).call(request));
    // Without a check the response is ready at once.
    match response.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => {
            let code = response.status().as_u16();
            assert!([200, 403].contains(&code), "{code}");
            code == 200
        }
        Poll::Pending => panic!("the response waits"),
    }
}

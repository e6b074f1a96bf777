//! A client of a layer over a handle, without a server in between.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Access, Health, HealthLayer};

#[derive(Clone)]
pub struct LayerClient(pub HealthLayer);

impl LayerClient {
    /// A client that gets every detail.
    pub fn new(health: &Health) -> Self {
        Self(HealthLayer::new(health.clone()).details(Access::everybody()))
    }

    /// The code and the body that answer `path`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let inner = service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let request = Request::builder().uri(path).body(Empty::new());
        let response = self.0.layer(inner).oneshot(request.expect("valid")).await;
        let response = response.expect("infallible");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("whole");
        let body = String::from_utf8(body.to_bytes().into());
        (code, body.expect("text"))
    }

    pub async fn code(&self, path: &str) -> u16 {
        self.get(path).await.0
    }

    /// The same with the body as a value; null where it is none.
    pub async fn json(&self, path: &str) -> (u16, Value) {
        let (code, body) = self.get(path).await;
        (code, serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}

//! A client of a layer over a handle, without a server in between.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_health::{Access, Health, HealthLayer};

use super::wire::Answer;

/// The layer around an app that answers `inner` to every request.
#[derive(Clone)]
pub struct LayerClient(pub HealthLayer);

impl LayerClient {
    /// A client that gets every detail.
    pub fn new(health: &Health) -> Self {
        Self(HealthLayer::new(health.clone()).details(Access::everybody()))
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let inner = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
        });
        let Ok(response) = self.0.layer(inner).oneshot(request).await;
        Answer::of(response).await
    }

    /// The answer to `method` `path` with one header.
    pub async fn request(&self, method: &str, path: &str, header: (&str, &str)) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header.0, header.1).body(Full::default());
        self.send(request.expect("valid")).await
    }

    /// The code and the body that answer `path`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.call("GET", path).await
    }

    /// The code and the body that answer `method` `path`.
    pub async fn call(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.request(method, path, ("user-agent", "prober")).await;
        (answer.code, answer.body)
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

//! One request over HTTP, as a prober sends it: on its own connection.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::wait::{MAXIMUM_WAIT, wait_until};

/// Asks for `url`.
pub async fn get(url: &str) -> (StatusCode, String) {
    let request = Request::get(url).body(Full::default()).expect("valid");
    ask(request, None).await
}

/// The answer to `request`, from the local address `source` if one is given.
pub async fn ask(request: Request<Full<Bytes>>, source: Option<IpAddr>) -> (StatusCode, String) {
    let mut connector = HttpConnector::new();
    connector.set_local_address(source);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let whole = async {
        let (head, body) = client.request(request).await?.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        Ok::<_, Error>((head.status, body))
    };
    let (code, body) = tokio::time::timeout(MAXIMUM_WAIT, whole)
        .await
        .expect("in time")
        .expect("an answer");
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

/// Waits until `url` is answered with `code`, and returns that answer's body.
pub async fn becomes(url: &str, code: StatusCode) -> String {
    let mut last = String::new();
    wait_until(&format!("{url} is {code}"), MAXIMUM_WAIT, async || {
        let (seen, body) = get(url).await;
        last = body;
        seen == code
    })
    .await;
    last
}

//! An HTTP dependency: up if it answers 2xx.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower_health::{Check, Failure, Outcome, Reason};

/// Sends `GET uri`. A redirect is not followed, and more than 64 KiB of body are a failure.
///
/// Call what you need of a service, or its `/livez`. A call of its `/readyz` spreads an outage.
pub(crate) fn http(uri: Uri) -> impl Check {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(500)));
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    move || {
        let response = client.get(uri.clone());
        async move {
            let response = response.await?;
            let status = response.status();
            // A body that was read to its end leaves the connection for the next run.
            let body = Limited::new(response.into_body(), 64 * 1024);
            let read = body.collect().await;
            read.map_err(|error| Failure::new(Reason::Protocol).caused_by(error))?;
            if status.is_success() {
                return Ok(Outcome::up());
            }
            Err(Failure::new(Reason::Rejected).message(format!("status {}", status.as_u16())))
        }
    }
}

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::time::Instant;

use crate::{
    render::Format,
    report::{Reason, Status},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// In seconds: about the default cache lifetime.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Envoy removes a host that sends this header from its cluster at once.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
pub(super) const ENVOY_FAIL: HeaderName =
    HeaderName::from_static("x-envoy-immediate-health-check-fail");
/// Envoy sends requests to a host that sends this header only if it has too few healthy ones.
const ENVOY_DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

/// A rendered body with its headers, and how long it is valid.
#[derive(Debug)]
pub(super) struct RenderedAnswer {
    pub(super) epoch: u64,
    pub(super) valid_until: Instant,
    pub(super) code: StatusCode,
    content_type: HeaderValue,
    /// Headers that only some answers have.
    optional_headers: Vec<(HeaderName, HeaderValue)>,
    /// For `HEAD`: its response has no body to take the length from.
    length: HeaderValue,
    body: Bytes,
}

impl RenderedAnswer {
    pub(super) fn new(
        epoch: u64,
        valid_until: Instant,
        code: StatusCode,
        (format, body): (&Format, Bytes),
    ) -> Self {
        let content_type = format.content_type();
        let mut headers = Vec::new();
        if code == StatusCode::SERVICE_UNAVAILABLE {
            headers.push((RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        // A browser must not interpret names and messages as HTML.
        if content_type.starts_with("text/") {
            headers.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        if let Some(policy) = format.content_security_policy() {
            headers.push((CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)));
        }
        Self {
            epoch,
            valid_until,
            code,
            content_type: HeaderValue::from_static(content_type),
            optional_headers: headers,
            length: body.len().into(),
            body,
        }
    }

    /// Adds the header that tells Envoy what the status code cannot.
    pub(super) fn with_envoy_header(mut self, status: Status, reason: Option<Reason>) -> Self {
        let name = match (status, reason) {
            (_, Some(Reason::Draining)) => ENVOY_FAIL,
            (Status::Degraded, _) => ENVOY_DEGRADED,
            _ => return self,
        };
        let header = (name, HeaderValue::from_static("true"));
        self.optional_headers.push(header);
        self
    }

    /// Replaces `headers` by those of the answer, and returns the body.
    pub(super) fn write(&self, is_head: bool, headers: &mut HeaderMap) -> Bytes {
        headers.clear();
        headers.append(CONTENT_TYPE, self.content_type.clone());
        headers.append(CACHE_CONTROL, NO_STORE);
        for (name, value) in &self.optional_headers {
            headers.insert(name, value.clone());
        }
        if is_head {
            headers.insert(CONTENT_LENGTH, self.length.clone());
            return Bytes::new();
        }
        self.body.clone()
    }
}

/// Replaces `headers` by those of a 403 or 405, and returns the empty body.
pub(super) fn reject(code: StatusCode, headers: &mut HeaderMap) -> Bytes {
    headers.clear();
    headers.insert(CACHE_CONTROL, NO_STORE);
    // hyper adds it to the response to GET over HTTP/1.1 only.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Bytes::new()
}

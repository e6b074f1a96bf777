//! The bytes that answer a probe, made once per verdict and audience.

use std::{array, mem, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::time::Instant;

use super::{
    codes::Codes,
    shard::{SHARDS, shard},
};
use crate::{render::Rendered, report::Status};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// In seconds: a verdict is asked anew after about that long by default.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// Where the last answer for one path and audience is kept.
#[derive(Debug)]
pub(super) struct Slot(ArcSwap<Answer>);

/// An answer in use, without a reference count touched.
pub(super) type Holding = Guard<Arc<Answer>>;

impl Slot {
    /// The last answer, if nothing has changed since it was made and its time is not up.
    #[inline]
    pub(super) fn get(&self, epoch: u64) -> Option<Holding> {
        let answer = self.0.load();
        (answer.epoch == epoch && Instant::now() < answer.valid_until).then_some(answer)
    }

    /// Keeps `answer` for those who come next.
    pub(super) fn put(&self, answer: Answer) -> Holding {
        let answer = Arc::new(answer);
        self.0.store(answer.clone());
        Guard::from_inner(answer)
    }
}

impl Default for Slot {
    fn default() -> Self {
        // Of no epoch that is ever reached: it holds for nobody.
        Self(ArcSwap::from_pointee(Answer {
            epoch: u64::MAX,
            valid_until: Instant::now(),
            status: Status::Unknown,
            code: StatusCode::SERVICE_UNAVAILABLE,
            content_type: HeaderValue::from_static("text/plain"),
            further: Box::default(),
            length: HeaderValue::from_static("0"),
            body: Body::Single(Bytes::new()),
        }))
    }
}

/// An answer and how long it holds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) epoch: u64,
    pub(super) valid_until: Instant,
    pub(super) status: Status,
    pub(super) code: StatusCode,
    content_type: HeaderValue,
    /// What else the code and the form ask for.
    further: Box<[(HeaderName, HeaderValue)]>,
    /// The body's, made once: a number becomes a header by two allocations.
    length: HeaderValue,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Static bytes without a reference count, or bytes for one asker alone.
    Single(Bytes),
    /// One copy per shard: threads that hand out the same `Bytes` fight over its count
    /// (17 ns alone, 168 ns with four).
    Sharded(Box<[Bytes; SHARDS]>),
}

impl Body {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Single(bytes) => bytes,
            Self::Sharded(shards) => &shards[shard()],
        }
    }
}

impl Answer {
    pub(super) fn new(
        epoch: u64,
        valid_until: Instant,
        status: Status,
        code: StatusCode,
        rendered: Rendered,
    ) -> Self {
        let mut further = Vec::new();
        if code == StatusCode::SERVICE_UNAVAILABLE {
            further.push((RETRY_AFTER, SOON));
        }
        // Names and messages in it are text, whatever a browser makes of their first bytes.
        if rendered.content_type.starts_with("text/") {
            further.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        if let Some(policy) = rendered.policy {
            let policy = HeaderValue::from_static(policy);
            further.push((CONTENT_SECURITY_POLICY, policy));
        }
        Self {
            epoch,
            valid_until,
            status,
            code,
            content_type: HeaderValue::from_static(rendered.content_type),
            further: further.into(),
            length: rendered.body.len().into(),
            body: Body::Single(rendered.body),
        }
    }

    /// What strangers are told in native JSON, for each status in its order.
    pub(super) fn words(codes: Codes) -> [Self; 4] {
        Status::EACH.map(|status| {
            let code = codes.of(status);
            Self::new(
                u64::MAX,
                Instant::now(),
                status,
                code,
                Rendered::word(status),
            )
        })
    }

    /// The same for threads that hand it out side by side.
    pub(super) fn for_many(self) -> Self {
        let bytes = self.body.bytes();
        let copies = array::from_fn(|_| Bytes::copy_from_slice(bytes));
        Self {
            body: Body::Sharded(Box::new(copies)),
            ..self
        }
    }

    /// The response, in the request's own header map: hyper keeps that map for the
    /// connection's next request, so a new one would cost an allocation here and one there.
    // Always: the response is made where it stays; handed on it is copied twice.
    #[inline(always)]
    pub(super) fn response(&self, head: bool, mut headers: HeaderMap) -> Response<Bytes> {
        let (body, length) = if head {
            // No body to take the length from.
            (Bytes::new(), Some(&self.length))
        } else {
            (self.body.bytes().clone(), None)
        };
        headers.clear();
        // Nothing is replaced in an empty map, and `append` need not look for that.
        headers.append(CONTENT_TYPE, self.content_type.clone());
        headers.append(CACHE_CONTROL, NO_STORE);
        for (name, value) in &self.further {
            headers.insert(name, value.clone());
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        assemble(self.code, headers, body)
    }
}

/// 405, 403 and 404: no body, and nothing that tells one from another of its kind.
pub(super) fn refusal(code: StatusCode, mut headers: HeaderMap) -> Response<Bytes> {
    headers.clear();
    headers.insert(CACHE_CONTROL, NO_STORE);
    // Left to hyper, GET over HTTP/1.1 would have it and neither HEAD nor HTTP/2 would.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    assemble(code, headers, Bytes::new())
}

// Always, as `Answer::response`.
#[inline(always)]
fn assemble(code: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    // The map that was there is empty and owns nothing; to drop it all the same costs 60 instructions.
    mem::forget(mem::replace(response.headers_mut(), headers));
    response
}

//! The bytes that answer a probe, made once per verdict and audience.

use std::{array, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::time::Instant;

use super::shard::{SHARDS, shard};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// In seconds: a verdict is asked anew after about that long by default.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// Where the last answer for one path and audience is kept.
#[derive(Debug, Default)]
pub(super) struct Slot(ArcSwapOption<Answer>);

impl Slot {
    /// The last answer, if it still holds.
    #[inline]
    pub(super) fn get(&self, epoch: u64) -> Holding {
        Holding {
            answer: self.0.load(),
            epoch,
        }
    }

    pub(super) fn put(&self, answer: Arc<Answer>) {
        self.0.store(Some(answer));
    }
}

/// The last answer, without a reference count touched.
pub(super) struct Holding {
    answer: Guard<Option<Arc<Answer>>>,
    epoch: u64,
}

impl Holding {
    /// The answer, if nothing has changed since it was made and its time is not up.
    #[inline]
    pub(super) fn as_deref(&self) -> Option<&Answer> {
        self.answer
            .as_deref()
            .filter(|answer| answer.epoch == self.epoch && Instant::now() < answer.valid_until)
    }
}

/// An answer and how long it holds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) epoch: u64,
    pub(super) valid_until: Instant,
    pub(super) code: StatusCode,
    /// The body's, made once: a number becomes a header by two allocations.
    pub(super) length: HeaderValue,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Without a reference count.
    Static(Bytes),
    /// One copy per shard: threads that hand out the same `Bytes` fight over its count
    /// (17 ns alone, 168 ns with four).
    Sharded(Box<[Bytes; SHARDS]>),
}

impl Body {
    pub(super) fn shared(bytes: &Bytes) -> Self {
        Self::Sharded(Box::new(array::from_fn(|_| Bytes::copy_from_slice(bytes))))
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Self::Static(bytes) => bytes,
            Self::Sharded(shards) => &shards[shard()],
        }
    }
}

impl Answer {
    /// The response, in the request's own header map: hyper keeps that map for the
    /// connection's next request, so a new one would cost an allocation here and one there.
    pub(super) fn response(&self, head: bool, headers: HeaderMap) -> Response<Bytes> {
        let bytes = self.body.bytes();
        let mut response = bare(self.code, headers);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if self.code == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, SOON);
        }
        if head {
            // No body to take the length from.
            headers.insert(CONTENT_LENGTH, self.length.clone());
        } else {
            *response.body_mut() = bytes.clone();
        }
        response
    }
}

/// 405, 403 and 404: no body, and nothing that tells one from another of its kind.
pub(super) fn refusal(code: StatusCode, headers: HeaderMap) -> Response<Bytes> {
    let mut response = bare(code, headers);
    // Left to hyper, GET over HTTP/1.1 would have it and neither HEAD nor HTTP/2 would.
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn bare(code: StatusCode, mut headers: HeaderMap) -> Response<Bytes> {
    headers.clear();
    headers.insert(CACHE_CONTROL, NO_STORE);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

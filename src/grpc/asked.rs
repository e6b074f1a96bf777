//! The body of a call, whatever server it came through.
//!
//! Bodies that servers have are found by their `TypeId` and read without a box.

use std::{
    any::Any,
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a call.
pub(super) enum Asked {
    Hyper(hyper::body::Incoming),
    Tonic(tonic::body::Body),
    Axum(axum_core::body::Body),
    Full(Full<Bytes>),
    Other(Pin<Box<dyn Chunks + Send>>),
}

impl Asked {
    /// Any body at all.
    pub(super) fn any<A: Body + Send + 'static>(body: A) -> Self {
        let mut slot = Some(body);
        match known(&mut slot) {
            Some(asked) => asked,
            None => slot.map_or_else(|| Self::Full(Full::default()), Self::boxed),
        }
    }

    fn boxed<A: Body + Send + 'static>(body: A) -> Self {
        Self::Other(Box::pin(body))
    }

    /// The next data; `None` at the end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Lost>>> {
        match self {
            Self::Hyper(body) => Pin::new(body).poll_bytes(cx),
            Self::Tonic(body) => Pin::new(body).poll_bytes(cx),
            Self::Axum(body) => Pin::new(body).poll_bytes(cx),
            Self::Full(body) => Pin::new(body).poll_bytes(cx),
            Self::Other(body) => body.as_mut().poll_bytes(cx),
        }
    }
}

/// The body broke off: its sender is gone, or gave the call up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost;

/// A body reduced to its data: trailers of a request say nothing here.
pub(super) trait Chunks {
    fn poll_bytes(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Lost>>>;
}

impl<A: Body> Chunks for A {
    fn poll_bytes(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Lost>>> {
        loop {
            return match self.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    // Bytes become Bytes without a copy.
                    Ok(mut data) => Poll::Ready(Some(Ok(data.copy_to_bytes(data.remaining())))),
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(Lost))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

/// Takes the body out of `slot`, if its type is one that servers and boxes have.
fn known<A: 'static>(slot: &mut Option<A>) -> Option<Asked> {
    // Each line is decided when the caller is compiled.
    let slot: &mut dyn Any = slot;
    take(slot, Asked::Hyper)
        .or_else(|| take(slot, Asked::Tonic))
        .or_else(|| take(slot, Asked::Axum))
        .or_else(|| take(slot, Asked::Full))
        .or_else(|| take(slot, Asked::boxed::<Empty<Bytes>>))
        .or_else(|| take(slot, Asked::boxed::<String>))
        .or_else(|| take(slot, Asked::boxed::<BoxBody<Bytes, BoxError>>))
        .or_else(|| take(slot, Asked::boxed::<BoxBody<Bytes, Infallible>>))
        .or_else(|| take(slot, Asked::boxed::<BoxBody<Bytes, hyper::Error>>))
        .or_else(|| take(slot, Asked::boxed::<UnsyncBoxBody<Bytes, BoxError>>))
        .or_else(|| take(slot, Asked::boxed::<UnsyncBoxBody<Bytes, Infallible>>))
        .or_else(|| take(slot, Asked::boxed::<UnsyncBoxBody<Bytes, hyper::Error>>))
        .or_else(|| take(slot, Asked::boxed::<UnsyncBoxBody<Bytes, tonic::Status>>))
}

fn take<A: 'static>(slot: &mut dyn Any, asked: impl FnOnce(A) -> Asked) -> Option<Asked> {
    slot.downcast_mut::<Option<A>>()?.take().map(asked)
}

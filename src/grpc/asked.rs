//! The body of a call, whatever server it came through.
//!
//! The layer asks nothing of a request's body but `'static`, so that a request may pass
//! through whatever it carries. A call's body must be read, and is: where its type
//! is one of those that servers have, found by its `TypeId`, or was named to
//! [`HealthLayer::grpc_body`](crate::HealthLayer::grpc_body).

use std::{
    any::{Any, TypeId},
    convert::Infallible,
    error::Error,
    fmt,
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
    /// `body`, if it can be read.
    pub(super) fn of<A: 'static>(body: A, named: &Named) -> Result<Self, A> {
        let mut slot = Some(body);
        if let Some(asked) = known(&mut slot).or_else(|| named.find(&mut slot)) {
            return Ok(asked);
        }
        match slot {
            Some(body) => Err(body),
            // What empties the slot returns something.
            None => Ok(Self::Full(Full::default())),
        }
    }

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

/// The types of bodies that the user has named.
#[derive(Clone, Default)]
pub(crate) struct Named(Vec<(TypeId, Take)>);

/// Takes the body out of an `Option` of its type.
type Take = fn(&mut dyn Any) -> Option<Asked>;

impl Named {
    pub(crate) fn add<A: Body + Send + 'static>(&mut self) {
        self.0
            .push((TypeId::of::<A>(), |slot| take(slot, Asked::boxed::<A>)));
    }

    fn find<A: 'static>(&self, slot: &mut Option<A>) -> Option<Asked> {
        let (_, take) = self.0.iter().find(|(id, _)| *id == TypeId::of::<A>())?;
        take(slot)
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Named").field(&self.0.len()).finish()
    }
}

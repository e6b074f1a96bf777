//! In the place of gRPC where the feature `grpc` is off: types without values, so that future and
//! body need no condition and lose no instruction.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};

#[derive(Debug)]
pub(crate) enum GrpcBody {}

pub(crate) enum Answering {}

impl Answering {
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<Response<GrpcBody>> {
        match *self {}
    }
}

impl GrpcBody {
    pub(crate) fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match *self {}
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match *self {}
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match *self {}
    }
}

pub(crate) fn body_as<B>(body: GrpcBody) -> B {
    match body {}
}

// Called with the parameter of its counterpart.
#[allow(clippy::extra_unused_type_parameters)]
pub(crate) const fn holds_trailers<B>() -> bool {
    false
}

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::mode::{Mode, Plain};

pin_project! {
    /// The body of a response: the inner service's, forwarded unchanged, or the answer to a probe.
    ///
    /// Data and error are those of the inner body: an answer is converted into its data and cannot fail.
    #[derive(Debug)]
    pub struct ResponseBody<B, M: Mode = Plain> {
        #[pin]
        kind: Kind<B, M::Answer>,
    }
}

// Not `http_body_util::Either`: its error is a box, where the inner body's own must stay.
pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B, A> {
        Inner { #[pin] body: B },
        Answer { #[pin] body: A },
    }
}

impl<B, M: Mode> ResponseBody<B, M> {
    pub(super) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(super) fn answer(body: M::Answer) -> Self {
        Self {
            kind: Kind::Answer { body },
        }
    }
}

impl<B, M> Body for ResponseBody<B, M>
where
    B: Body,
    B::Data: From<Bytes>,
    M: Mode,
    M::Answer: Body<Data = Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            // An error could only be tonic's, of a type that the inner body does not have.
            KindProjection::Answer { body } => body.poll_frame(cx).map(|frame| {
                let frame = frame.and_then(Result::ok)?;
                Some(Ok(frame.map_data(Into::into)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Answer { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Answer { body } => body.size_hint(),
        }
    }
}

impl<B: Default, M: Mode> Default for ResponseBody<B, M> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

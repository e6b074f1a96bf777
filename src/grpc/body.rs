use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{message::ServingStatus, status, watching::Watching};

/// The body of a gRPC answer: messages, then trailers.
///
/// Cannot fail. Dropping that of a `Watch` ends the watch.
pub(crate) struct GrpcBody {
    state: State,
}

// Small: it lies in the body and the future of every request that passes through.
enum State {
    /// One message of the few that never change, then the trailers.
    Status(ServingStatus),
    /// One message, framed, then the trailers.
    Message(Box<[u8]>),
    Trailers,
    Watch(Pin<Box<Watching>>),
    End,
}

impl GrpcBody {
    /// Nothing: the head says it all.
    pub(super) const fn empty() -> Self {
        Self { state: State::End }
    }

    pub(super) const fn status(serving: ServingStatus) -> Self {
        Self {
            state: State::Status(serving),
        }
    }

    pub(super) const fn message(framed: Box<[u8]>) -> Self {
        Self {
            state: State::Message(framed),
        }
    }

    pub(super) fn watch(watching: Watching) -> Self {
        Self {
            state: State::Watch(Box::pin(watching)),
        }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let state = &mut self.state;
        let frame = match state {
            // Status | Message -> Trailers
            State::Status(serving) => {
                let bytes = Bytes::from_static(serving.frame());
                *state = State::Trailers;
                Frame::data(bytes)
            }
            State::Message(framed) => {
                let bytes = Bytes::from(mem::take(framed));
                *state = State::Trailers;
                Frame::data(bytes)
            }
            // Trailers -> End
            State::Trailers => {
                *state = State::End;
                Frame::trailers(status::ok())
            }
            // Watch -> Watch | End
            State::Watch(watching) => {
                let frame = ready!(watching.as_mut().poll_frame(cx));
                if frame.is_trailers() {
                    *state = State::End;
                }
                frame
            }
            State::End => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn size_hint(&self) -> SizeHint {
        // A call that goes well sends no content-length: trailers follow.
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}

impl fmt::Debug for GrpcBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcBody").finish_non_exhaustive()
    }
}

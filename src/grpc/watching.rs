//! The stream of one `Watch`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use pin_project_lite::pin_project;
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Sleep, sleep_until},
};

use super::{message::ServingStatus, status::Refusal, watchers::Place};
use crate::health::LINGER;

pin_project! {
    /// Statuses as they change, never the same twice in a row.
    pub(super) struct Watching {
        place: Place,
        #[pin]
        changed: OwnedNotified,
        sent: Option<ServingStatus>,
        // Few have one.
        end: Option<(Pin<Box<Sleep>>, Refusal)>,
    }
}

impl Watching {
    /// Ends at the caller's `deadline`, or when the server is to stop.
    pub(super) fn new(place: Place, deadline: Option<Instant>) -> Self {
        // Ended at once, it would be tried again at once.
        let late = place.late.then(|| Instant::now() + LINGER);
        let end = match (deadline, late) {
            (Some(deadline), Some(late)) if late < deadline => Some((late, Refusal::CLOSING)),
            (None, Some(late)) => Some((late, Refusal::CLOSING)),
            (Some(deadline), _) => Some((deadline, Refusal::DEADLINE)),
            (None, None) => None,
        };
        Self {
            changed: place.feed.changed(),
            place,
            sent: None,
            end: end.map(|(at, refusal)| (Box::pin(sleep_until(at)), refusal)),
        }
    }

    /// The next message, or the trailers at the end.
    pub(super) fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        let mut this = self.project();
        loop {
            let news = this.place.feed.news();
            if let Some(serving) = news.serving
                && *this.sent != news.serving
            {
                *this.sent = news.serving;
                return Poll::Ready(Frame::data(Bytes::from_static(serving.frame())));
            }
            if news.ends && !this.place.late {
                return Poll::Ready(Frame::trailers(Refusal::CLOSING.trailers()));
            }
            if this.changed.as_mut().poll(cx).is_pending() {
                break;
            }
            // Before the next look, so that no change is missed.
            this.changed.set(this.place.feed.changed());
        }
        let Some((sleep, refusal)) = this.end else {
            return Poll::Pending;
        };
        sleep
            .as_mut()
            .poll(cx)
            .map(|()| Frame::trailers(refusal.trailers()))
    }
}

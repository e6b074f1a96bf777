//! The stream of one `Watch`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tonic::{Status, codegen::tokio_stream::Stream};

use super::generated::HealthCheckResponse;
use crate::health::{Watch, WatchedStatus};

/// The statuses of one name as they change.
pub(super) struct WatchStream {
    next: Pin<Box<dyn Future<Output = (Watch, Option<WatchedStatus>)> + Send>>,
}

impl WatchStream {
    pub(super) fn new(mut watch: Watch) -> Self {
        Self {
            next: Box::pin(async move {
                let status = watch.next().await;
                (watch, status)
            }),
        }
    }
}

impl Stream for WatchStream {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (watch, status) = ready!(self.next.as_mut().poll(cx));
        *self = Self::new(watch);
        let ended = || Status::unavailable("the server shuts down");
        Poll::Ready(Some(status.map(Into::into).ok_or_else(ended)))
    }
}

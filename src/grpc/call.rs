//! A call from its head to its answer.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use tokio::time::{Instant, timeout_at};

use super::{
    GrpcBody,
    asked::Asked,
    head::{CallHead, Method},
    memo::Answered,
    message::{self, ServingStatus, name_in},
    names::{listed, resolve},
    read::Reading,
    status::{GRPC, Refusal},
    watching::Watching,
};
use crate::{
    access::{Access, RequestHead},
    bounds::MAX_DURATION,
    health::{Gathering, Health, Subject},
    probe::Probe,
    render::Detail,
    report::Status,
};

/// What a sender that says no deadline may take to send its message.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// An answer at the very deadline comes too late: a tenth of the time, and this at most, is left for the way.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// An answer, made already or under way.
pub(crate) enum Answering {
    /// `None` once it was taken.
    Now(Option<Response<GrpcBody>>),
    Later(Pin<Box<dyn Future<Output = Response<GrpcBody>> + Send>>),
}

impl Answering {
    fn now(reply: Result<GrpcBody, Refusal>, headers: HeaderMap) -> Self {
        Self::Now(Some(response(reply, headers)))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<GrpcBody>> {
        match self {
            // Polled again after it was ready: the contract of futures is broken already.
            Self::Now(response) => Poll::Ready(response.take().expect("polled after ready")),
            Self::Later(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// What a face says to the calls that come through it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) allow: &'a Access,
    pub(crate) details: &'a Access,
}

/// What the head of a call leads to.
pub(super) struct Opening {
    detail: Detail,
    head: Result<CallHead, Refusal>,
}

impl Opening {
    pub(super) fn of<A>(rules: Rules<'_>, request: &Request<A>) -> Self {
        let asked = RequestHead::of(request);
        Self {
            detail: if rules.details.allows(&asked) {
                Detail::Full
            } else {
                Detail::Status
            },
            head: if rules.allow.allows(&asked) {
                CallHead::of(request)
            } else {
                Err(Refusal::FORBIDDEN)
            },
        }
    }

    /// Starts to answer the call, whose headers are no longer needed but as a place for others.
    pub(super) fn answer(self, health: &Health, headers: HeaderMap, body: Asked) -> Answering {
        let head = match self.head {
            Ok(head) => head,
            Err(refusal) => return Answering::now(Err(refusal), headers),
        };
        let mut reading = Reading::new(body, head.compresses);
        // Nearly always the message has come with the head, and the verdict holds: then no future is
        // needed. Nobody is woken by this poll, and nobody need be: a future polls first of all.
        let message = match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(refusal)) => return Answering::now(Err(refusal), headers),
            Poll::Ready(Ok(message)) => Some(message),
            Poll::Pending => None,
        };
        if let (Method::Check, Some(message)) = (head.method, &message)
            && let Some(reply) = check_at_once(health, self.detail, message)
        {
            return Answering::now(reply, headers);
        }
        let caller = Caller {
            health: health.clone(),
            detail: self.detail,
            arrived: Instant::now(),
            timeout: head.timeout.map(|timeout| timeout.min(MAX_DURATION)),
        };
        Answering::Later(Box::pin(async move {
            let message = match message {
                Some(message) => Ok(message),
                None => caller.read(reading).await,
            };
            let reply = match message {
                Ok(message) => caller.reply(head.method, &message).await,
                Err(refusal) => Err(refusal),
            };
            response(reply, headers)
        }))
    }
}

/// What `Check` answers where nothing has to be waited for.
fn check_at_once(
    health: &Health,
    detail: Detail,
    message: &[u8],
) -> Option<Result<GrpcBody, Refusal>> {
    // Before the look: a verdict published meanwhile must spoil the answer, not slip past it.
    let epoch = health.epoch();
    let now = Instant::now();
    if let Some(serving) = health.checks().get(message, detail, epoch, now) {
        return Some(Ok(GrpcBody::status(serving)));
    }
    let name = match name_in(message) {
        Ok(name) => name,
        Err(refusal) => return Some(Err(refusal)),
    };
    let Some(subject) = resolve(health, &name, detail) else {
        return Some(Err(Refusal::NOT_FOUND));
    };
    let glance = health.glance(subject, now, false);
    if !glance.holds(now) {
        return None;
    }
    let serving = glance.status.into();
    health.checks().put(Answered {
        message: message.into(),
        detail,
        epoch,
        holds_until: glance.holds_until,
        serving,
    });
    Some(Ok(GrpcBody::status(serving)))
}

fn response(reply: Result<GrpcBody, Refusal>, mut headers: HeaderMap) -> Response<GrpcBody> {
    match reply {
        Err(refusal) => refusal.response(headers),
        Ok(body) => {
            // The request's own: hyper keeps the map for the connection's next request.
            headers.clear();
            headers.append(header::CONTENT_TYPE, GRPC);
            let mut response = Response::new(body);
            *response.headers_mut() = headers;
            response
        }
    }
}

/// Whoever made a call that is well-formed as far as its head goes, and waits.
struct Caller {
    health: Health,
    detail: Detail,
    arrived: Instant,
    timeout: Option<Duration>,
}

impl Caller {
    async fn read(&self, mut reading: Reading) -> Result<Bytes, Refusal> {
        let end = self.arrived
            + self
                .timeout
                .map_or(READ_WITHIN, |timeout| timeout.min(READ_WITHIN));
        timeout_at(end, poll_fn(|cx| reading.poll(cx)))
            .await
            .unwrap_or(Err(Refusal::DEADLINE))
    }

    async fn reply(&self, method: Method, message: &[u8]) -> Result<GrpcBody, Refusal> {
        match method {
            Method::Check => self.check(&name_in(message)?).await,
            Method::Watch => {
                let name = name_in(message)?;
                let place = self.health.watch(&name, self.detail)?;
                Ok(GrpcBody::watch(Watching::new(place, self.deadline())))
            }
            Method::List => {
                message::check_list_request(message)?;
                self.list().await
            }
        }
    }

    async fn check(&self, name: &str) -> Result<GrpcBody, Refusal> {
        let subject = resolve(&self.health, name, self.detail).ok_or(Refusal::NOT_FOUND)?;
        let status = self.wait_for(subject).await?;
        Ok(GrpcBody::status(status.into()))
    }

    /// The status once the runs that are due have ended, or the last one known when time is up.
    async fn wait_for(&self, subject: Subject<'_>) -> Result<Status, Refusal> {
        let gathering = self.health.gather_subject(subject);
        // Removed meanwhile.
        let mut gathering = gathering.ok_or(Refusal::NOT_FOUND)?;
        self.settle(&mut gathering).await;
        let status = self.health.glance(subject, Instant::now(), false).status;
        if status == Status::Unknown && self.hurries_until().is_some_and(is_past) {
            return Err(Refusal::DEADLINE);
        }
        Ok(status)
    }

    async fn list(&self) -> Result<GrpcBody, Refusal> {
        let names = listed(&self.health, self.detail).ok_or(Refusal::TOO_MANY_SERVICES)?;
        // All runs that are due go side by side.
        self.settle(&mut self.health.gather(&Probe::Full)).await;
        let now = Instant::now();
        let statuses = names.into_iter().filter_map(|name| {
            let subject = resolve(&self.health, &name, self.detail)?;
            let status = self.health.glance(subject, now, false).status;
            Some((name, ServingStatus::from(status)))
        });
        Ok(GrpcBody::message(message::list(statuses)))
    }

    async fn settle(&self, gathering: &mut Gathering) {
        if let Some(end) = self.hurries_until() {
            gathering.hurry(end);
        }
        gathering.settle().await;
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| self.arrived + timeout)
    }

    /// When the answer has to go for the caller to hear it.
    fn hurries_until(&self) -> Option<Instant> {
        let timeout = self.timeout?;
        Some(self.arrived + timeout - (timeout / 10).min(ON_THE_WAY))
    }
}

fn is_past(end: Instant) -> bool {
    end <= Instant::now()
}

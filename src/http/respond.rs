//! From a request to the answer of a probe.

#[cfg(feature = "grpc")]
use std::error::Error;
use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
        RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};
#[cfg(feature = "grpc")]
use http_body::Body;
use tokio::time::Instant;
#[cfg(feature = "grpc")]
use tower_service::Service;

#[cfg(feature = "grpc")]
use super::body::GrpcAnswer;
use super::{
    body::Mode,
    endpoints::{Endpoints, Found},
    query::{Query, percent_decoded},
};
use crate::{
    access::{Detail, RequestHead},
    health::Evaluation,
    render::{Question, Rendered, View},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// In seconds. By default a result is cached for about that long.
const SOON: HeaderValue = HeaderValue::from_static("1");
/// A body with ages in it is rendered again after this time.
const AGES_HOLD: Duration = Duration::from_secs(1);

/// An extension of each response that answers a probe, if [`HealthLayer::mark_probes`] is set.
///
/// Rejections (403 and 405) carry it too. A request that reaches the inner service does not.
///
/// ```
/// use http::Response;
/// use tower_health::service::ProbeMark;
///
/// fn is_traffic<B>(response: &Response<B>) -> bool {
///     response.extensions().get::<ProbeMark>().is_none()
/// }
/// # drop(is_traffic::<()>);
/// ```
///
/// [`HealthLayer::mark_probes`]: crate::HealthLayer::mark_probes
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
// Complete: its presence is all it says.
pub struct ProbeMark;

/// A response that does not come from the inner service.
pub(super) enum Answer<A> {
    /// `None` once it was returned.
    Ready(Option<Response<A>>),
    Waiting(Pin<Box<dyn Future<Output = Response<A>> + Send>>),
}

impl<A> Answer<A> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<A>> {
        match self {
            // Polled after it was ready: the caller broke the contract of futures.
            Self::Ready(response) => Poll::Ready(response.take().expect("polled after ready")),
            Self::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// Which body answers a request.
#[derive(Clone, Copy, Debug)]
struct ProbeRequest {
    endpoint: usize,
    representation: usize,
    detail: Detail,
    is_head: bool,
}

/// How a request on a probe path, or below one, is answered.
enum Handling {
    Reject(StatusCode),
    /// With the body that all such requests share while its results are valid.
    Shared(ProbeRequest),
    /// With a body of its own. The runs of its checks are shared.
    Own(ProbeRequest, Evaluation, Query),
}

/// A rendered body, with its headers, and how long it is valid.
#[derive(Debug)]
pub(super) struct CachedAnswer {
    epoch: u64,
    valid_until: Instant,
    code: StatusCode,
    content_type: HeaderValue,
    /// Those that not every answer has.
    further_headers: Vec<(HeaderName, HeaderValue)>,
    /// For `HEAD`, which has no body that tells it.
    length: HeaderValue,
    body: Bytes,
}

impl Endpoints {
    /// Answers `request`, or returns `None` for a request that the inner service gets.
    pub(super) fn answer<M: Mode, A>(
        self: &Arc<Self>,
        request: &mut Request<A>,
    ) -> Option<Answer<M::Answer>> {
        let found = self.find(request.uri().path())?;
        let endpoint = found.endpoint;
        let handling = self.handle(found, request)?;
        let headers = request.headers_mut();
        let (probe, mut evaluation, query) = match handling {
            Handling::Reject(code) => {
                let body = reject(code, headers);
                let response = self.response::<M>(endpoint, code, body, headers);
                return Some(Answer::Ready(Some(response)));
            }
            Handling::Shared(probe) => {
                let cached = self.cache(probe).load();
                if let Some(answer) = cached.as_ref().filter(|answer| self.is_valid(answer)) {
                    let response = self.response_of::<M>(probe, answer, headers);
                    return Some(Answer::Ready(Some(response)));
                }
                let evaluation = self.health.evaluate(&self.endpoints[endpoint].probe);
                (probe, evaluation, None)
            }
            Handling::Own(probe, evaluation, query) => (probe, evaluation, Some(query)),
        };
        if evaluation.is_complete() {
            let answer = self.rendered(probe, &evaluation, query.as_ref());
            let response = self.response_of::<M>(probe, &answer, headers);
            return Some(Answer::Ready(Some(response)));
        }
        let endpoints = self.clone();
        Some(Answer::Waiting(Box::pin(async move {
            evaluation.wait().await;
            let answer = endpoints.rendered(probe, &evaluation, query.as_ref());
            // Not the request's: a waiter would keep it.
            endpoints.response_of::<M>(probe, &answer, &mut HeaderMap::new())
        })))
    }

    fn handle<A>(&self, found: Found<'_>, request: &Request<A>) -> Option<Handling> {
        let head = RequestHead::of(request, self.health.missing_peer());
        let endpoint = &self.endpoints[found.endpoint];
        let is_head = *request.method() == Method::HEAD;
        let is_readable = is_head || *request.method() == Method::GET;
        let may_probe = self.may_probe(&head);
        let detail = || self.detail(&head);
        let probe = |detail| ProbeRequest {
            endpoint: found.endpoint,
            representation: endpoint.negotiate(request.headers()),
            detail,
            is_head,
        };
        if let Some(name) = found.name {
            // Whatever else is below a probe path belongs to the app.
            if !may_probe || !is_readable || detail() != Detail::Full {
                return None;
            }
            let name = percent_decoded(name)?;
            let evaluation = self.health.evaluate_dependency(&endpoint.probe, &name)?;
            let probe = probe(Detail::Full);
            return Some(Handling::Own(probe, evaluation, Query::default()));
        }
        if !may_probe {
            let code = StatusCode::FORBIDDEN;
            return (!self.forward_denied).then_some(Handling::Reject(code));
        }
        if !is_readable {
            return Some(Handling::Reject(StatusCode::METHOD_NOT_ALLOWED));
        }
        let probe = probe(detail());
        if probe.detail == Detail::Full
            && let Some(query) = request.uri().query()
            && endpoint.reads_query(probe.representation)
        {
            let query = Query::parse(query);
            if query != Query::default() {
                let evaluation = self
                    .health
                    .evaluate_without(&endpoint.probe, &query.excluded);
                return Some(Handling::Own(probe, evaluation, query));
            }
        }
        Some(Handling::Shared(probe))
    }

    /// Whether the sender of a request may probe at all.
    fn may_probe(&self, head: &RequestHead<'_>) -> bool {
        self.allow.allows(head)
    }

    /// What the sender of a request may see.
    fn detail(&self, head: &RequestHead<'_>) -> Detail {
        self.details.detail(head)
    }

    fn cache(&self, probe: ProbeRequest) -> &ArcSwapOption<CachedAnswer> {
        let endpoint = &self.endpoints[probe.endpoint];
        let representation = &endpoint.representations[probe.representation];
        match probe.detail {
            Detail::Status => &representation.status_only,
            Detail::Full => &representation.full,
        }
    }

    fn is_valid(&self, answer: &CachedAnswer) -> bool {
        answer.epoch == self.health.epoch() && Instant::now() < answer.valid_until
    }

    /// The body for an evaluation that is complete; without a `query` it is shared.
    fn rendered(
        &self,
        probe: ProbeRequest,
        evaluation: &Evaluation,
        query: Option<&Query>,
    ) -> Arc<CachedAnswer> {
        if let Some(query) = query {
            return Arc::new(self.render(probe, evaluation, query));
        }
        // Of all that waited for the same runs the first one renders.
        let cached = self.cache(probe).load_full();
        cached
            .filter(|answer| self.is_valid(answer))
            .unwrap_or_else(|| {
                let answer = Arc::new(self.render(probe, evaluation, &Query::default()));
                self.cache(probe).store(Some(answer.clone()));
                answer
            })
    }

    fn render(&self, probe: ProbeRequest, evaluation: &Evaluation, query: &Query) -> CachedAnswer {
        let endpoint = &self.endpoints[probe.endpoint];
        let representation = &endpoint.representations[probe.representation];
        let mut evaluated = evaluation.report();
        if self.without_measurements {
            evaluated.report = evaluated.report.stable();
        }
        let mut view = if evaluation.is_single() {
            View::single(&evaluated.report, probe.detail)
        } else {
            View::new(&evaluated.report, probe.detail)
        };
        if self.without_measurements {
            view = view.timeless();
        } else if probe.detail == Detail::Full {
            evaluated.valid_until = evaluated.valid_until.min(Instant::now() + AGES_HOLD);
        }
        let (unmatched, groups) = (evaluation.unmatched(&query.excluded), evaluation.groups());
        let view = view.of(Question {
            name: endpoint.name(),
            verbose: query.verbose,
            unmatched: &unmatched,
            groups: &groups,
        });
        let code = representation.code(view.status(), self.codes);
        CachedAnswer::new(
            evaluated.epoch,
            evaluated.valid_until,
            code,
            representation.format.render(&view),
        )
    }

    fn response_of<M: Mode>(
        &self,
        probe: ProbeRequest,
        answer: &CachedAnswer,
        headers: &mut HeaderMap,
    ) -> Response<M::Answer> {
        let body = answer.write(probe.is_head, headers);
        self.response::<M>(probe.endpoint, answer.code, body, headers)
    }

    /// Makes, counts and marks the response of an endpoint.
    ///
    /// The map of `headers` is the request's own, which hyper reuses for the next one: none is allocated.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    fn response<M: Mode>(
        &self,
        endpoint: usize,
        code: StatusCode,
        body: Bytes,
        headers: &mut HeaderMap,
    ) -> Response<M::Answer> {
        #[cfg(feature = "metrics")]
        self.endpoints[endpoint].metrics.count(code);
        let mut response = Response::new(M::answer(body));
        *response.status_mut() = code;
        mem::swap(response.headers_mut(), headers);
        if self.marks {
            response.extensions_mut().insert(ProbeMark);
        }
        response
    }
}

#[cfg(feature = "grpc")]
impl Endpoints {
    /// Whether `request` is a health call that is answered here.
    pub(super) fn takes_call<A>(&self, request: &Request<A>) -> bool {
        crate::grpc::is_call(request.uri().path())
            && (!self.forward_denied
                || self.may_probe(&RequestHead::of(request, self.health.missing_peer())))
    }

    pub(super) fn answer_call<A>(&self, request: Request<A>) -> Answer<GrpcAnswer>
    where
        A: Body + Send + 'static,
        A::Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let answered = self.grpc.clone().call(request);
        let marks = self.marks;
        Answer::Waiting(Box::pin(async move {
            let Ok(response) = answered.await;
            let mut response = response.map(GrpcAnswer::Right);
            if marks {
                response.extensions_mut().insert(ProbeMark);
            }
            response
        }))
    }
}

impl CachedAnswer {
    fn new(epoch: u64, valid_until: Instant, code: StatusCode, rendered: Rendered) -> Self {
        let mut headers = Vec::new();
        if code == StatusCode::SERVICE_UNAVAILABLE {
            headers.push((RETRY_AFTER, SOON));
        }
        // A browser must not take names and messages for HTML.
        if rendered.content_type.starts_with("text/") {
            headers.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        if let Some(policy) = rendered.policy {
            headers.push((CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)));
        }
        Self {
            epoch,
            valid_until,
            code,
            content_type: HeaderValue::from_static(rendered.content_type),
            further_headers: headers,
            length: rendered.body.len().into(),
            body: rendered.body,
        }
    }

    /// Puts the headers in the place of `headers`, and returns the body.
    fn write(&self, is_head: bool, headers: &mut HeaderMap) -> Bytes {
        headers.clear();
        headers.append(CONTENT_TYPE, self.content_type.clone());
        headers.append(CACHE_CONTROL, NO_STORE);
        for (name, value) in &self.further_headers {
            headers.insert(name, value.clone());
        }
        if is_head {
            headers.insert(CONTENT_LENGTH, self.length.clone());
            return Bytes::new();
        }
        self.body.clone()
    }
}

/// 403 and 405: an empty body, and the same head for every endpoint.
fn reject(code: StatusCode, headers: &mut HeaderMap) -> Bytes {
    headers.clear();
    headers.insert(CACHE_CONTROL, NO_STORE);
    // hyper adds it to the response to GET over HTTP/1.1 only.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Bytes::new()
}

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
use http::{HeaderMap, Method, Request, Response, StatusCode};
#[cfg(feature = "grpc")]
use http_body::Body;
use tokio::time::Instant;
#[cfg(feature = "grpc")]
use tower_service::Service;

#[cfg(feature = "grpc")]
use super::body::GrpcAnswerBody;
use super::{
    body::Mode,
    endpoints::{EndpointMatch, Endpoints},
    query::{Query, percent_decoded},
    rendered_answer::{RenderedAnswer, reject},
};
use crate::{
    access::{Detail, RequestHead},
    health::Evaluation,
    probe::Probe,
    render::{RequestContext, View},
    report::Report,
};

/// How long a body with ages in it is valid at most.
const MAX_VALIDITY_OF_AGES: Duration = Duration::from_secs(1);

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
// Complete: it has no more information than its presence.
pub struct ProbeMark;

/// A response that is not from the inner service.
pub(super) enum Answer<A> {
    /// `None` once it is returned.
    Ready(Option<Response<A>>),
    Waiting(Pin<Box<dyn Future<Output = Response<A>> + Send>>),
}

impl<A> Answer<A> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<A>> {
        match self {
            // Only a caller that breaks the contract of futures polls again.
            Self::Ready(response) => Poll::Ready(response.take().expect("polled after completion")),
            Self::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

/// The body that a request gets.
#[derive(Clone, Copy, Debug)]
struct ProbeRequest {
    endpoint: usize,
    representation: usize,
    detail: Detail,
    is_head: bool,
}

/// How a request on a probe path or a dependency path is answered.
enum Handling {
    Reject(StatusCode),
    /// With a body that all such requests share while it is valid.
    Cached(ProbeRequest),
    /// With a body that is rendered for this request. Runs are shared in any case.
    Uncached(ProbeRequest, Evaluation, Query),
}

impl Endpoints {
    /// Answers `request`; `None` if it passes to the inner service.
    pub(super) fn answer<M: Mode, A>(
        self: &Arc<Self>,
        request: &mut Request<A>,
    ) -> Option<Answer<M::AnswerBody>> {
        let found = self.find(request.uri().path())?;
        let (endpoint, _) = found;
        let handling = self.handle(found, request)?;
        let headers = request.headers_mut();
        let (probe, mut evaluation, query) = match handling {
            Handling::Reject(code) => {
                let body = reject(code, headers);
                let response = self.response::<M>(endpoint, code, body, headers);
                return Some(Answer::Ready(Some(response)));
            }
            Handling::Cached(probe) => {
                let cached = self.cache(probe).load();
                if let Some(answer) = cached.as_ref().filter(|answer| self.is_valid(answer)) {
                    let response = self.response_of::<M>(probe, answer, headers);
                    return Some(Answer::Ready(Some(response)));
                }
                let evaluation = self
                    .settings
                    .health
                    .evaluate(&self.endpoints[endpoint].probe, &[]);
                (probe, evaluation, None)
            }
            Handling::Uncached(probe, evaluation, query) => (probe, evaluation, Some(query)),
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
            // A new header map: a waiter would keep that of the request.
            endpoints.response_of::<M>(probe, &answer, &mut HeaderMap::new())
        })))
    }

    fn handle<A>(
        &self,
        (index, name): EndpointMatch<'_>,
        request: &Request<A>,
    ) -> Option<Handling> {
        let head = RequestHead::of(request, self.settings.health.missing_peer());
        let endpoint = &self.endpoints[index];
        let is_head = *request.method() == Method::HEAD;
        let is_readable = is_head || *request.method() == Method::GET;
        let may_probe = self.settings.allow.allows(&head);
        let detail = || self.settings.details.detail(&head);
        let probe = |detail| ProbeRequest {
            endpoint: index,
            representation: endpoint.negotiate(request.headers()),
            detail,
            is_head,
        };
        if let Some(name) = name {
            // Every other path below a probe path belongs to the app.
            if !may_probe || !is_readable || detail() != Detail::Full {
                return None;
            }
            let name = percent_decoded(name)?;
            let evaluation = self
                .settings
                .health
                .evaluate_dependency(&endpoint.probe, &name)?;
            let probe = probe(Detail::Full);
            return Some(Handling::Uncached(probe, evaluation, Query::default()));
        }
        if !may_probe {
            let code = StatusCode::FORBIDDEN;
            return (!self.settings.forward_denied).then_some(Handling::Reject(code));
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
                    .settings
                    .health
                    .evaluate(&endpoint.probe, &query.excluded);
                return Some(Handling::Uncached(probe, evaluation, query));
            }
        }
        Some(Handling::Cached(probe))
    }

    fn cache(&self, probe: ProbeRequest) -> &ArcSwapOption<RenderedAnswer> {
        let endpoint = &self.endpoints[probe.endpoint];
        let representation = &endpoint.representations[probe.representation];
        match probe.detail {
            Detail::Status => &representation.status_only,
            Detail::Full => &representation.full,
        }
    }

    fn is_valid(&self, answer: &RenderedAnswer) -> bool {
        answer.epoch == self.settings.health.epoch() && Instant::now() < answer.valid_until
    }

    /// Renders the body of a complete evaluation. Without a `query` the body is cached.
    fn rendered(
        &self,
        probe: ProbeRequest,
        evaluation: &Evaluation,
        query: Option<&Query>,
    ) -> Arc<RenderedAnswer> {
        if let Some(query) = query {
            return Arc::new(self.render(probe, evaluation, query));
        }
        // Of the requests that waited for the same runs, the first one renders.
        let cached = self.cache(probe).load_full();
        cached
            .filter(|answer| self.is_valid(answer))
            .unwrap_or_else(|| {
                let answer = Arc::new(self.render(probe, evaluation, &Query::default()));
                self.cache(probe).store(Some(answer.clone()));
                answer
            })
    }

    fn render(
        &self,
        probe: ProbeRequest,
        evaluation: &Evaluation,
        query: &Query,
    ) -> RenderedAnswer {
        let endpoint = &self.endpoints[probe.endpoint];
        let representation = &endpoint.representations[probe.representation];
        let mut evaluated = evaluation.report();
        // For the status page. That of readiness itself needs no second report.
        let is_readiness = endpoint.probe == Probe::Readiness
            && query.excluded.is_empty()
            && !evaluation.is_single();
        let shows_readiness = representation.format.is_page() && probe.detail == Detail::Full;
        let mut readiness = (shows_readiness && !is_readiness)
            .then(|| self.settings.health.snapshot_for(&Probe::Readiness));
        if self.settings.without_measurements {
            evaluated.report = evaluated.report.without_measurements();
            readiness = readiness.map(Report::without_measurements);
        }
        let mut view = if evaluation.is_single() {
            View::single(&evaluated.report, probe.detail)
        } else {
            View::new(&evaluated.report, probe.detail)
        };
        if self.settings.without_measurements {
            view = view.without_measurements();
        } else if probe.detail == Detail::Full {
            evaluated.valid_until = evaluated
                .valid_until
                .min(Instant::now() + MAX_VALIDITY_OF_AGES);
        }
        let (unmatched, groups) = (evaluation.unmatched(&query.excluded), evaluation.groups());
        let view = view.with_request(RequestContext {
            name: endpoint.name(),
            verbose: query.verbose,
            unmatched: &unmatched,
            groups: &groups,
            readiness: readiness.as_ref().or(Some(&evaluated.report)),
        });
        let status = view.status();
        let code = match representation.always_ok {
            true => StatusCode::OK,
            false => self.settings.codes[status as usize],
        };
        let answer = RenderedAnswer::new(
            evaluated.epoch,
            evaluated.valid_until,
            code,
            representation.format.render(&view),
        );
        let decides_rotation = matches!(endpoint.probe, Probe::Readiness | Probe::Group(_));
        if self.settings.envoy_headers && decides_rotation && !evaluation.is_single() {
            answer.with_envoy_header(status, evaluated.report.reason)
        } else {
            answer
        }
    }

    fn response_of<M: Mode>(
        &self,
        probe: ProbeRequest,
        answer: &RenderedAnswer,
        headers: &mut HeaderMap,
    ) -> Response<M::AnswerBody> {
        let body = answer.write(probe.is_head, headers);
        self.response::<M>(probe.endpoint, answer.code, body, headers)
    }

    /// Makes, counts and marks the response of an endpoint.
    ///
    /// `headers` is the map of the request, which hyper reuses for the next request: no map is allocated.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    fn response<M: Mode>(
        &self,
        endpoint: usize,
        code: StatusCode,
        body: Bytes,
        headers: &mut HeaderMap,
    ) -> Response<M::AnswerBody> {
        #[cfg(feature = "metrics")]
        self.endpoints[endpoint].metrics.count(code);
        let mut response = Response::new(M::answer_body(body));
        *response.status_mut() = code;
        mem::swap(response.headers_mut(), headers);
        if self.settings.marks {
            response.extensions_mut().insert(ProbeMark);
        }
        response
    }
}

#[cfg(feature = "grpc")]
impl Endpoints {
    /// Whether `request` is a gRPC health call that is answered here.
    pub(super) fn answers_call<A>(&self, request: &Request<A>) -> bool {
        let settings = &self.settings;
        let head = || RequestHead::of(request, settings.health.missing_peer());
        crate::grpc::is_call(request.uri().path())
            && (!settings.forward_denied || settings.allow.allows(&head()))
    }

    pub(super) fn answer_call<A>(&self, request: Request<A>) -> Answer<GrpcAnswerBody>
    where
        A: Body + Send + 'static,
        A::Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let response = self.grpc.clone().call(request);
        let marks = self.settings.marks;
        Answer::Waiting(Box::pin(async move {
            let Ok(response) = response.await;
            let mut response = response.map(GrpcAnswerBody::Right);
            if marks {
                response.extensions_mut().insert(ProbeMark);
            }
            response
        }))
    }
}

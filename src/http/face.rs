//! What a layer's services share: the probes behind the paths, and who may see what.

#[cfg(feature = "grpc")]
use std::ops::ControlFlow;
use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::{
    answer::{Answer, refusal},
    asked::Asked,
    codes::Codes,
    future::Probe,
    paths::{Match, Paths},
    query::{Query, percent_decoded},
    ready::Ready,
    route::Route,
};
use crate::{
    access::{Access, RequestHead},
    health::Health,
    render::Detail,
};

// As `Epoch`: no neighbour on the heap may take its lines away.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Face {
    pub(super) health: Health,
    pub(super) paths: Paths,
    /// One for each path.
    pub(super) routes: Vec<Route>,
    pub(super) details: Access,
    pub(super) allow: Access,
    pub(super) forward_denied: bool,
    pub(super) codes: Codes,
    /// What strangers are told, for each status.
    pub(super) words: [Answer; 4],
    /// From which times are counted.
    pub(super) born: Instant,
    pub(super) stable: bool,
    /// Whether its answers carry a mark.
    pub(super) marks: bool,
    #[cfg(feature = "grpc")]
    pub(super) grpc: crate::grpc::Interception,
}

impl Face {
    /// What becomes of `request`, whose path is `found`.
    // Always, as all up to the answer: what is called twice is not inlined, and costs 40 more.
    #[inline(always)]
    pub(super) fn turn<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Turn {
        #[cfg(feature = "metrics")]
        let index = found.index;
        let turn = self.decide(request, found);
        #[cfg(feature = "metrics")]
        let turn = self.counted(index, turn);
        turn
    }

    /// Counts an answer that is known; one that is waited for counts itself.
    #[cfg(feature = "metrics")]
    fn counted(&self, index: usize, turn: Turn) -> Turn {
        let requests = &self.routes[index].requests;
        match &turn {
            Turn::Stay(Stay::Answer(ready, _)) => requests.count(ready.answer(self).code),
            Turn::Stay(Stay::Refuse(code)) => requests.count(*code),
            Turn::Stay(Stay::Wait(_)) | Turn::Pass => {}
        }
        turn
    }

    /// Whether what was found is no probe but gRPC.
    #[cfg(feature = "grpc")]
    pub(super) fn is_grpc(&self, found: Match) -> bool {
        found.index == self.routes.len()
    }

    /// Starts to answer a gRPC call, or gives back what is to pass.
    #[cfg(feature = "grpc")]
    pub(super) fn call<A: 'static>(
        &self,
        found: Match,
        request: Request<A>,
    ) -> ControlFlow<crate::grpc::Answering, Request<A>> {
        if !found.is_below {
            return ControlFlow::Continue(request);
        }
        let rules = crate::grpc::Rules {
            health: &self.health,
            allow: &self.allow,
            details: &self.details,
        };
        let answer = match self.grpc.answer(rules, self.forward_denied, request) {
            ControlFlow::Break(answer) => answer,
            passed => return passed,
        };
        if self.marks {
            return ControlFlow::Break(answer.then(super::mark::marked));
        }
        ControlFlow::Break(answer)
    }

    #[inline(always)]
    fn decide<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Turn {
        let head = RequestHead::of(request);
        if !self.allow.allows(&head) {
            return if self.forward_denied {
                Turn::Pass
            } else {
                Turn::Stay(Stay::Refuse(StatusCode::FORBIDDEN))
            };
        }
        Turn::Stay(self.stay(request, found))
    }

    #[inline(always)]
    fn stay<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Stay {
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            return Stay::Refuse(StatusCode::METHOD_NOT_ALLOWED);
        }
        let detail = if self.details.allows(&RequestHead::of(request)) {
            Detail::Full
        } else {
            Detail::Status
        };
        let asked = Asked {
            index: found.index,
            chosen: self.routes[found.index].choose(request.headers()),
            detail,
            is_head,
        };
        if found.is_below {
            let name = found.name(request.uri().path()).and_then(percent_decoded);
            return self.stay_for_one(asked, name, request.headers_mut());
        }
        if detail == Detail::Full
            && let Some(query) = request.uri().query()
            && self.route(asked).reads_query(asked.chosen)
        {
            let query = Query::parse(query);
            // One that asks for nothing gets what everybody gets.
            if query != Query::default() {
                return self.stay_for_query(asked, query, request.headers_mut());
            }
        }
        match self.ready(asked) {
            Some(answer) => Stay::Answer(answer, is_head),
            None => self.stay_for_all(asked, request.headers_mut()),
        }
    }
}

/// What becomes of a request on a probe's path.
pub(super) enum Turn {
    /// Its sender may not know of the probe.
    Pass,
    Stay(Stay),
}

/// How a probe is answered.
// Small: the response itself is made where it stays, and not handed through.
pub(super) enum Stay {
    Refuse(StatusCode),
    /// By an answer that holds; only its head where that alone is asked for.
    Answer(Ready, bool),
    Wait(Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>),
}

impl Stay {
    /// The probe's part of the future. Of a request that is answered at once the headers are taken.
    // Always, as `Answer::response`.
    #[inline(always)]
    pub(super) fn into_probe(self, face: &Face, headers: HeaderMap) -> Probe {
        match self {
            Self::Refuse(code) => Probe::Answer(Some(refusal(code, headers))),
            Self::Answer(ready, head) => {
                Probe::Answer(Some(ready.answer(face).response(head, headers)))
            }
            Self::Wait(answer) => Probe::Waiting(answer),
        }
    }
}

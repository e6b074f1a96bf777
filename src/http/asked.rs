//! What a probe is asked, and the making of an answer that no slot holds.
//!
//! 1. A plain question is answered from its slot, and the answer made for it fills the slot.
//! 2. One with `verbose` or `exclude`, and one for a single dependency, is answered anew each
//!    time: the runs behind it are shared, its bytes are not worth keeping.

use std::{mem, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::{
    answer::Answer,
    face::{Face, Stay},
    query::Query,
    route::{Chosen, Offer, Route},
};
use crate::{
    health::Gathering,
    render::{Detail, Question, View},
};

/// A probe's question, but for the query and the name below the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) index: usize,
    pub(super) chosen: Chosen,
    pub(super) detail: Detail,
    pub(super) is_head: bool,
}

impl Face {
    #[inline]
    pub(super) fn route(&self, asked: Asked) -> &Route {
        &self.routes[asked.index]
    }

    #[inline]
    pub(super) fn offer(&self, asked: Asked) -> &Offer {
        self.route(asked).offer(asked.chosen)
    }

    #[inline(never)]
    pub(super) fn stay_for_all(self: &Arc<Self>, asked: Asked, headers: &mut HeaderMap) -> Stay {
        let mut gathering = self.health.gather(&self.route(asked).probe);
        if gathering.is_settled() {
            let answer = self.make(asked, &gathering, &Query::default());
            return Stay::Answer(self.keep(asked, answer), asked.is_head);
        }
        let headers = mem::take(headers);
        let face = self.clone();
        Stay::Wait(Box::pin(async move {
            gathering.settle().await;
            // Of all who waited for this run, the first makes the answer.
            let ready = face.ready(asked).unwrap_or_else(|| {
                let answer = face.make(asked, &gathering, &Query::default());
                face.keep(asked, answer)
            });
            face.respond(asked, ready.answer(&face), headers)
        }))
    }

    /// For those allowed details alone: to a stranger the query changes nothing.
    #[inline(never)]
    pub(super) fn stay_for_query(
        self: &Arc<Self>,
        asked: Asked,
        query: Query,
        headers: &mut HeaderMap,
    ) -> Stay {
        let probe = &self.route(asked).probe;
        let gathering = self.health.gather_without(probe, &query.excluded);
        self.stay_alone(asked, gathering, query, headers)
    }

    /// For a stranger a name that exists is as unknown as any other.
    #[inline(never)]
    pub(super) fn stay_for_one(
        self: &Arc<Self>,
        asked: Asked,
        name: Option<String>,
        headers: &mut HeaderMap,
    ) -> Stay {
        let probe = &self.route(asked).probe;
        let gathering = match (name, asked.detail) {
            (Some(name), Detail::Full) => self.health.gather_one(probe, &name),
            _ => None,
        };
        match gathering {
            Some(gathering) => self.stay_alone(asked, gathering, Query::default(), headers),
            None => Stay::Refuse(StatusCode::NOT_FOUND),
        }
    }

    /// Waits for an answer that is for this asker alone.
    fn stay_alone(
        self: &Arc<Self>,
        asked: Asked,
        mut gathering: Gathering,
        query: Query,
        headers: &mut HeaderMap,
    ) -> Stay {
        let headers = mem::take(headers);
        let face = self.clone();
        Stay::Wait(Box::pin(async move {
            gathering.settle().await;
            let answer = face.make(asked, &gathering, &query);
            face.respond(asked, &answer, headers)
        }))
    }

    /// The response to one that waited, which nobody has counted yet.
    fn respond(&self, asked: Asked, answer: &Answer, headers: HeaderMap) -> Response<Bytes> {
        #[cfg(feature = "metrics")]
        self.route(asked).requests.count(answer.code);
        answer.response(asked.is_head, headers)
    }

    fn make(&self, asked: Asked, gathering: &Gathering, query: &Query) -> Answer {
        let mut answered = gathering.finish();
        if self.stable {
            answered.report = answered.report.stable();
        }
        let mut view = if gathering.is_for_one() {
            View::single(&answered.report, asked.detail)
        } else {
            View::new(&answered.report, asked.detail)
        };
        if self.stable {
            view = view.timeless();
        }
        let (unmatched, groups) = (gathering.unmatched(&query.excluded), gathering.groups());
        let view = view.of(Question {
            name: &self.route(asked).name,
            verbose: query.verbose,
            unmatched: &unmatched,
            groups: &groups,
        });
        let offer = self.offer(asked);
        Answer::new(
            answered.epoch,
            answered.valid_until,
            view.status(),
            offer.code(view.status(), self.codes),
            offer.format.render(&view),
        )
    }
}

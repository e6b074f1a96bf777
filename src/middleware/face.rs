//! What a layer's services share: the probes behind the paths, and who may see what.

use std::{future::Future, mem, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::{
    answer::{Answer, Body, Holding, Slot, refusal},
    future::Probe,
    paths::{Match, Paths},
};
use crate::{
    access::{Access, Head},
    health::{Gathering, Health},
    probe,
    render::{Detail, Format, View},
    report::Status,
};

#[derive(Debug)]
pub(super) struct Face {
    pub(super) health: Health,
    pub(super) paths: Paths,
    /// One for each path.
    pub(super) routes: Vec<Route>,
    pub(super) details: Access,
    pub(super) allow: Access,
    pub(super) conceal: bool,
    pub(super) codes: Codes,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) probe: probe::Probe,
    status_alone: Slot,
    full: Slot,
    #[cfg(feature = "metrics")]
    requests: crate::metrics::RequestNumbers,
}

impl Route {
    pub(super) fn new(probe: probe::Probe) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            requests: crate::metrics::RequestNumbers::new(&probe),
            probe,
            status_alone: Slot::default(),
            full: Slot::default(),
        }
    }

    fn slot(&self, detail: Detail) -> &Slot {
        match detail {
            Detail::Status => &self.status_alone,
            Detail::Full => &self.full,
        }
    }
}

/// The status code for each status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes([StatusCode; 4]);

impl Default for Codes {
    fn default() -> Self {
        let mut codes = Self([StatusCode::SERVICE_UNAVAILABLE; 4]);
        codes.set(Status::Up, StatusCode::OK);
        codes.set(Status::Degraded, StatusCode::OK);
        codes
    }
}

impl Codes {
    pub(super) fn set(&mut self, status: Status, code: StatusCode) {
        self.0[status as usize] = code;
    }

    fn of(self, status: Status) -> StatusCode {
        self.0[status as usize]
    }
}

impl Face {
    /// What becomes of `request`, whose path is `found`.
    #[inline]
    pub(super) fn turn<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Turn {
        #[cfg(feature = "metrics")]
        let index = found.index;
        let turn = self.decide(request, found);
        #[cfg(feature = "metrics")]
        let turn = self.counted(index, turn);
        turn
    }

    /// Sees to it that the answer is counted once it is known.
    #[cfg(feature = "metrics")]
    fn counted(self: &Arc<Self>, index: usize, turn: Turn) -> Turn {
        let requests = &self.routes[index].requests;
        match turn {
            Turn::Stay(Stay::Wait(answer)) => {
                let face = self.clone();
                Turn::Stay(Stay::Wait(Box::pin(async move {
                    let response = answer.await;
                    face.routes[index].requests.count(response.status());
                    response
                })))
            }
            Turn::Stay(Stay::Answer(answer, head)) => {
                requests.count(answer.code);
                Turn::Stay(Stay::Answer(answer, head))
            }
            Turn::Stay(Stay::Refuse(code)) => {
                requests.count(code);
                Turn::Stay(Stay::Refuse(code))
            }
            Turn::Pass => Turn::Pass,
        }
    }

    #[inline]
    fn decide<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Turn {
        let head = Head::of(request);
        if !self.allow.allows(&head) {
            return if self.conceal {
                Turn::Pass
            } else {
                Turn::Stay(Stay::Refuse(StatusCode::FORBIDDEN))
            };
        }
        Turn::Stay(self.stay(request, found))
    }

    #[inline]
    fn stay<A>(self: &Arc<Self>, request: &mut Request<A>, found: Match) -> Stay {
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            return Stay::Refuse(StatusCode::METHOD_NOT_ALLOWED);
        }
        let detail = if self.details.allows(&Head::of(request)) {
            Detail::Full
        } else {
            Detail::Status
        };
        if found.name_at.is_some() {
            return self.stay_for_one(found, detail, is_head, request);
        }
        let slot = self.routes[found.index].slot(detail);
        match slot.get(self.health.epoch()) {
            Some(answer) => Stay::Answer(answer, is_head),
            None => self.stay_for_all(found.index, detail, is_head, request),
        }
    }

    #[inline(never)]
    fn stay_for_all<A>(
        self: &Arc<Self>,
        index: usize,
        detail: Detail,
        head: bool,
        request: &mut Request<A>,
    ) -> Stay {
        let mut gathering = self.health.gather(&self.routes[index].probe);
        if gathering.is_settled() {
            return Stay::Answer(self.make(index, detail, &gathering), head);
        }
        let mut headers = mem::take(request.headers_mut());
        let face = self.clone();
        Stay::Wait(Box::pin(async move {
            gathering.settle().await;
            // Of all who waited for this run, the first makes the answer.
            face.routes[index]
                .slot(detail)
                .get(face.health.epoch())
                .unwrap_or_else(|| face.make(index, detail, &gathering))
                .response(head, &mut headers)
        }))
    }

    fn make(&self, index: usize, detail: Detail, gathering: &Gathering) -> Holding {
        let answered = gathering.finish();
        let view = View::cut(&answered.report, detail);
        let bytes = Format::json().render(&view).body;
        self.routes[index].slot(detail).put(Answer {
            epoch: answered.epoch,
            valid_until: answered.valid_until,
            code: self.codes.of(view.status()),
            length: bytes.len().into(),
            body: match detail {
                Detail::Status => Body::Static(bytes),
                Detail::Full => Body::shared(&bytes),
            },
        })
    }

    /// For a stranger a name that exists is as unknown as any other.
    #[inline(never)]
    fn stay_for_one<A>(
        &self,
        found: Match,
        detail: Detail,
        head: bool,
        request: &mut Request<A>,
    ) -> Stay {
        let name = found.name(request.uri().path()).and_then(percent_decoded);
        let gathering = match (name, detail) {
            (Some(name), Detail::Full) => self
                .health
                .gather_one(&self.routes[found.index].probe, &name),
            _ => None,
        };
        let Some(mut gathering) = gathering else {
            return Stay::Refuse(StatusCode::NOT_FOUND);
        };
        let mut headers = mem::take(request.headers_mut());
        let codes = self.codes;
        Stay::Wait(Box::pin(async move {
            gathering.settle().await;
            let answered = gathering.finish();
            let view = View::single(&answered.report, detail);
            let bytes = Format::json().render(&view).body;
            Answer {
                epoch: answered.epoch,
                valid_until: answered.valid_until,
                code: codes.of(view.status()),
                length: bytes.len().into(),
                body: Body::Static(bytes),
            }
            .response(head, &mut headers)
        }))
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
    Answer(Holding, bool),
    Wait(Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>),
}

impl Stay {
    /// The probe's part of the future. Of a request that is answered at once the headers are taken.
    // Always, as `Answer::response`.
    #[inline(always)]
    pub(super) fn into_probe(self, headers: &mut HeaderMap) -> Probe {
        match self {
            Self::Refuse(code) => Probe::Answer(Some(refusal(code, headers))),
            Self::Answer(answer, head) => Probe::Answer(Some(answer.response(head, headers))),
            Self::Wait(answer) => Probe::Waiting(answer),
        }
    }
}

/// `segment` as the name it stands for; `None` for what is no UTF-8 or no escape.
fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn a_segment_stands_for_a_name() {
        let table = [
            ("database", Some("database")),
            ("b%C3%BCro", Some("büro")),
            ("a%20b", Some("a b")),
            ("a%2Fb", Some("a/b")),
            ("100%25", Some("100%")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
        ];
        for (segment, name) in table {
            assert_eq!(percent_decoded(segment).as_deref(), name, "{segment}");
        }
    }
}

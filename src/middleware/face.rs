//! What a layer's services share: the probes behind the paths, and who may see what.

use std::{mem, sync::Arc};

use http::{HeaderMap, Method, Request, StatusCode};

use super::{
    answer::{Answer, Body, Slot, refusal},
    future::Probe,
    paths::{Match, Paths},
};
use crate::{
    access::{Access, Head},
    health::{Gathering, Health},
    probe,
    render::{Detail, View, json},
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
}

impl Route {
    pub(super) fn new(probe: probe::Probe) -> Self {
        Self {
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
    /// Answers `request`, whose path is `found`; `None` when its sender may not know that.
    ///
    /// Of a request that is answered the headers are taken.
    pub(super) fn turn<A>(
        self: &Arc<Self>,
        request: &mut Request<A>,
        found: Match,
    ) -> Option<Probe> {
        let head = Head::of(request);
        if !self.allow.allows(&head) {
            if self.conceal {
                return None;
            }
            return Some(refuse(StatusCode::FORBIDDEN, request));
        }
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, request));
        }
        let detail = if self.details.allows(&head) {
            Detail::Full
        } else {
            Detail::Status
        };
        Some(match found.name(request.uri().path()) {
            None => self.answer(found.index, detail, is_head, request),
            Some(name) => {
                let name = percent_decoded(name);
                self.answer_for_one(found.index, name.as_deref(), detail, is_head, request)
            }
        })
    }

    fn answer<A>(
        self: &Arc<Self>,
        index: usize,
        detail: Detail,
        head: bool,
        request: &mut Request<A>,
    ) -> Probe {
        let route = &self.routes[index];
        if let Some(answer) = route.slot(detail).get(self.health.epoch()).as_deref() {
            return Probe::Answer(Some(answer.response(head, headers_of(request))));
        }
        let mut gathering = self.health.gather(&route.probe);
        let headers = headers_of(request);
        if gathering.is_settled() {
            let answer = self.make(index, detail, &gathering);
            return Probe::Answer(Some(answer.response(head, headers)));
        }
        let face = self.clone();
        Probe::Waiting(Box::pin(async move {
            gathering.settle().await;
            // Of all who waited for this run, the first makes the answer.
            let slot = face.routes[index].slot(detail);
            if let Some(answer) = slot.get(face.health.epoch()).as_deref() {
                return answer.response(head, headers);
            }
            face.make(index, detail, &gathering).response(head, headers)
        }))
    }

    fn make(&self, index: usize, detail: Detail, gathering: &Gathering) -> Arc<Answer> {
        let answered = gathering.finish();
        let view = View::cut(&answered.report, detail);
        let bytes = json(&view);
        let answer = Arc::new(Answer {
            epoch: answered.epoch,
            valid_until: answered.valid_until,
            code: self.codes.of(view.status()),
            length: bytes.len().into(),
            body: match detail {
                Detail::Status => Body::Static(bytes),
                Detail::Full => Body::shared(&bytes),
            },
        });
        self.routes[index].slot(detail).put(answer.clone());
        answer
    }

    /// For a stranger a name that exists is as unknown as any other.
    fn answer_for_one<A>(
        &self,
        index: usize,
        name: Option<&str>,
        detail: Detail,
        head: bool,
        request: &mut Request<A>,
    ) -> Probe {
        let gathering = match (name, detail) {
            (Some(name), Detail::Full) => self.health.gather_one(&self.routes[index].probe, name),
            _ => None,
        };
        let Some(mut gathering) = gathering else {
            return refuse(StatusCode::NOT_FOUND, request);
        };
        let headers = headers_of(request);
        let codes = self.codes;
        Probe::Waiting(Box::pin(async move {
            gathering.settle().await;
            let answered = gathering.finish();
            let view = View::single(&answered.report, detail);
            let bytes = json(&view);
            Answer {
                epoch: answered.epoch,
                valid_until: answered.valid_until,
                code: codes.of(view.status()),
                length: bytes.len().into(),
                body: Body::Static(bytes),
            }
            .response(head, headers)
        }))
    }
}

fn refuse<A>(code: StatusCode, request: &mut Request<A>) -> Probe {
    Probe::Answer(Some(refusal(code, headers_of(request))))
}

/// The request's header map becomes the response's.
fn headers_of<A>(request: &mut Request<A>) -> HeaderMap {
    mem::take(request.headers_mut())
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

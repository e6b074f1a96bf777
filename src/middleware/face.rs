//! What a layer's services share: the probes behind the paths, and who may see what.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode};

use super::{
    answer::{Answer, Body, Slot, refusal},
    future::ResponseFuture,
    paths::{Match, Paths},
};
use crate::{
    access::{Access, Head},
    health::{Gathering, Health},
    probe::Probe,
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
    pub(super) probe: Probe,
    status_alone: Slot,
    full: Slot,
}

impl Route {
    pub(super) fn new(probe: Probe) -> Self {
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
    /// Answers `request`, whose path is `found`; gives it back when its sender may not know that.
    pub(super) fn turn<A, F>(
        self: &Arc<Self>,
        request: Request<A>,
        found: Match,
    ) -> Result<ResponseFuture<F>, Request<A>> {
        let head = Head::of(&request);
        if !self.allow.allows(&head) {
            return if self.conceal {
                Err(request)
            } else {
                Ok(refuse(StatusCode::FORBIDDEN, request))
            };
        }
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            return Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, request));
        }
        let detail = if self.details.allows(&head) {
            Detail::Full
        } else {
            Detail::Status
        };
        Ok(match found.name(request.uri().path()) {
            None => self.answer(found.index, detail, is_head, into_headers(request)),
            Some(name) => {
                let name = percent_decoded(name);
                self.answer_for_one(name.as_deref(), detail, is_head, into_headers(request))
            }
        })
    }

    fn answer<F>(
        self: &Arc<Self>,
        index: usize,
        detail: Detail,
        head: bool,
        headers: HeaderMap,
    ) -> ResponseFuture<F> {
        let route = &self.routes[index];
        if let Some(answer) = route.slot(detail).get(self.health.epoch()).as_deref() {
            return ResponseFuture::answer(answer.response(head, headers));
        }
        let mut gathering = self.health.gather(&route.probe);
        if gathering.is_settled() {
            let answer = self.make(index, detail, &gathering);
            return ResponseFuture::answer(answer.response(head, headers));
        }
        let face = self.clone();
        ResponseFuture::waiting(Box::pin(async move {
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
            body: match detail {
                Detail::Status => Body::Static(bytes),
                Detail::Full => Body::shared(&bytes),
            },
        });
        self.routes[index].slot(detail).put(answer.clone());
        answer
    }

    /// For a stranger a name that exists is as unknown as any other.
    fn answer_for_one<F>(
        &self,
        name: Option<&str>,
        detail: Detail,
        head: bool,
        headers: HeaderMap,
    ) -> ResponseFuture<F> {
        let gathering = match (name, detail) {
            (Some(name), Detail::Full) => self.health.gather_one(name),
            _ => None,
        };
        let Some(mut gathering) = gathering else {
            return ResponseFuture::answer(refusal(StatusCode::NOT_FOUND, headers));
        };
        let codes = self.codes;
        ResponseFuture::waiting(Box::pin(async move {
            gathering.settle().await;
            let answered = gathering.finish();
            let view = View::single(&answered.report, detail);
            Answer {
                epoch: answered.epoch,
                valid_until: answered.valid_until,
                code: codes.of(view.status()),
                body: Body::Static(json(&view)),
            }
            .response(head, headers)
        }))
    }
}

fn refuse<A, F>(code: StatusCode, request: Request<A>) -> ResponseFuture<F> {
    ResponseFuture::answer(refusal(code, into_headers(request)))
}

/// Drops the rest of the request before anything is awaited: hyper reuses its
/// buffer once nothing of the request refers to it.
fn into_headers<A>(request: Request<A>) -> HeaderMap {
    request.into_parts().0.headers
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

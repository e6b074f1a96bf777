//! What the layer does with a call.

use std::{
    any::{Any, TypeId},
    ops::ControlFlow,
};

use bytes::Bytes;
use http::Request;

use super::{
    GrpcBody,
    asked::{Asked, Named},
    call::{Answering, Opening, Rules},
};
use crate::access::RequestHead;

/// What a layer says of calls beside its rules.
#[derive(Clone, Debug)]
pub(crate) struct Interception {
    pub(crate) on: bool,
    pub(crate) named: Named,
}

impl Default for Interception {
    fn default() -> Self {
        Self {
            on: true,
            named: Named::default(),
        }
    }
}

impl Interception {
    /// Starts to answer `request`, or gives it back to be passed through: its sender may not know
    /// of the service (`forward_denied`), or its body is of a type that cannot be read.
    pub(crate) fn answer<A: 'static>(
        &self,
        rules: Rules<'_>,
        forward_denied: bool,
        request: Request<A>,
    ) -> ControlFlow<Answering, Request<A>> {
        if forward_denied
            && !rules
                .allow
                .allows(&RequestHead::of(&request, rules.health.missing_peer()))
        {
            return ControlFlow::Continue(request);
        }
        let opening = Opening::of(rules, &request);
        let (parts, body) = request.into_parts();
        match Asked::of(body, &self.named) {
            Ok(body) => ControlFlow::Break(opening.answer(rules.health, parts.headers, body)),
            Err(body) => ControlFlow::Continue(Request::from_parts(parts, body)),
        }
    }
}

/// Turns an answer's body into a `B`, where `B` can hold trailers.
pub(crate) fn body_as<B: From<Bytes> + 'static>(body: GrpcBody) -> B {
    let mut slot = Some(axum_core::body::Body::new(body));
    let slot: &mut dyn Any = &mut slot;
    match slot.downcast_mut::<Option<B>>().and_then(Option::take) {
        Some(body) => body,
        // Not reached: such requests pass through.
        None => B::from(Bytes::new()),
    }
}

/// Whether `B`, which is made from `Bytes`, can be made from an answer's body, too.
pub(crate) fn holds_trailers<B: 'static>() -> bool {
    TypeId::of::<B>() == TypeId::of::<axum_core::body::Body>()
}

//! The layer: probes are answered here, everything else passes through.
//!
//! Rules, in evaluation order:
//!
//! 1. `paths`: a path that is no probe's passes through, untouched: one test of a
//!    bit decides for nearly all of them.
//! 2. Who may not probe (`allow`) gets 403, or with `forward_denied` passes through.
//! 3. A method other than `GET` and `HEAD` gets 405.
//! 4. `route`: the form is the path's own, or what `accept` names, or the layer's.
//! 5. A name below a probe's path is one dependency's: 404 to whoever sees no details.
//! 6. `query`: `verbose` and `exclude` count from those allowed details, and get an answer of their own.
//! 7. `answer`: the bytes made for this verdict, form and audience, while they hold; else
//!    the verdict is asked for, and the request waits for runs under way.
//! 8. `mark`: where it is asked for, an answer is marked for layers further out.
//! 9. `signal`: a response that passes through while the app drains can be told to say so.

mod answer;
mod asked;
mod body;
mod busy;
mod codes;
mod face;
mod future;
mod keep_body_type;
mod layer;
mod mark;
mod maybe_static;
mod paths;
#[cfg(test)]
mod paths_properties;
mod query;
mod ready;
mod route;
mod service;
mod shard;
mod signal;
mod told;

pub use self::{
    body::ResponseBody,
    busy::{BusyFuture, BusyLayer, BusyService},
    future::ResponseFuture,
    keep_body_type::{KeepBodyFuture, KeepBodyLayer, KeepBodyService},
    layer::HealthLayer,
    mark::ProbeMark,
    maybe_static::MaybeStatic,
    service::HealthService,
    signal::{AnnounceDrainFuture, AnnounceDrainLayer, AnnounceDrainService},
};

//! The layer: probes are answered here, everything else passes through.
//!
//! Rules, in evaluation order:
//!
//! 1. `paths`: a path that is no probe's passes through, untouched: one test of a
//!    bit decides for nearly all of them.
//! 2. Who may not probe (`allow`) gets 403, or with `conceal` passes through.
//! 3. A method other than `GET` and `HEAD` gets 405.
//! 4. A name below a probe's path is one dependency's: 404 to whoever sees no details.
//! 5. `answer`: the bytes made for this verdict and audience, while they hold; else
//!    the verdict is asked for, and the request waits for runs under way.
//! 6. `signal`: a response that passes through while the app drains can be told to say so.

mod answer;
mod body;
mod busy;
mod face;
mod future;
mod layer;
mod paths;
#[cfg(test)]
mod paths_properties;
mod same_body;
mod service;
mod shard;
mod signal;

pub use self::{
    body::ResponseBody,
    busy::{BusyFuture, BusyLayer, BusyService},
    future::ResponseFuture,
    layer::HealthLayer,
    same_body::{SameBodyFuture, SameBodyLayer, SameBodyService},
    service::HealthService,
    signal::{SignalLayer, Signalled, SignalledFuture},
};

//! A fleet of replicas on a paused clock.
//!
//! Real: the engine, its layer, `bb8` and the pool check. Virtual: the server, its network, the probers
//! and the users. Not simulated: what a busy machine does to all of these.
//!
//! The arrivals follow from the seed; the engine's jitter is its own, which moves the
//! figures by a few in a thousand.
// The example and the test use a part each.
#![allow(dead_code, unused_imports)]

mod postgres;
mod probers;
mod random;
mod replica;
mod simulation;

pub(crate) use self::{
    replica::Way,
    simulation::{Course, Scenario, run},
};

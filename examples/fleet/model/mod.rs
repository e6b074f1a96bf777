//! A fleet of replicas on a paused clock.
//!
//! Real: the engine, its layer, `bb8` and the pool check. Virtual: the server, its network, the probers,
//! the balancers and the users. Not simulated: the load of the machine.
//!
//! The seed determines the arrivals. The jitter of the cache lifetime is random, which changes the
//! figures by a few in a thousand.
// The example and the test use a part each.
#![allow(dead_code, unused_imports)]

mod balancer;
mod outage;
mod postgres;
mod probers;
mod random;
mod replica;
mod simulation;

pub(crate) use self::{
    balancer::Balancer,
    outage::{Losses, Outage, Policy, simulate},
    replica::Way,
    simulation::{Course, Scenario, run},
};

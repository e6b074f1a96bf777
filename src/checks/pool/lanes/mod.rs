//! Detached tasks that own a connection until nothing of the check is pending on it.
//!
//! A lane is such a task, as the runs see it. A check has three slots for lanes: two for checkouts, one for
//! the dedicated connection. A task occupies its slot until its connection is back in the pool or closed. A
//! run that finds a slot occupied joins that lane. Dropping a run therefore drops no connection.

// In the order of their imports.
mod lane;

mod slots;

mod checkout;
mod dedicated;

pub(super) use self::{
    checkout::CheckoutPlan,
    lane::{Answered, End, Lane, Step},
    slots::{Lanes, LastRun},
};

//! Ready-made checks on the app's own pools and workers.
//!
//! [`Heartbeat`], [`Switch`] and [`RuntimeLag`] look inside the process: at a worker, at what the app says of
//! itself, and at the runtime. Liveness may use these three. [`blocking`] runs a synchronous check.
//!
//! `checks::postgres`, `checks::redis` and `checks::pool` look at a `bb8::Pool` of the app's. All three
//! keep to the same rules:
//!
//! 1. The pool comes first. A healthy one costs one round trip and no connection.
//! 2. A connection that the pool cannot deliver within a third of the budget is no
//!    verdict yet: `bb8` says `Timed out` for every fault. If others were served
//!    meanwhile with validated connections, the pool is [`Saturated`](crate::Reason::Saturated).
//! 3. Otherwise one dedicated connection tells the true cause: its error is the
//!    verdict, or it works, and then the pool is what is saturated or stuck.
//! 4. Such a connection is handed to the pool, or takes the place of one found
//!    dead, so that the next check and the app find a pool that works.
//! 5. After a failure the dedicated connection goes first, so that recovery shows
//!    at the first check after the server is back and not after `bb8`'s back-off.
//!
//! A check ends within its own budget (700 ms by default), which should stay below
//! the timeout of its [`Dependency`](crate::Dependency) (800 ms by default). Its future may
//! be dropped at any point: connections go back to the pool or are closed.

mod blocking;
#[cfg(feature = "pool")]
mod guarded;
mod heartbeat;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod known;
#[cfg(feature = "pool")]
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod runtime_lag;
mod switch;

#[cfg(feature = "postgres")]
pub use self::postgres::{Postgres, postgres};
#[cfg(feature = "redis")]
pub use self::redis::{Redis, redis};
pub use self::{
    blocking::{Blocking, blocking},
    heartbeat::Heartbeat,
    runtime_lag::RuntimeLag,
    switch::Switch,
};
#[cfg(feature = "pool")]
pub use self::{
    guarded::{GuardedError, GuardedManager},
    pool::{PingFuture, PoolCheck, pool},
};

//! Checks on connection pools, workers, the async runtime and synchronous code.
//!
//! [`Heartbeat`], [`Switch`] and [`RuntimeLag`] read the state of this process: a worker, a state that the app
//! sets, and the runtime. Liveness may use these three. [`blocking`] runs a synchronous check.
//!
//! `checks::postgres`, `checks::redis` and `checks::pool` check a `bb8::Pool` of the app. `checks::connection_pool`
//! checks any other pool through the trait `ConnectionPool`. A run collects
//! evidence, and one pure function chooses the result. The rules:
//!
//! 1. The check opens at most one connection outside the pool, per check value; clones share it. One that
//!    hangs is kept and awaited, never doubled. The check uses at most two pooled connections: the second
//!    only while the first hangs.
//! 2. A pooled connection returns to the pool only when nothing of the check is pending on it. The check
//!    cancels, replaces and closes no connection that the app uses. Two exceptions: a pool that tests at checkout
//!    abandons its own test after `connection_timeout`. The opt-in `repair_pool` replaces a connection
//!    that the check holds and that returned an error.
//!    A task whose runtime is no longer driven loses its place to a run on another runtime.
//! 3. Up and degraded need evidence from this run that a pooled connection works. Either the check's own
//!    checkout answered, or the pool served other callers with connections that it tested. The one exception
//!    is a pool whose connections are all in use, in front of a server that answers.
//! 4. The timeout of the [`Dependency`](crate::Dependency) is the only time limit on a result.
//! 5. The check never queues behind the app's callers in a full pool.
//! 6. A healthy pool costs one round trip if it tests at checkout with `bb8-postgres` or `bb8-redis`.
//!    Otherwise the check sends a separate ping.
//!
//! The dedicated connection is opened when the pool does not answer in time. Its error is the true
//! cause, since most pools report every fault as a timeout. While the pool does not answer, it is
//! kept. It is added to the pool if the pool has room and no idle connection.
//!
//! The first row that fits is the result:
//!
//! | # | checkout | dedicated connection | other callers served | pool full | result |
//! |---|---|---|---|---|---|
//! | 1 | answered, proof fine or none | any | any | any | up |
//! | 2 | answered, and the pool keeps broken connections | any | any | any | degraded `pool_stuck` |
//! | 3 | answered, and another checkout is unresponsive | any | any | any | degraded `pool_stuck` |
//! | 4 | answered, only the ping is forbidden, proof fine or none | any | any | any | degraded `rejected` |
//! | 5 | answered, the proof is degraded or down | any | any | any | that of the proof |
//! | 6 | answered, the proof had half of the timeout and is not over | any | any | any | down `timeout` |
//! | 7 | answered late, the proof is not over | any | any | any | degraded `saturated` |
//! | 8 | the server answers that it cannot serve | any | any | any | down, the server's reason |
//! | 9 | no answer | refused | yes | any | degraded, the refusal's reason |
//! | 10 | no answer, a proof is required | the proof failed or takes too long | yes | any | that of the proof |
//! | 11 | no answer, a proof is required | any other | yes | any | degraded `saturated` |
//! | 12 | unresponsive | any other | yes | any | degraded `pool_stuck` |
//! | 13 | no answer | any other | yes, after 200 ms or more | any | degraded `saturated` |
//! | 14 | no answer | any other | yes, promptly | any | up |
//! | 15 | not tried or waiting | the proof failed or takes too long | no | yes | that of the proof |
//! | 16 | not tried or waiting | answers | no | yes | degraded `saturated` |
//! | 17 | any other | answers | no | any | down `pool_stuck` |
//! | 18 | any other | forbids the ping | no | any | down `rejected` |
//! | 19 | any other | refused, or the server cannot serve | no | any | down, its reason |
//! | 20 | broken | not tried | no | any | down, the reason of the broken connection |
//! | 21 | any other | waiting or not tried | no | any | down `timeout` |
//!
//! "No answer" is: not tried, waiting, unresponsive, broken, or a loop in which each new connection fails
//! the pool's test. "Unresponsive" is: no answer for a whole timeout. "The proof" is what an option requires in
//! addition to an answer, as `query` or `primary` do.

mod blocking;
#[cfg(feature = "pool")]
mod connect_timeout;
#[cfg(feature = "pool")]
mod driver_error;
mod heartbeat;
#[cfg(feature = "pool")]
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod runtime_lag;
mod switch;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresCheck, postgres};
#[cfg(feature = "redis")]
pub use self::redis::{RedisCheck, redis};
pub use self::{
    blocking::{Blocking, blocking},
    heartbeat::Heartbeat,
    runtime_lag::RuntimeLag,
    switch::Switch,
};
#[cfg(feature = "pool")]
pub use self::{
    connect_timeout::{ConnectTimeoutError, ConnectTimeoutManager},
    pool::{
        CheckoutTest, ConnectionPool, ConnectionPoolCheck, PingError, PingFuture, PoolCheck,
        PoolCounters, connection_pool, pool,
    },
};

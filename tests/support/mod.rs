//! Real servers for the tests: private PostgreSQL and Redis processes that can be frozen, killed
//! and restarted, and a TCP proxy for the faults that signals cannot make.
//!
//! 1. Nothing is downloaded and nothing is shared: each server has its own process, port and
//!    directory, so tests run in parallel.
//! 2. Nothing stays behind. `Drop` ends the server and removes its directory; a guard does the same
//!    if the test process is killed.
//! 3. Conditions are awaited with a deadline ([`wait_until`]), never by sleeping for luck. The clock
//!    must run: servers know nothing of a paused one.
//!
//! `tests/setup.sh` installs the servers. `TOWER_HEALTH_PG_BIN` (a directory) and
//! `TOWER_HEALTH_REDIS_BIN` (a file) name others.

// Every test binary compiles this module and uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod binaries;
mod client;
mod dirs;
mod family;
mod guard;
mod lateness;
#[cfg(feature = "postgres")]
mod pgbouncer;
mod ports;
#[cfg(feature = "postgres")]
mod postgres;
mod program;
mod prometheus;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "postgres")]
mod template;
mod wait;

pub use binaries::{installed, postgres_is_installed, redis_is_installed, wheel};
pub use client::{ask, becomes, get};
pub use family::is_alive;
pub use lateness::{Waits, judged_on_time};
#[cfg(feature = "postgres")]
pub use pgbouncer::PgBouncer;
pub use ports::unused_port;
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresBuilder};
pub use program::{Ended, Program, example, run_example};
pub use prometheus::Prometheus;
pub use proxy::{Mode, Proxy};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder};
pub use wait::{MAXIMUM_WAIT, wait_until};

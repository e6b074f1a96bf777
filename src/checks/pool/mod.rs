//! [`PoolCheck`], and the engine that all checks on pools share.

mod attempt;
mod backend;
mod check;
mod dedicated;
mod engine;
mod evidence;
mod heal;
mod race;
mod settings;
mod verdict;

pub use self::check::{PingFuture, PoolCheck, pool};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) use self::{
    backend::{Backend, Judgement, Loan},
    engine::Engine,
    settings::pool_options,
};

//! The lock of a single flight: std's, or loom's when its interleavings are checked.

#[cfg(tower_health_loom)]
pub(super) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(tower_health_loom))]
pub(super) use std::sync::{Mutex, MutexGuard};

//! Three instances of the demo behind a real HAProxy or Envoy, and the load on them.

// The demo needs both; the test of gRPC has its own app.
#[cfg(all(feature = "postgres", feature = "redis"))]
mod balancer;
mod envoy;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod instance;
mod load;
mod storm;

#[cfg(all(feature = "postgres", feature = "redis"))]
pub use balancer::Balancer;
pub use envoy::{Cluster, Envoy};
#[cfg(all(feature = "postgres", feature = "redis"))]
pub use instance::{DRAIN, Instance};
pub use load::Load;
pub use storm::Storm;

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// No step takes longer, on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(60);

static TURN: Mutex<()> = Mutex::const_new(());

/// One at a time: each of these tests loads a whole machine, which may have two cores.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

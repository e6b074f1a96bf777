//! Three instances of the demo behind a real HAProxy or Envoy, and the load on them.

mod balancer;
mod envoy;
mod instance;
mod load;

pub use balancer::Balancer;
pub use envoy::{Cluster, Envoy};
pub use instance::{DRAIN, Instance};
pub use load::{Load, Storm};

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// No step takes longer, on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(60);

static TURN: Mutex<()> = Mutex::const_new(());

/// One at a time: each of these tests loads a whole machine, which may have two cores.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

//! What all that serve gRPC for one handle share; the handle keeps it and knows nothing of it.

use super::{memo::Memo, watchers::Watchers};
use crate::health::Health;

// Every call reads it: as with the handle's own, no neighbour on the heap may take its lines away.
#[repr(align(128))]
#[derive(Default)]
struct Kept {
    watchers: Watchers,
    checks: Memo,
}

impl Health {
    pub(super) fn watchers(&self) -> &Watchers {
        &self.kept::<Kept>().watchers
    }

    /// The last answers of `Check`.
    pub(super) fn checks(&self) -> &Memo {
        &self.kept::<Kept>().checks
    }
}

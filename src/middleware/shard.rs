//! Shared state without a shared counter.
//!
//! hyper-util clones a tower service for every request. With a plain `Arc` in it,
//! threads that serve at the same time fight over one reference count: 12 % of a
//! whole request with four of them. Here each thread counts on a cache line of its
//! own, and nothing is leaked.

use std::{
    cell::Cell,
    fmt,
    ops::Deref,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A power of two; threads beyond it share.
pub(super) const SHARDS: usize = 8;

/// This thread's shard: threads take turns.
pub(super) fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        mine.get()
    })
}

/// A shared value whose clones count on their thread's own shard.
///
/// The first handle and its shares keep all shards alive. When they are gone, clones go on as plain
/// `Arc`s of the shard they are on: correct, only slower, and such is a server that
/// shuts down.
pub(super) struct Sharded<T> {
    own: Arc<Shard<T>>,
    /// Held, never read: what `siblings` refer to lives as long as this.
    _all: Option<Arc<[Arc<Shard<T>>]>>,
}

// Two lines: the processor fetches them in pairs.
#[repr(align(128))]
struct Shard<T> {
    value: Arc<T>,
    siblings: OnceLock<Box<[Weak<Self>]>>,
}

impl<T> Sharded<T> {
    pub(super) fn new(value: T) -> Self {
        let value = Arc::new(value);
        let all: Arc<[_]> = (0..SHARDS)
            .map(|_| {
                Arc::new(Shard {
                    value: value.clone(),
                    siblings: OnceLock::new(),
                })
            })
            .collect();
        for shard in all.iter() {
            // The first and only time it is set.
            let _ = shard.siblings.set(all.iter().map(Arc::downgrade).collect());
        }
        Self {
            own: all[0].clone(),
            _all: Some(all),
        }
    }

    /// Another handle that keeps all shards alive.
    pub(super) fn share(&self) -> Self {
        Self {
            own: self.own.clone(),
            _all: self._all.clone(),
        }
    }

    /// The value in a plain `Arc`, for what outlives the request.
    pub(super) fn value(&self) -> &Arc<T> {
        &self.own.value
    }
}

impl<T> Clone for Sharded<T> {
    #[inline]
    fn clone(&self) -> Self {
        let mine = self
            .own
            .siblings
            .get()
            .and_then(|siblings| siblings[shard()].upgrade());
        Self {
            own: mine.unwrap_or_else(|| self.own.clone()),
            _all: None,
        }
    }
}

impl<T> Deref for Sharded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.own.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.own.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::Sharded;

    #[test]
    fn the_value_lives_as_long_as_any_clone_and_no_longer() {
        let value = Arc::new(());
        let first = Sharded::new(value.clone());
        let second =
            thread::scope(|scope| scope.spawn(|| first.clone()).join()).expect("does not panic");
        drop(first);
        let third = second.clone();
        drop(second);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(third);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

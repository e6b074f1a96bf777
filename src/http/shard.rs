//! Shared state without a shared counter.
//!
//! hyper-util clones a tower service for every request. With a plain `Arc` in it,
//! threads that serve at the same time fight over one reference count: 12 % of a
//! whole request with four of them. Here each thread counts on a cache line of its
//! own, and nothing is leaked.

use std::{
    array,
    cell::Cell,
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A power of two; threads beyond it share.
pub(super) const SHARDS: usize = 8;

/// This thread's shard: threads take turns.
#[inline]
pub(super) fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        // Always so, but the compiler knows it only from here.
        mine.get() % SHARDS
    })
}

/// How many times over a clone's clone finds its thread's shard: a connection's, its request's, and two to spare.
const LEVELS: usize = 4;

/// A shared value whose clones count on their thread's own shard.
///
/// The handle that is made first is cloned to a shard of the first level, that to one of the second, and so
/// on: what each keeps alive lies below it, so that there is no cycle. Clones of the last
/// level stay on the shard they are on: correct, only slower.
pub(super) struct Sharded<T> {
    own: Arc<Shard<T>>,
}

// Two lines: the processor fetches them in pairs.
#[repr(align(128))]
struct Shard<T> {
    value: Arc<T>,
    /// Where clones go.
    below: Option<Arc<[Arc<Self>; SHARDS]>>,
}

impl<T> Sharded<T> {
    pub(super) fn new(value: T) -> Self {
        let value = Arc::new(value);
        let shard = |below| {
            Arc::new(Shard {
                value: value.clone(),
                below,
            })
        };
        let below = (0..LEVELS).fold(None, |below, _| {
            Some(Arc::new(array::from_fn(|_| shard(below.clone()))))
        });
        Self { own: shard(below) }
    }

    /// Another handle like this one, on the same shard.
    pub(super) fn share(&self) -> Self {
        Self {
            own: self.own.clone(),
        }
    }

    /// The value in a plain `Arc`, for what outlives the request.
    pub(super) fn value(&self) -> &Arc<T> {
        &self.own.value
    }
}

impl<T> Clone for Sharded<T> {
    // Nothing here may synchronise or unwind, as `Weak::upgrade` does: the request that hyper-util
    // holds meanwhile would be copied twice more, for 140 instructions.
    #[inline]
    fn clone(&self) -> Self {
        let own = match &self.own.below {
            Some(shards) => &shards[shard()],
            None => &self.own,
        };
        Self { own: own.clone() }
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

    use super::{LEVELS, Sharded};

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
    #[test]
    fn threads_count_on_shards_of_their_own() {
        let first = Sharded::new(());
        let (mine, other) = thread::scope(|scope| {
            let other = scope.spawn(|| first.clone()).join();
            (first.clone(), other.expect("does not panic"))
        });
        assert!(!Arc::ptr_eq(&mine.own, &other.own));
        // Whichever thread made what it is cloned from.
        assert!(Arc::ptr_eq(&mine.clone().own, &other.clone().own));
    }

    #[test]
    fn clones_of_clones_end_on_the_last_level() {
        let value = Arc::new(());
        let mut clone = Sharded::new(value.clone());
        for _ in 0..LEVELS {
            let below = clone.clone();
            assert!(!Arc::ptr_eq(&below.own, &clone.own));
            clone = below;
        }
        assert!(Arc::ptr_eq(&clone.clone().own, &clone.own));
        drop(clone);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

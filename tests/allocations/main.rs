//! The memory of the layer and of the gRPC service, counted by the allocator of this binary.
#![allow(unreachable_pub)] // Modules of a test binary share their items.
#![allow(unsafe_code)] // The crate itself forbids unsafe code.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[cfg(feature = "grpc")]
mod grpc;
mod layer;

/// Counts for each thread: a test has its own, and its runtime adds none.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// Calls that request memory.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that are allocated and not freed.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Inaccessible only while the thread itself ends.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(layout.size())));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(layout.size())));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

//! What concerns the whole process or the source tree.
#![allow(unreachable_pub)] // Modules of a test binary share their items.

mod build_refusals;
mod guide;

//! Free space of a file system.

use std::path::PathBuf;

use nix::sys::statvfs::statvfs;
use tower_health::{Check, Failure, Outcome, Reason, checks};

/// Requires `bytes` that an ordinary user may still write below `path`.
///
/// A network file system may block: the check runs on the blocking pool, one call at a time.
pub(crate) fn free_space(path: PathBuf, bytes: u64) -> impl Check {
    checks::blocking(move || {
        let system = statvfs(&path)?;
        let free = system.blocks_available() * system.fragment_size();
        if free < bytes {
            return Err(Failure::new(Reason::Exhausted)
                .message("the disk is nearly full")
                .observe("free_bytes", free));
        }
        Ok(Outcome::up().observe("free_bytes", free))
    })
}

//! A plug-in that knows nothing of the app but the handle, and brings a check of its own.

use std::{
    fs, io,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::spawn_blocking;
use tower_health::{AddError, CheckResult, Dependency, Failure, Health, Outcome, Reason};

/// Keeps files in a directory: its check writes one there and reads it back.
pub(crate) struct Storage {
    directory: PathBuf,
    /// A disk may hang for ever, and a thread in it cannot be taken back: there is one at most.
    busy: Arc<AtomicBool>,
}

impl Storage {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            busy: Arc::default(),
        }
    }

    /// While the app runs.
    pub(crate) fn register(self, health: &Health) -> Result<(), AddError> {
        let check = move || look(self.directory.clone(), self.busy.clone());
        health.add(Dependency::new("storage.default", check).kind("directory"))
    }
}

async fn look(directory: PathBuf, busy: Arc<AtomicBool>) -> CheckResult {
    if busy.swap(true, Ordering::AcqRel) {
        return Err(Failure::new(Reason::Stuck).message("the last write has not come to an end"));
    }
    let written = spawn_blocking(move || {
        let result = write_and_read_back(&directory);
        busy.store(false, Ordering::Release);
        result
    });
    written.await??;
    Ok(Outcome::up())
}

fn write_and_read_back(directory: &std::path::Path) -> io::Result<()> {
    let file = directory.join(format!("health-{}", process::id()));
    fs::write(&file, b"health")?;
    let read = fs::read(&file);
    fs::remove_file(&file)?;
    match read?.as_slice() {
        b"health" => Ok(()),
        _ => Err(io::Error::other("what was written is not what was read")),
    }
}

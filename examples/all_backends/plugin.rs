//! A plug-in that knows only the handle of the app, and adds its own check.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use tower_health::{Dependency, Health, Outcome, checks, health::AddError};

/// Keeps files in a directory: its check writes a file there and reads it back.
pub(crate) struct Storage {
    directory: PathBuf,
}

impl Storage {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Adds the check at run time.
    pub(crate) fn register(self, health: &Health) -> Result<(), AddError> {
        // A disk may hang permanently: `blocking` does not start a second write meanwhile.
        let check = checks::blocking(move || {
            write_and_read_back(&self.directory)?;
            Ok(Outcome::up())
        });
        health.add(Dependency::new("storage.default", check).kind("directory"))
    }
}

fn write_and_read_back(directory: &Path) -> io::Result<()> {
    let file = directory.join(format!("health-{}", process::id()));
    fs::write(&file, b"health")?;
    let read = fs::read(&file);
    fs::remove_file(&file)?;
    match read?.as_slice() {
        b"health" => Ok(()),
        _ => Err(io::Error::other("the file differs from what was written")),
    }
}

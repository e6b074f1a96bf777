//! A private directory for each program, and the account that owns it.

use std::env::temp_dir;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use nix::unistd::{User, geteuid};

/// PostgreSQL refuses to run as root, so root hands its servers to an ordinary account.
fn account() -> Option<(u32, u32)> {
    geteuid().is_root().then(|| {
        let postgres = User::from_name("postgres").ok().flatten();
        postgres.map_or((65_534, 65_534), |user| {
            (user.uid.as_raw(), user.gid.as_raw())
        })
    })
}

/// Starts a program as the account of the servers.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command
}

/// An empty directory that only the account of the servers may enter.
pub(super) fn create() -> PathBuf {
    // The TMPDIR of root may be below a directory that the account of the servers cannot pass.
    let base = account().map_or_else(temp_dir, |_| PathBuf::from("/tmp"));
    let path = base.join(format!(
        "tower-health-{}-{:x}",
        id(),
        RandomState::new().hash_one(0)
    ));
    let created = DirBuilder::new().mode(0o700).create(&path);
    created.unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    hand_over(&path);
    path
}

/// Writes a file that the account of the servers can read.
pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    hand_over(path);
}

/// Gives `path` to the account of the servers.
fn hand_over(path: &Path) {
    if let Some((user, group)) = account() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

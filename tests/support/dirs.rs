//! A private directory for each server, and the account that owns it.

use std::env::temp_dir;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{User, geteuid};

/// PostgreSQL refuses to run as root, so root hands its servers to an ordinary account.
fn account() -> Option<(u32, u32)> {
    // A look-up reads files, and each file of a data directory is handed over.
    static ACCOUNT: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
        let postgres = User::from_name("postgres").ok().flatten();
        let ids = postgres.map_or((65_534, 65_534), |user| {
            (user.uid.as_raw(), user.gid.as_raw())
        });
        geteuid().is_root().then_some(ids)
    });
    *ACCOUNT
}

/// Starts a program as the account of the servers.
pub(super) fn command(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new(program);
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command
}

/// Gives `path` to the account of the servers.
pub(super) fn hand_over(path: &Path) -> io::Result<()> {
    match account() {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// An empty directory that only the account of the servers may enter.
pub(super) fn create() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);

    let base = reachable_base();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("tower-health-{}-{number}", id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                hand_over(&path).unwrap();
                return path;
            }
            // Left by a process with our id that could not clean up.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("cannot create {}: {error}", path.display()),
        }
    }
}

/// Writes a file that only the account of the servers can read.
pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    hand_over(path).unwrap();
}

/// Copies a tree and gives the copy to the account of the servers.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    hand_over(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            hand_over(&target)?;
        }
    }
    Ok(())
}

// The TMPDIR of root may be below a directory that the account of the servers cannot pass.
fn reachable_base() -> PathBuf {
    let own = temp_dir();
    if account().is_none() {
        return own;
    }
    [own, PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]
        .into_iter()
        .filter_map(|path| path.canonicalize().ok())
        .find(|path| {
            path.ancestors().all(|part| {
                fs::metadata(part).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
            })
        })
        .expect("a temporary directory that the account of the servers can reach")
}

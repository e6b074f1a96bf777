//! One private directory per server, and the account that owns it.

use std::env::temp_dir;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{User, geteuid};

/// The account that servers run as, if not the caller's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// PostgreSQL refuses to run as root, so root hands its servers to an ordinary account.
    pub(super) fn for_servers() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten());
        Some(user.map_or(
            Self {
                uid: 65_534,
                gid: 65_534,
            },
            |user| Self {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            },
        ))
    }
}

/// Starts a program as the account of the servers.
pub(super) fn command(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new(program);
    if let Some(account) = Account::for_servers() {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Makes `path` the servers' own.
pub(super) fn hand_over(path: &Path) -> io::Result<()> {
    match Account::for_servers() {
        Some(account) => chown(path, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}

/// An empty directory that the servers' account alone may enter.
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
            // Left by a process that had our id and met a power cut.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("cannot create {}: {error}", path.display()),
        }
    }
}

/// Writes a file that the servers own and nobody else reads.
pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    hand_over(path).unwrap();
}

/// Copies a tree and makes the copy the servers' own.
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

// Root's own TMPDIR may lie below a directory that the servers' account cannot pass.
fn reachable_base() -> PathBuf {
    let own = temp_dir();
    if Account::for_servers().is_none() {
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
        .expect("a temporary directory that the servers' account can reach")
}

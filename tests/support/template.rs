//! The data directory that every PostgreSQL server starts from. `initdb` takes half a second, a
//! copy a tenth of that: it runs once per build directory and PostgreSQL version.

use std::fs::{self, remove_dir_all, rename};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::dirs;

// In the cache's name: change it with the arguments, or old templates are used.
const FORMAT: u32 = 1;
const ARGUMENTS: [&str; 8] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--wal-segsize=1",
    "--no-instructions",
    "--pgdata",
];

/// Makes a fresh data directory at `data`.
pub(super) fn instantiate(bin: &Path, data: &Path) {
    static TEMPLATE: OnceLock<Option<PathBuf>> = OnceLock::new();

    match TEMPLATE.get_or_init(|| cached(bin)) {
        Some(template) => dirs::copy(template, data).expect("a copy of the template"),
        None => initdb(bin, data),
    }
}

/// Makes a data directory at `data` that is a copy of the server on `port`.
pub(super) fn copy_of_primary(bin: &Path, data: &Path, port: u16) {
    let output = dirs::command(&bin.join("pg_basebackup"))
        .args(["--host=127.0.0.1", "--username=postgres", "--no-sync"])
        .args(["--checkpoint=fast", "--wal-method=stream"])
        .arg(format!("--port={port}"))
        .arg("--pgdata")
        .arg(data)
        .current_dir(data.parent().expect("data lies in a server's directory"))
        .stdin(Stdio::null())
        .output()
        .expect("pg_basebackup starts");
    assert!(
        output.status.success(),
        "pg_basebackup failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The template in the build directory, made if need be; none where nothing can be kept.
fn cached(bin: &Path) -> Option<PathBuf> {
    let cache = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR")?);
    let version = Command::new(bin.join("postgres")).arg("--version").output();
    let version: String = String::from_utf8_lossy(&version.ok()?.stdout)
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '.')
        .collect();
    // Only its maker can read a data directory.
    let template = cache.join(format!("{version}-format{FORMAT}-user{}", geteuid()));
    if template.is_dir() {
        return Some(template);
    }

    // The servers' account cannot write to the build directory, so `initdb` runs elsewhere.
    let workshop = dirs::create();
    let fresh = workshop.join("data");
    initdb(bin, &fresh);
    // A rename is whole or not at all, and of several makers at once one wins: no lock.
    let draft = cache.join(format!("{version}-draft{}", id()));
    let _ = remove_dir_all(&draft);
    let kept = fs::create_dir_all(&cache).is_ok()
        && dirs::copy(&fresh, &draft).is_ok()
        && (rename(&draft, &template).is_ok() || template.is_dir());
    let _ = remove_dir_all(&draft);
    let _ = remove_dir_all(&workshop);
    kept.then_some(template)
}

fn initdb(bin: &Path, data: &Path) {
    let output = dirs::command(&bin.join("initdb"))
        .args(ARGUMENTS)
        .arg(data)
        // The caller's directory may be out of reach for the servers' account.
        .current_dir(data.parent().expect("data lies in a server's directory"))
        .stdin(Stdio::null())
        .output()
        .expect("initdb starts");
    assert!(
        output.status.success(),
        "initdb failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

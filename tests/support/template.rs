//! The data directory that every PostgreSQL server starts from. `initdb` takes a second, a copy a
//! fraction of that: it runs once for each build directory and PostgreSQL version.

use std::fs::{self, remove_dir_all, rename};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::dirs;

// In the cache's name: change it with the arguments, or old templates are used.
const FORMAT: u32 = 2;
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
    let mut copy = dirs::command(&bin.join("pg_basebackup"));
    copy.args(["--host=127.0.0.1", "--username=postgres", "--no-sync"])
        .args(["--checkpoint=fast", "--wal-method=stream"])
        .arg(format!("--port={port}"))
        .arg("--pgdata")
        .arg(data);
    run(copy, data, "");
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
    let mut initdb = dirs::command(&bin.join("initdb"));
    initdb.args(ARGUMENTS).arg(data);
    run(initdb, data, "");
    // No test creates a database, so the templates for one are two thirds of each copy.
    let mut single = dirs::command(&bin.join("postgres"));
    single
        .args(["--single", "-F", "postgres"])
        .env("PGDATA", data);
    let sql = "UPDATE pg_database SET datistemplate = false;\n\
               DROP DATABASE template0;\n\
               DROP DATABASE template1;\n";
    run(single, data, sql);
}

/// Runs a program of PostgreSQL next to `data` to its end.
fn run(mut command: Command, data: &Path, input: &str) {
    let mut child = command
        // The directory of the caller may be out of reach for the account of the servers.
        .current_dir(data.parent().expect("data is in the directory of a server"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that needs no input may have closed it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

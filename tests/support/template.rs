//! The data directory that every PostgreSQL server starts from. `initdb` takes a second, a copy a
//! fraction of that: it runs once for each build directory and PostgreSQL version.

use std::fs::{create_dir_all, remove_dir_all, rename};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::dirs;

// In the cache's name: change it with the arguments, or old templates are used.
const FORMAT: u32 = 2;

/// Makes a fresh data directory at `data`.
pub(super) fn instantiate(bin: &Path, data: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();

    // An example has no such folder, and keeps nothing.
    match option_env!("CARGO_TARGET_TMPDIR") {
        Some(cache) => copy(TEMPLATE.get_or_init(|| cached(bin, Path::new(cache))), data),
        None => initdb(bin, data),
    }
}

/// Runs `sql`, a statement a line, in a data directory whose server does not run.
pub(super) fn execute(bin: &Path, data: &Path, sql: &str) {
    let mut single = dirs::command(&bin.join("postgres"));
    single.args(["--single", "-F", "postgres"]);
    run(single.env("PGDATA", data), data, sql);
}

/// The template in the build directory, made if need be.
fn cached(bin: &Path, cache: &Path) -> PathBuf {
    let version = Command::new(bin.join("postgres")).arg("--version").output();
    let version = String::from_utf8(version.expect("postgres starts").stdout).expect("text");
    let version = version.replace([' ', '(', ')', '\n'], "");
    // Only its maker can read a data directory.
    let template = cache.join(format!("{version}-format{FORMAT}-user{}", geteuid()));
    if !template.is_dir() {
        // The servers' account cannot write to the build directory, so `initdb` runs elsewhere.
        let workshop = dirs::create();
        let fresh = workshop.join("data");
        initdb(bin, &fresh);
        // A rename is whole or not at all, and of several makers at once one wins: no lock.
        let draft = cache.join(format!("{version}-draft{}", id()));
        let _ = remove_dir_all(&draft);
        create_dir_all(cache).expect("a place for the template");
        copy(&fresh, &draft);
        let _ = rename(&draft, &template);
        let _ = remove_dir_all(&draft);
        let _ = remove_dir_all(&workshop);
    }
    template
}

fn initdb(bin: &Path, data: &Path) {
    let mut initdb = dirs::command(&bin.join("initdb"));
    initdb
        .args("--username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync".split(' '))
        .args(["--wal-segsize=1", "--no-instructions", "--pgdata"]);
    run(initdb.arg(data), data, "");
    // No test creates a database, so the templates for one are two thirds of each copy.
    let sql = "UPDATE pg_database SET datistemplate = false;\n\
               DROP DATABASE template0;\n\
               DROP DATABASE template1;\n";
    execute(bin, data, sql);
}

/// The copy has the same owner.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").args([from, to]), to, "");
}

/// Runs a program next to `data` to its end.
fn run(command: &mut Command, data: &Path, input: &str) {
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
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {message}");
}

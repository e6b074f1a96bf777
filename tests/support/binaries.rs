//! Where the programs are.

use std::env::{split_paths, var_os};
use std::path::{Path, PathBuf};

/// The directory that holds both `postgres` and `initdb`.
pub(super) fn postgres() -> PathBuf {
    find_postgres().unwrap_or_else(|| missing("postgres"))
}

/// Whether [`Postgres`](super::Postgres) can be started.
pub fn postgres_is_installed() -> bool {
    find_postgres().is_some()
}

/// Whether [`Redis`](super::Redis) can be started.
pub fn redis_is_installed() -> bool {
    find("redis-server").is_some()
}

/// The file of another program, such as a balancer. Panics if it is not installed.
pub fn installed(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| missing(program))
}

/// The same of a program that `tests/setup.sh` installs as a Python wheel.
pub fn wheel(program: &str) -> PathBuf {
    let wheels = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deploy/bin");
    let file = Some(wheels.join(program)).filter(|file| file.is_file());
    file.unwrap_or_else(|| missing(program))
}

fn missing(program: &str) -> ! {
    panic!("no {program} found: run tests/setup.sh, which installs it")
}

fn find_postgres() -> Option<PathBuf> {
    let is_whole = |bin: &PathBuf| bin.join("postgres").is_file() && bin.join("initdb").is_file();
    if let Some(directory) = var_os("TOWER_HEALTH_PG_BIN") {
        return Some(PathBuf::from(directory)).filter(is_whole);
    }
    // `postgres` on the PATH may be a link; `initdb` and the share files are next to its target.
    let on_path = search_path()
        .filter_map(|directory| directory.join("postgres").canonicalize().ok())
        .filter_map(|file| file.parent().map(Path::to_path_buf));
    let packaged = (10..40).rev().flat_map(|version| {
        [
            format!("/usr/lib/postgresql/{version}/bin"),
            format!("/usr/pgsql-{version}/bin"),
            format!("/opt/homebrew/opt/postgresql@{version}/bin"),
            format!("/usr/local/opt/postgresql@{version}/bin"),
        ]
    });
    on_path.chain(packaged.map(PathBuf::from)).find(is_whole)
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    if let ("redis-server", Some(file)) = (program, var_os("TOWER_HEALTH_REDIS_BIN")) {
        return Some(PathBuf::from(file)).filter(|file| file.is_file());
    }
    let usual = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin";
    search_path()
        .chain(usual.split(':').map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = var_os("PATH").unwrap_or_default();
    split_paths(&path).collect::<Vec<_>>().into_iter()
}

//! Where the server programs are.

use std::env::{split_paths, var_os};
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// The directory that holds both `postgres` and `initdb`.
pub(super) fn postgres() -> PathBuf {
    find_postgres().unwrap_or_else(|| missing("PostgreSQL server", "postgresql", "postgresql@17"))
}

/// The file `redis-server`.
pub(super) fn redis() -> PathBuf {
    find_redis().unwrap_or_else(|| missing("redis-server", "redis-server", "redis"))
}

/// Whether [`Postgres`](super::Postgres) can be started.
pub fn postgres_is_installed() -> bool {
    find_postgres().is_some()
}

/// Whether [`Redis`](super::Redis) can be started.
pub fn redis_is_installed() -> bool {
    find_redis().is_some()
}

/// The file of another program, such as a balancer.
///
/// # Panics
///
/// If it is not installed, naming its package.
pub fn installed(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| missing(program, program, program))
}

/// The file of a program that `tests/setup.sh` installs as a Python wheel.
///
/// # Panics
///
/// If it is not installed.
pub fn wheel(program: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/deploy/bin")
        .join(program);
    assert!(
        file.is_file(),
        "no {program} found: run tests/setup.sh, which installs it into target/deploy"
    );
    file
}

fn find_postgres() -> Option<PathBuf> {
    if let Some(directory) = var_os("TOWER_HEALTH_PG_BIN") {
        let directory = PathBuf::from(directory);
        return directory.join("initdb").is_file().then_some(directory);
    }
    // `postgres` on the PATH may be a link; `initdb` and the share files are next to its target.
    let on_path = search_path()
        .filter_map(|directory| directory.join("postgres").canonicalize().ok())
        .filter_map(|file| file.parent().map(Path::to_path_buf));
    let installed = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
    ]
    .into_iter()
    .flat_map(|(parent, prefix)| newest_first(Path::new(parent), prefix));
    on_path
        .chain(installed)
        .find(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file())
}

fn find_redis() -> Option<PathBuf> {
    match var_os("TOWER_HEALTH_REDIS_BIN") {
        Some(file) => Some(PathBuf::from(file)).filter(|file| file.is_file()),
        None => find("redis-server"),
    }
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let usual = [
        "/usr/sbin",
        "/usr/bin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/opt/homebrew/bin",
    ];
    search_path()
        .chain(usual.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    split_paths(&var_os("PATH").unwrap_or_default())
        .collect::<Vec<_>>()
        .into_iter()
}

/// `parent/<prefix><version>/bin` for each version that is installed.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let version = |name: &str| match name.strip_prefix(prefix)?.trim_start_matches('@') {
        "" => Some(0.0),
        version => version.parse::<f64>().ok(),
    };
    let entries = read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            Some((
                version(entry.file_name().to_str()?)?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    found.sort_by(|left, right| right.0.total_cmp(&left.0));
    found.into_iter().map(|(_, path)| path).collect()
}

fn missing(what: &str, apt: &str, brew: &str) -> ! {
    panic!(
        "no {what} found: run tests/setup.sh, or install the package {apt} (Debian, Ubuntu: \
         apt-get install {apt}; macOS: brew install {brew})"
    )
}

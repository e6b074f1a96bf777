//! Counts user instructions with callgrind: exact, whatever else the machine does.
//!
//! Driven by hand and not by a harness of benches: the limits are sums and ratios over another
//! variant of the same build, and nothing but valgrind has to be installed.

use std::{env, process::Command};

/// Names the variant to the copy of the bench that runs under valgrind.
const VARIANT: &str = "TOWER_HEALTH_BENCH_VARIANT";
/// How often a variant calls the function that is counted.
pub const REQUESTS: usize = 1_000;

/// What a copy of this bench has to run, if it is one.
pub fn variant() -> Option<String> {
    env::var(VARIANT).ok()
}

/// Whether there is anything to count with; says so if not.
pub fn is_missing(bench: &str) -> bool {
    let missing = Command::new("valgrind").arg("--version").output().is_err();
    if missing {
        println!("{bench}: valgrind is not installed, nothing measured");
    }
    missing
}

/// Instructions for each call of `measured` while this bench runs `variant`.
pub fn count(variant: &str) -> i64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(env::current_exe().expect("this bench"))
        .env(VARIANT, variant)
        .output()
        .expect("valgrind starts");
    let text = String::from_utf8_lossy(&output.stderr);
    // One that ends early would pass for one that costs little.
    assert!(output.status.success(), "{variant} fails:\n{text}");
    let total: i64 = text
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("callgrind counts nothing for {variant}:\n{text}"));
    total / i64::try_from(REQUESTS).expect("few")
}

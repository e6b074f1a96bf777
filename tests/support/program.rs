//! A program under test that runs until it is told to end, such as an example or a balancer.

use std::env::current_exe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;

use super::process::Process;

/// A process with a log, ended with this value.
#[derive(Debug)]
pub struct Program {
    process: Process,
}

impl Program {
    /// Starts `command`, called `name` in messages.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut process = Process::new(name, Signal::SIGTERM);
        process.spawn(command);
        Self { process }
    }

    /// A directory of its own, gone with this value.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if self.process.has_ended() {
            self.process.last_end()
        } else {
            None
        }
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// The program of an example, built by `cargo test` along with the test, or now.
pub fn example(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--all-features", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo starts");
    assert!(built.success(), "{name} does not build");
    // target/debug/deps/test-123 is this program.
    let own = current_exe().expect("has a path");
    let profile = own.ancestors().nth(2).expect("a target folder");
    profile.join("examples").join(name)
}

//! A program under test that runs until it is ended, such as an example or a balancer.

use std::collections::HashMap;
use std::env::{current_exe, vars_os};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;

use nix::sys::signal::Signal;

use super::process::Process;
use super::wait::{MAXIMUM_WAIT, wait_until};

/// A process with a log, ended with this value.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    process: Process,
}

/// What an example that has ended leaves behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts `command`, called `name` in messages.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut process = Process::new(name, Signal::SIGTERM);
        process.spawn(command);
        Self { name, process }
    }

    /// Starts the example `name` with these environment variables only.
    pub fn example(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example(name));
        command.env_clear().envs(variables.iter().copied());
        Self::start(name, &mut command)
    }

    /// A private directory, removed with this value.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The ids of its descendants.
    pub fn descendants(&self) -> Vec<i32> {
        self.process.ids().split_off(1)
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if self.process.has_ended() {
            self.process.last_end()
        } else {
            None
        }
    }

    /// Waits until it has ended by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_until(&what, MAXIMUM_WAIT, async || self.process.has_ended()).await;
        self.process.last_end().expect("it has ended")
    }

    /// What it has printed, on both streams.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The first line with `part` in it, once it was printed.
    ///
    /// # Panics
    ///
    /// When the program ends without it.
    pub async fn says(&mut self, part: &str) -> String {
        let mut found = None;
        let what = format!("{} says {part}", self.name);
        wait_until(&what, MAXIMUM_WAIT, async || {
            let ended = self.process.has_ended();
            // A last line that is still being written has no end.
            let log = self.log();
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            found = whole
                .lines()
                .find(|line| line.contains(part))
                .map(ToOwned::to_owned);
            assert!(found.is_some() || !ended, "{} ended:\n{log}", self.name);
            found.is_some()
        })
        .await;
        found.expect("waited for")
    }
}

/// Runs the example `name` to its end, with these environment variables only.
pub fn run_example(name: &'static str, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let output = Command::new(example(name))
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the example starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// The program of an example, built by `cargo test` along with the test, or now.
pub fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);

    let mut built = BUILT.lock().expect("the build succeeds");
    let built = built.get_or_insert_default();
    built.entry(name).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo describes its package to a test. Build scripts of other packages, such as `ring`, would
    // see a change, and all that depends on them would be built again, here and by the next cargo.
    for (variable, _) in vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(variable);
        }
    }
    let built = cargo
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

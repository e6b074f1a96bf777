//! A program that runs until it is ended, such as a server, an example or a balancer.

use std::collections::BTreeMap;
use std::env::{current_exe, vars_os};
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread::panicking;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::guard::Guard;
use super::wait::{MAXIMUM_WAIT, blocks_until, wait_until};
use super::{dirs, family};

const ORDERLY_END: Duration = Duration::from_secs(5);

/// A process with a private directory, in which it runs and logs. It ends with this value.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    // Ends it in an orderly way: what it holds outside its directory is released.
    quit: Signal,
    directory: PathBuf,
    child: Option<Child>,
    last_end: Option<ExitStatus>,
    guard: Guard,
}

impl Program {
    /// Starts `command`, called `name` in messages.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut program = Self::new(name, Signal::SIGTERM);
        program.spawn(command);
        program
    }

    /// Starts the example `name` with these environment variables only.
    pub fn example(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example(name));
        command.env_clear().envs(variables.iter().copied());
        Self::start(name, &mut command)
    }

    /// One that does not run yet.
    pub(super) fn new(name: &'static str, quit: Signal) -> Self {
        let directory = dirs::create();
        Self {
            name,
            quit,
            guard: Guard::new(&directory, quit),
            directory,
            child: None,
            last_end: None,
        }
    }

    /// Starts `command`, which becomes the program.
    pub(super) fn spawn(&mut self, command: &mut Command) {
        assert!(self.child.is_none(), "{} is running already", self.name);
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(self.log_file()).unwrap();
        let child = command
            .current_dir(&self.directory)
            // Ctrl-C is for the program under test, which may use its servers until its end.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        self.guard.watch(child.id());
        self.child = Some(child);
        self.last_end = None;
    }

    /// Waits until a program listens on `port`.
    pub async fn listens(&mut self, port: u16) {
        let what = format!("{} listens", self.name);
        wait_until(&what, MAXIMUM_WAIT, async || {
            assert!(self.end().is_none(), "{} does not start", self.name);
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }

    /// Its private directory; gone after `Drop`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The ids of its children.
    pub fn descendants(&self) -> Vec<i32> {
        family::children(self.running())
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        family::send(signal, &[self.running()]);
    }

    /// Stops everything: nothing is answered and nothing is closed, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        // At once, and then those children that the parent made meanwhile.
        family::send(Signal::SIGSTOP, &self.ids());
        self.freeze_postmaster();
        self.freeze_backends();
    }

    /// Stops the children that exist now: their connections hang, new ones are served.
    pub fn freeze_backends(&self) {
        assert!(halt(&self.descendants()), "{} does not stop", self.name);
    }

    /// Stops the parent: connections are served, new ones hang.
    pub fn freeze_postmaster(&self) {
        assert!(halt(&[self.running()]), "{} does not stop", self.name);
    }

    /// Continues whatever was frozen.
    pub fn thaw(&self) {
        family::send(Signal::SIGCONT, &self.ids());
    }

    /// Ends everything at once (`SIGKILL`), as a lost machine would.
    pub fn kill(&mut self) {
        // The parent is the first, and what it still makes meanwhile ends without it.
        let ids = self.ids();
        family::send(Signal::SIGKILL, &ids);
        let gone =
            self.reap(MAXIMUM_WAIT) && blocks_until(MAXIMUM_WAIT, || !family::any_alive(&ids));
        assert!(gone || panicking(), "{} survives SIGKILL", self.name);
    }

    /// Ends it in its orderly way, whatever state it is in; by force if that takes long.
    pub(super) fn stop(&mut self) {
        let Some(id) = self.id() else { return };
        let ids = self.ids();
        family::send(Signal::SIGCONT, &ids);
        family::send(self.quit, &[id as i32]);
        if !self.reap(ORDERLY_END) {
            self.kill();
        }
        blocks_until(ORDERLY_END, || !family::any_alive(&ids));
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if let Some(child) = &mut self.child {
            self.last_end = child.try_wait().expect("our own child");
            if self.last_end.is_some() {
                self.child = None;
                self.guard.watch(0);
            }
        }
        self.last_end
    }

    /// Waits until it has ended by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        wait_until(&format!("{} ends", self.name), MAXIMUM_WAIT, async || {
            self.end().is_some()
        })
        .await;
        self.last_end.expect("it has ended")
    }

    /// What it has printed since it was made, on both streams.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The first line with `part` in it, once it was printed. Panics when the program ends without it.
    pub async fn says(&mut self, part: &str) -> String {
        let mut found = None;
        let what = format!("{} says {part}", self.name);
        wait_until(&what, MAXIMUM_WAIT, async || {
            let ended = self.end().is_some();
            let log = self.log();
            // A last line that is still being written has no end.
            let mut whole = log
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            found = whole
                .find(|line| line.contains(part))
                .map(|line| line.trim_end().to_owned());
            assert!(found.is_some() || !ended, "{} ended:\n{log}", self.name);
            found.is_some()
        })
        .await;
        found.expect("waited for")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn running(&self) -> i32 {
        let id = self.id();
        id.unwrap_or_else(|| panic!("{} is not running", self.name)) as i32
    }

    /// It and its children, while it runs.
    fn ids(&self) -> Vec<i32> {
        let own = self.id().map(|id| id as i32);
        let children = own.into_iter().flat_map(family::children);
        own.into_iter().chain(children).collect()
    }

    fn reap(&mut self, limit: Duration) -> bool {
        blocks_until(limit, || self.end().is_some())
    }
}

/// Stops processes: a signal takes effect some time after it was sent.
fn halt(ids: &[i32]) -> bool {
    family::send(Signal::SIGSTOP, ids);
    blocks_until(MAXIMUM_WAIT, || family::all_stopped(ids))
}

impl Drop for Program {
    fn drop(&mut self) {
        if panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(15)..];
            eprintln!("last lines of {}:\n{}", self.name, tail.join("\n"));
        }
        self.stop();
    }
}

/// What an example that has ended leaves behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
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
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());

    let mut built = BUILT.lock().expect("the build succeeds");
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

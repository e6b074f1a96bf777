//! A server process: its directory, log and signals. What PostgreSQL and Redis share.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::panicking;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::guard::Guard;
use super::wait::{MAXIMUM_WAIT, blocks_until};
use super::{dirs, family};

const ORDERLY_END: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    // Ends the server in an orderly way: what it holds outside its directory is released.
    quit: Signal,
    directory: PathBuf,
    child: Option<Child>,
    last_end: Option<ExitStatus>,
    guard: Guard,
}

impl Process {
    pub(super) fn new(name: &'static str, quit: Signal) -> Self {
        let directory = dirs::create();
        let guard = Guard::new(&directory, &quit.as_str()["SIG".len()..]);
        Self {
            name,
            quit,
            directory,
            child: None,
            last_end: None,
            guard,
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts `command`, which becomes the server.
    pub(super) fn spawn(&mut self, command: &mut Command) {
        assert!(self.child.is_none(), "{} is running already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let child = command
            .current_dir(&self.directory)
            // Ctrl-C is for the program under test, which may use its servers until its end.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        self.guard.watch(child.id() as i32);
        self.child = Some(child);
    }

    /// The process id while the server runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The server and all its descendants.
    pub(super) fn ids(&self) -> Vec<i32> {
        self.id().map_or_else(Vec::new, |id| {
            let mut ids = vec![id as i32];
            ids.extend(family::descendants(id as i32));
            ids
        })
    }

    /// Sends a signal to the server process alone.
    pub(super) fn signal(&self, signal: Signal) {
        family::send(signal, &[self.running()]);
    }

    /// Stops the server process alone.
    pub(super) fn freeze_root(&self) {
        self.stop(&[self.running()]);
    }

    /// Stops the descendants that exist now.
    pub(super) fn freeze_descendants(&self) {
        self.stop(&family::descendants(self.running()));
    }

    /// Stops everything. The parent comes first: then it makes no further child.
    pub(super) fn freeze(&self) {
        self.freeze_root();
        self.freeze_descendants();
    }

    /// Continues everything.
    pub(super) fn thaw(&self) {
        let mut ids = self.ids();
        ids.reverse();
        family::send(Signal::SIGCONT, &ids);
    }

    /// Ends everything at once, as a lost machine would.
    pub(super) fn kill(&mut self) {
        let Some(id) = self.id() else { return };
        // Stopped first, so that none is born between the list and the signal.
        family::send(Signal::SIGSTOP, &[id as i32]);
        blocks_until(MAXIMUM_WAIT, || family::all_stopped(&[id as i32]));
        let ids = self.ids();
        family::send(Signal::SIGKILL, &ids);
        let gone =
            self.reap(MAXIMUM_WAIT) && blocks_until(MAXIMUM_WAIT, || !family::any_alive(&ids));
        assert!(gone || panicking(), "{} survives SIGKILL", self.name);
    }

    /// Ends the server in its orderly way, whatever state it is in; by force if that takes long.
    pub(super) fn end(&mut self) {
        let ids = self.ids();
        family::send(Signal::SIGCONT, &ids);
        if let Some(id) = self.id() {
            family::send(self.quit, &[id as i32]);
        }
        if !self.reap(ORDERLY_END) {
            self.kill();
        }
        blocks_until(ORDERLY_END, || !family::any_alive(&ids));
    }

    /// Whether the server process has ended; takes note of it.
    pub(super) fn has_ended(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && let Some(end) = child.try_wait().expect("our own child")
        {
            self.last_end = Some(end);
            self.child = None;
            self.guard.watch(0);
        }
        self.child.is_none()
    }

    /// How the last server process ended.
    pub(super) fn last_end(&self) -> Option<ExitStatus> {
        self.last_end
    }

    /// What the server has printed.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn running(&self) -> i32 {
        let id = self.id();
        id.unwrap_or_else(|| panic!("{} is not running", self.name)) as i32
    }

    // A signal takes effect some time after it was sent.
    fn stop(&self, ids: &[i32]) {
        family::send(Signal::SIGSTOP, ids);
        let stopped = blocks_until(MAXIMUM_WAIT, || family::all_stopped(ids));
        assert!(stopped, "{} does not stop", self.name);
    }

    fn reap(&mut self, limit: Duration) -> bool {
        blocks_until(limit, || self.has_ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(15)..];
            eprintln!("last lines of {}:\n{}", self.name, tail.join("\n"));
        }
        self.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

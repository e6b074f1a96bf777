//! Ends a program when the test process dies without running `Drop`.
//!
//! A small shell waits on a pipe whose other end only the test process holds. It learns the
//! program's process id from there; at the end of the pipe it ends that program and removes its
//! directory.
//!
//! `PR_SET_PDEATHSIG` would need `unsafe`, exists on Linux only, fires when the spawning *thread*
//! ends (libtest runs each test on its own), leaves the directory behind, and cannot end a server
//! whose processes are stopped: those are the ones a failing test leaves.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

// $1: directory, $2: the signal that lets the program clean up after itself.
// An ended process without a parent that waits, as in a container without an init, answers `kill -0`.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
program=0
while read -r line; do program=$line; done
alive() { case $(ps -o state= -p "$program") in '' | Z*) false ;; esac }
if [ "$program" != 0 ]; then
  children=$(ps -A -o pid=,ppid= | awk -v parent="$program" '$2 == parent { print $1 }')
  kill -CONT "$program" $children
  kill "-$2" "$program"
  tries=0
  while alive && [ "$tries" -lt 100 ]; do sleep 0.02; tries=$((tries + 1)); done
  if [ "$tries" -ge 100 ]; then kill -KILL "$program" $children; fi
fi
rm -rf -- "$1"
"#;

#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn new(directory: &Path, signal: Signal) -> Self {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(directory)
            .arg(&signal.as_str()["SIG".len()..])
            // Ctrl-C goes to the whole group: the guard must survive the test process.
            .process_group(0)
            .stdin(Stdio::piped())
            // An inherited stream would keep a reader of the tests' output waiting.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.expect("/bin/sh starts"))
    }

    /// Names the process to end from now on; 0 for none.
    pub(super) fn watch(&mut self, program: u32) {
        let pipe = self.0.stdin.as_mut().expect("taken in Drop only");
        writeln!(pipe, "{program}").expect("the guard reads until we close");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

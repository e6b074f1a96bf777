//! Ends a server when the test process dies without running `Drop`.
//!
//! A small shell waits on a pipe whose other end only the test process holds. It learns the
//! server's process id from there; at the end of the pipe it ends that server and removes its
//! directory.
//!
//! `PR_SET_PDEATHSIG` would need `unsafe`, exists on Linux only, fires when the spawning *thread*
//! ends (libtest runs each test on its own), leaves the directory behind, and cannot end a server
//! whose processes are stopped: those are the ones a failing test leaves.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

// $1: directory, $2: the signal that lets the server clean up after itself.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
server=0
while read -r line; do server=$line; done
children() {
  if [ -r /proc/self/stat ]; then
    for file in /proc/[0-9]*/stat; do
      { read -r id _ _ parent _ <"$file"; } 2>/dev/null && [ "$parent" = "$server" ] && echo "$id"
    done
  else
    ps -A -o pid=,ppid= | while read -r id parent; do [ "$parent" = "$server" ] && echo "$id"; done
  fi
}
# An ended process without a parent that waits, as in a container without an init, answers `kill -0`.
alive() {
  if [ -r /proc/self/stat ]; then
    { read -r _ _ state _ <"/proc/$server/stat"; } 2>/dev/null && [ "$state" != Z ]
  else
    kill -0 "$server"
  fi
}
if [ "$server" != 0 ]; then
  family=$(children)
  kill -CONT "$server" $family
  kill "-$2" "$server"
  tries=0
  while alive && [ "$tries" -lt 100 ]; do sleep 0.02; tries=$((tries + 1)); done
  if [ "$tries" -ge 100 ]; then kill -KILL "$server" $family; fi
fi
rm -rf -- "$1"
"#;

#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    pub(super) fn new(directory: &Path, signal: &str) -> Self {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(directory)
            .arg(signal)
            // Ctrl-C goes to the whole group: the guard must survive the test process.
            .process_group(0)
            .stdin(Stdio::piped())
            // An inherited stream would keep a reader of the tests' output waiting.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh starts");
        Self { shell }
    }

    /// Names the process to end from now on; 0 for none.
    pub(super) fn watch(&mut self, server: i32) {
        let pipe = self.shell.stdin.as_mut().expect("taken in Drop only");
        writeln!(pipe, "{server}").expect("the guard reads until we close");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

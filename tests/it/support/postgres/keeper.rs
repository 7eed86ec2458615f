//! A shell that starts and stops a server for a test, and outlives neither.
//!
//! It takes its orders from a pipe. When the pipe ends, because the test let go or because its process was killed, it
//! stops the server and removes its folder. It stands in a process group of its own, so that Ctrl-C at a terminal reaches
//! it by that way only.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// The shell, and a folder that is both its own and its server's.
pub(super) struct Keeper {
    folder: PathBuf,
    shell: Mutex<(Child, BufReader<ChildStdout>)>,
}

impl Keeper {
    /// One whose orders are the functions of this script, called with programs of this folder. It calls `end` at the end.
    pub(super) fn new(name: &str, script: &str, programs: &Path) -> Self {
        let mut command = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            // No server of these runs as root.
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = command
            .args(["-c", &[BEGIN, script, OBEY].concat(), "sh", name])
            .env("PATH", format!("{}:{path}:/usr/sbin", programs.display()))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell, as root by setpriv: run .ci/packages");
        let mut answers = BufReader::new(shell.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "no folder for {name}: is there a user postgres, and may it write to TMPDIR?");
        Self { folder: folder.trim_end().into(), shell: Mutex::new((shell, answers)) }
    }

    /// Has an order carried out; whether it was.
    pub(super) fn order(&self, order: &str) -> bool {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.0.stdin.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        shell.1.read_line(&mut answer).unwrap();
        answer == "done\n"
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server and its tools said.
    pub(super) fn said(&self) -> String {
        ["orders", "log"].map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()).concat()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Waiting ends the pipe first.
        let _ = self.shell.get_mut().map(|shell| shell.0.wait());
    }
}

/// A test that was killed reads no answer, and that must not end the shell.
const BEGIN: &str = r#"
trap '' PIPE
folder=$(mktemp -d "${TMPDIR:-/tmp}/keyward-$1.XXXXXX") && cd "$folder" && echo "$folder" || exit
"#;

const OBEY: &str = r#"
while read -r order how; do
    if "$order" "$how" </dev/null >>orders 2>&1; then echo done; else echo failed; fi
done
end </dev/null >>orders 2>&1
cd / && rm -rf "$folder"
"#;

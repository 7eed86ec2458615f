//! One command: started at the repository's top, ended with everything it started when its time is up or when this
//! program dies.
//!
//! Both come from tools that every Linux has: `timeout` gives the command a process group of its own and signals the
//! group, `setpriv --pdeathsig` tells `timeout` that its parent is gone. std alone can do neither.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::place;

/// A command to be run.
pub(crate) struct Run {
    words: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    without: Vec<&'static str>,
    limit: Duration,
}

impl Run {
    /// `line` is split at blanks; an argument that has some comes by [`Run::arg`].
    pub(crate) fn new(line: &str, limit: Duration) -> Self {
        Self {
            words: line.split_whitespace().map(OsString::from).collect(),
            environment: Vec::new(),
            without: Vec::new(),
            limit,
        }
    }

    /// More words, split at blanks like the first ones.
    pub(crate) fn args(mut self, line: &str) -> Self {
        self.words.extend(line.split_whitespace().map(OsString::from));
        self
    }

    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Another limit than the one it was made with.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn without_env(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    /// Runs it with our own output, so that its last words are seen.
    pub(crate) fn show(self) -> Result<(), Trouble> {
        let status = self.command().status().map_err(|source| self.not_started(source))?;
        self.judge(status, String::new)
    }

    /// Runs it silently and answers what it wrote to stdout.
    pub(crate) fn read(self) -> Result<String, Trouble> {
        let output = self.command().output().map_err(|source| self.not_started(source))?;
        self.judge(output.status, || said(&output))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it, with its output in these files, and goes on.
    pub(crate) fn start(self, stdout: File, stderr: File) -> Result<Started, Trouble> {
        let child = self.command().stdout(stdout).stderr(stderr).spawn().map_err(|source| self.not_started(source))?;
        Ok(Started { run: self, child })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "timeout", "--kill-after=10"])
            .arg(self.limit.as_secs().to_string())
            .args(&self.words)
            .current_dir(place::root())
            .stdin(Stdio::null())
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in &self.without {
            command.env_remove(name);
        }
        command
    }

    fn judge(&self, status: ExitStatus, said: impl FnOnce() -> String) -> Result<(), Trouble> {
        match status.code() {
            Some(0) => Ok(()),
            Some(TIMED_OUT | KILLED) => Err(Trouble::TimedOut { command: self.line(), limit: self.limit }),
            _ => Err(Trouble::Ended { command: self.line(), status, said: said() }),
        }
    }

    fn not_started(&self, source: io::Error) -> Trouble {
        Trouble::Io { what: format!("start {}", self.line()), source }
    }

    fn line(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// A command that runs beside us. Dropped, it is told to end, with what it started.
pub(crate) struct Started {
    run: Run,
    child: Child,
}

impl Started {
    /// Waits until it has ended, and judges how.
    pub(crate) fn wait(mut self) -> Result<(), Trouble> {
        let status = self.child.wait().map_err(Trouble::io(format!("wait for {}", self.run.line())))?;
        self.run.judge(status, String::new)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // `timeout` passes the signal on to its group. Where the child has ended and was waited for, there is nobody to tell.
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}

/// Why a task failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command ran and was not content.
    Ended { command: String, status: ExitStatus, said: String },
    /// The command was ended by us.
    TimedOut { command: String, limit: Duration },
    /// The machine refused something.
    Io { what: String, source: io::Error },
    /// The commands did their part, and what they showed is not what must be.
    Wrong(String),
}

impl Trouble {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { command, status, said } if said.is_empty() => write!(f, "{command}: {status}"),
            Self::Ended { command, status, said } => write!(f, "{command}: {status}\n{said}"),
            Self::TimedOut { command, limit } => write!(f, "{command}: not done within {} s", limit.as_secs()),
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

/// What was read must be what was wanted.
pub(crate) fn require(what: &str, got: &str, wanted: &str) -> Result<(), Trouble> {
    if got == wanted {
        return Ok(());
    }
    Err(Trouble::Wrong(format!("{what} is {got}, not {wanted}")))
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).trim_end().to_owned()
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What `timeout` answers for a command that it ended, politely and not.
const TIMED_OUT: i32 = 124;
const KILLED: i32 = 137;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_well_is_read() {
        assert_eq!(Run::new("echo well", seconds(10)).read().unwrap(), "well\n");
    }

    #[test]
    fn a_command_that_ends_badly_says_why() {
        let trouble = Run::new("sh -c", seconds(10)).arg("echo sorry >&2; exit 3").read().unwrap_err();
        assert!(matches!(&trouble, Trouble::Ended { status, said, .. } if status.code() == Some(3) && said == "sorry"));
    }

    #[test]
    fn a_started_command_is_waited_for_or_ended() {
        let null = || File::options().write(true).open("/dev/null").unwrap();
        Run::new("true", seconds(10)).start(null(), null()).unwrap().wait().unwrap();
        let started = Run::new("sleep 78", seconds(60)).start(null(), null()).unwrap();
        let process = std::path::PathBuf::from(format!("/proc/{}", started.child.id()));
        drop(started);
        assert!(!process.exists());
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let trouble = Run::new("sh -c", seconds(1)).arg("sleep 77 & sleep 77").read().unwrap_err();
        assert!(matches!(trouble, Trouble::TimedOut { .. }), "{trouble}");
    }
}

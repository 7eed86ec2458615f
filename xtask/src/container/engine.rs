//! A Docker engine of our own: its network set-up in a namespace of its own, its files in one temporary folder, nothing
//! on the host changed and nothing left behind.
//!
//! The namespace comes from `unshare` and not from `ip netns exec`, which mounts a fresh /sys and so hides the cgroups.
//! It has no name, so it ends with the engine; so does the mount namespace beside it, with every mount the engine made.
//! If this program is killed, the engine gets a SIGTERM and stops its containers; then only the folder stays.
//!
//! The client is the one of the engine's own package: a newer one found earlier in PATH may lack the plug-in that builds.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::run::{Run, Trouble, seconds};

/// A running engine; dropping it ends it and removes its folder.
pub(super) struct Engine {
    process: Child,
    folder: PathBuf,
}

/// Why this machine cannot start an engine, if it cannot. Under CI root must be able to, so there it is tried anyway.
pub(super) fn hindrance() -> Option<String> {
    let root = Run::new("id -u", seconds(10)).read().is_ok_and(|id| id.trim() == "0");
    if !root {
        return Some("not root, so no engine can be started".to_owned());
    }
    if env::var("CI").is_ok_and(|value| value == "true") {
        return None;
    }
    let refused = Run::new("unshare --net true", seconds(10)).read().err()?;
    Some(format!("no namespaces: {refused}"))
}

impl Engine {
    pub(super) fn start() -> Result<Self, Trouble> {
        let folder = env::temp_dir().join(format!("keyward-engine-{}", std::process::id()));
        fs::create_dir(&folder).map_err(Trouble::io(format!("make {}", folder.display())))?;
        let log = File::create(folder.join("log")).map_err(Trouble::io("make the engine's log"))?;
        let errors = log.try_clone().map_err(Trouble::io("share the engine's log"))?;
        let at = |name: &str| folder.join(name).into_os_string();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "unshare", "--net", "sh", "-c", IN_NAMESPACE, "dockerd"])
            // No container needs more than a loopback or its neighbour's, so no bridge and no packet filter either.
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .args(["--shutdown-timeout=5", "--data-root"])
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(address(&folder))
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(Trouble::io("start dockerd"))?;
        let mut engine = Self { process, folder };
        engine.wait()?;
        Ok(engine)
    }

    /// A command to this engine.
    pub(super) fn docker(&self, words: &str) -> Run {
        Run::new(CLIENT, seconds(120)).arg("--host").arg(address(&self.folder)).args(words)
    }

    /// Where this engine's files lie; what is put here goes with them.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn version(&self) -> Result<String, Trouble> {
        let version = self.docker("version --format {{.Server.Version}}").read()?;
        Ok(format!("dockerd {} in its own network namespace", version.trim()))
    }

    /// What a container wrote, for the reader of a failure.
    pub(super) fn show_logs(&self, container: &str) {
        println!("container: the last words of {container}:");
        if let Err(trouble) = self.docker("logs --tail 50").arg(container).show() {
            println!("{trouble}");
        }
    }

    fn wait(&mut self) -> Result<(), Trouble> {
        for _ in 0..60 {
            if self.docker("info").read().is_ok() {
                return Ok(());
            }
            if self.process.try_wait().map_err(Trouble::io("ask for dockerd"))?.is_some() {
                break;
            }
            thread::sleep(seconds(1));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(10).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        Err(Trouble::Wrong(format!("dockerd did not come up:\n{}", tail.join("\n"))))
    }

    fn end(&mut self) -> Result<(), Trouble> {
        let ended = |process: &mut Child| process.try_wait().map_err(Trouble::io("wait for dockerd"));
        if ended(&mut self.process)?.is_none() {
            if let Ok(containers) = self.docker("ps --all --quiet").read() {
                for container in containers.split_whitespace() {
                    self.docker("rm --force --volumes").arg(container).read()?;
                }
            }
            Run::new("kill", seconds(10)).arg(self.process.id().to_string()).read()?;
        }
        for _ in 0..30 {
            if ended(&mut self.process)?.is_some() {
                break;
            }
            thread::sleep(seconds(1));
        }
        self.process.kill().map_err(Trouble::io("kill dockerd"))?;
        self.process.wait().map_err(Trouble::io("wait for dockerd"))?;
        fs::remove_dir_all(&self.folder).map_err(Trouble::io(format!("remove {}", self.folder.display())))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) => println!("container: engine ended, its folder removed"),
            Err(trouble) => println!("container: the engine was not taken down cleanly: {trouble}"),
        }
    }
}

fn address(folder: &Path) -> String {
    format!("unix://{}/socket", folder.display())
}

/// Debian keeps the engine in a folder that a user's PATH need not have.
fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

/// `$0` is dockerd, `$@` its arguments.
const IN_NAMESPACE: &str = r#"ip link set lo up && exec "$0" "$@""#;
const CLIENT: &str = "/usr/bin/docker";

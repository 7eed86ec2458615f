//! A Docker engine of our own: its network set-up and its processes in namespaces of their own, its files in one
//! temporary folder, nothing on the host changed and nothing left behind.
//!
//! The namespaces come from `unshare` and not from `ip netns exec`, which mounts a fresh /sys and so hides the cgroups.
//! They have no names, so they end with the engine, and with them every mount it made and every process it started: a
//! build would go on without its engine. If this program is killed, so are they; then only the folder stays.
//!
//! The client is the one of the engine's own package: a newer one found earlier in PATH may lack the plug-in that builds.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::run::{Run, Trouble, require, seconds};

/// A running engine; dropping it ends it and removes its folder.
pub(crate) struct Engine {
    process: Child,
    folder: PathBuf,
}

/// Why this machine cannot start an engine, if it cannot. Under CI root must be able to, so there it is tried anyway.
pub(crate) fn hindrance() -> Option<String> {
    let root = Run::new("id -u", seconds(10)).read().is_ok_and(|id| id.trim() == "0");
    if !root {
        return Some("not root, so no engine can be started".to_owned());
    }
    if env::var("CI").is_ok_and(|value| value == "true") {
        return None;
    }
    let refused = Run::new("unshare --net --pid --fork --mount-proc true", seconds(10)).read().err()?;
    Some(format!("no namespaces: {refused}"))
}

impl Engine {
    pub(crate) fn start() -> Result<Self, Trouble> {
        let folder = env::temp_dir().join(format!("keyward-engine-{}", std::process::id()));
        fs::create_dir(&folder).map_err(Trouble::io(format!("make {}", folder.display())))?;
        let log = File::create(folder.join("log")).map_err(Trouble::io("make the engine's log"))?;
        let errors = log.try_clone().map_err(Trouble::io("share the engine's log"))?;
        let at = |name: &str| folder.join(name).into_os_string();
        let process = Command::new("setpriv")
            // KILL, since unshare hears no SIGTERM while it has a child. The child is killed with it.
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", IN_NAMESPACE, "dockerd"])
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
    pub(crate) fn docker(&self, words: &str) -> Run {
        Run::new(CLIENT, seconds(120)).arg("--host").arg(address(&self.folder)).args(words)
    }

    /// Where this engine's files lie; what is put here goes with them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn version(&self) -> Result<String, Trouble> {
        let version = self.docker("version --format {{.Server.Version}}").read()?;
        Ok(format!("dockerd {} in namespaces of its own", version.trim()))
    }

    /// A command in the network namespace of a container.
    pub(crate) fn beside(&self, container: &str) -> Result<Run, Trouble> {
        let process = self.docker("inspect --format {{.State.Pid}}").arg(container).read()?;
        // The number is the engine's own, so it is looked up among the engine's processes.
        Ok(Run::new("nsenter --mount --pid --target", seconds(30))
            .arg(self.first_process()?)
            .arg("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", process.trim())))
    }

    /// Until the image's own health check says so; at most a minute.
    pub(crate) fn wait_until_healthy(&self, container: &str) -> Result<(), Trouble> {
        let mut state = String::new();
        for _ in 0..60 {
            state = self.docker("inspect --format {{.State.Status}}/{{.State.Health.Status}}").arg(container).read()?;
            match state.trim() {
                "running/healthy" => return Ok(()),
                "running/starting" | "created/starting" => thread::sleep(seconds(1)),
                _ => break,
            }
        }
        Err(Trouble::Wrong(format!("the container never became healthy; it is {}", state.trim())))
    }

    /// SIGTERM, as every orchestrator sends it. After thirty seconds the engine kills, and the exit code is 137.
    pub(crate) fn stop(&self, container: &str) -> Result<(), Trouble> {
        self.docker("stop --time 30").arg(container).read()?;
        let code = self.docker("inspect --format {{.State.ExitCode}}").arg(container).read()?;
        require("the exit code after SIGTERM", code.trim(), "0")
    }

    /// What a container wrote, for the reader of a failure.
    pub(crate) fn show_logs(&self, container: &str) {
        println!("engine: the last words of {container}:");
        if let Err(trouble) = self.docker("logs --tail 50").arg(container).show() {
            println!("{trouble}");
        }
    }

    /// The engine itself, as the host counts; our child is the unshare that waits for it.
    fn first_process(&self) -> Result<String, Trouble> {
        let id = Run::new("ps --no-headers -o pid --ppid", seconds(10)).arg(self.process.id().to_string()).read()?;
        Ok(id.trim().to_owned())
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
            Run::new("kill", seconds(10)).arg(self.first_process()?).read()?;
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
            Ok(()) => println!("engine: ended, its folder removed"),
            Err(trouble) => println!("engine: not taken down cleanly: {trouble}"),
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

//! A real keyward process on free ports, with a store of its own, and its command line beside it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use tempfile::TempDir;

use super::disk::Disk;
use super::{Answer, PATIENCE, Wire, eventually};

/// A running keyward.
pub(crate) struct Keyward {
    child: Child,
    folder: Arc<TempDir>,
    store: Option<String>,
    disk: Option<Arc<Disk>>,
    pepper: Option<PathBuf>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// How to start one.
pub(crate) struct Setup {
    folder: Arc<TempDir>,
    store: Option<String>,
    disk: Option<Arc<Disk>>,
    pepper: Option<PathBuf>,
    file_limit: Option<u32>,
    arguments: Vec<String>,
    config: String,
    environment: Vec<(String, String)>,
}

/// A keyward to be configured and started.
pub(crate) fn keyward() -> Setup {
    let folder = Arc::new(TempDir::new().unwrap());
    Setup {
        folder,
        store: None,
        disk: None,
        pepper: None,
        file_limit: None,
        arguments: Vec::new(),
        config: String::new(),
        environment: Vec::new(),
    }
}

impl Setup {
    /// In front of this origin, by `--upstream`.
    pub(crate) fn upstream(mut self, url: impl ToString) -> Self {
        self.arguments.extend(["--upstream".into(), url.to_string()]);
        self
    }

    /// With this settings file. Addresses and the store are the harness's own.
    pub(crate) fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self
    }

    /// With this variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// On the store with this address, instead of one of its own.
    pub(crate) fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }

    /// Over the store of another, stopped one.
    pub(crate) fn over(mut self, other: &Keyward) -> Self {
        self.folder = Arc::clone(&other.folder);
        self.store.clone_from(&other.store);
        self.disk.clone_from(&other.disk);
        self.pepper.clone_from(&other.pepper);
        self
    }

    /// With the pepper in this file, for its command line too.
    pub(crate) fn pepper(mut self, file: impl Into<PathBuf>) -> Self {
        self.pepper = Some(file.into());
        self
    }

    /// With its store on this disk.
    pub(crate) fn on(mut self, disk: &Arc<Disk>) -> Self {
        self.disk = Some(Arc::clone(disk));
        self
    }

    /// Whose files may not grow beyond so many bytes.
    pub(crate) fn file_limit(mut self, bytes: u32) -> Self {
        self.file_limit = Some(bytes);
        self
    }

    /// Where its files are, before it runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Keyward {
        let running = self.spawn();
        running.expect_listening();
        running
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(self) -> Keyward {
        let mut command = match self.file_limit {
            Some(bytes) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--fsize={bytes}:")).arg(program(None).get_program());
                limited
            }
            None => program(self.disk.as_deref()),
        };
        let store = self.store.clone().unwrap_or_else(|| url(&self.folder, self.disk.as_deref()));
        command.args(["serve", "--admin", "127.0.0.1:0", "--store", &store]).args(&self.arguments);
        // A file of the test's own, where it names one.
        if !self.environment.iter().any(|(name, _)| name == "KEYWARD_CONFIG") {
            let file = self.folder.path().join("keyward.toml");
            std::fs::write(&file, &self.config).unwrap();
            command.arg("--config").arg(&file);
        }
        if !self.config.contains("listen =") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.envs(self.pepper.iter().map(|file| (PEPPER, file)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Keyward { child, folder: self.folder, store: self.store, disk: self.disk, pepper: self.pepper, stdout, stderr }
    }
}

/// A minted key.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Keyward {
    /// Waits until it listens.
    pub(crate) fn expect_listening(&self) {
        assert!(self.comes_to_listen(), "keyward ended at start:\n{}", self.stderr.all().join("\n"));
    }

    /// Whether it comes to listen on both faces, and does not end at start.
    pub(crate) fn comes_to_listen(&self) -> bool {
        let listens = || self.stderr.all().iter().any(|line| line.contains("face=\"admin\""));
        eventually("keyward listens on both faces", || listens() || self.has_ended());
        !self.has_ended()
    }

    /// Where clients connect without TLS.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening("face=\"clients\" url=\"http://", 0)
    }

    /// Where clients connect with HTTP/2 and without TLS; [`Self::address`] has to be there too.
    pub(crate) fn http2_address(&self) -> SocketAddr {
        self.listening("face=\"clients\" url=\"http://", 1)
    }

    /// Where clients connect with TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.listening("face=\"clients\" url=\"https://", 0)
    }

    /// Where `/readyz` and `/metrics` are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.listening("face=\"admin\" url=\"http://", 0)
    }

    /// The same where it speaks TLS.
    pub(crate) fn admin_tls_address(&self) -> SocketAddr {
        self.listening("face=\"admin\" url=\"https://", 0)
    }

    /// The address in the line with this mark, the `at`th of them.
    fn listening(&self, mark: &str, at: usize) -> SocketAddr {
        let said = self.stderr.all();
        let mut marked = said.iter().filter_map(|line| line.split_once(mark));
        let line = marked.nth(at).unwrap_or_else(|| panic!("no {mark}: {said:#?}"));
        line.1.split('"').next().unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// GET over a connection of its own, with `Authorization: Token`.
    pub(crate) fn get(&self, path: &str, secret: &str) -> Answer {
        self.wire().get(path, secret)
    }

    /// Runs a command beside it, on its store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let disk = self.disk.as_deref();
        let store = self.store.clone().unwrap_or_else(|| url(&self.folder, disk));
        let mut command = program(disk);
        command.envs(self.pepper.iter().map(|file| (PEPPER, file)));
        command.args(arguments).args(["--store", &store]).output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Runs a command with `--json` and reads what it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.cli(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Makes an account.
    pub(crate) fn account(&self, id: &str) {
        self.cli(&["account", "create", id]);
    }

    /// Makes a service key of an account, with more arguments for `key mint`.
    pub(crate) fn service_key(&self, account: &str, more: &[&str]) -> Minted {
        self.mint(&[&["--account", account, "--kind", "service"], more].concat())
    }

    /// Runs `key mint`.
    pub(crate) fn mint(&self, arguments: &[&str]) -> Minted {
        let made = self.json(&[&["key", "mint"], arguments].concat());
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name} in {made}")).to_owned();
        Minted { id: text("id"), secret: text("secret") }
    }

    /// The access log's lines that tell of `path`, once there are `count`.
    pub(crate) fn logged(&self, path: &str, count: usize) -> Vec<serde_json::Value> {
        let lines = || -> Vec<serde_json::Value> {
            let all = self.stdout.all();
            let read = all.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
            read.filter(|line: &serde_json::Value| line["path"] == path).collect()
        };
        eventually(&format!("{count} log lines for {path}"), || lines().len() >= count);
        lines()
    }

    /// The whole of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        Wire::connect(self.admin()).ask("GET", "/metrics", &[]).text()
    }

    /// The value of a series, or the sum of a metric's.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        let named = |line: &&str| line.split(' ').next() == Some(name) || line.split(['{', ' ']).next() == Some(name);
        let values = metrics.lines().filter(named).map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.parse::<f64>().unwrap() as u64).sum()
    }

    /// Memory the process holds now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_by("VmRSS:")
    }

    /// Most memory it has held so far, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.memory_by("VmHWM:")
    }

    fn memory_by(&self, mark: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(mark)).unwrap();
        let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        kib * 1024
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("keyward ends", || self.has_ended());
        self.child.wait().unwrap()
    }

    /// SIGTERM, and the status it ends with.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// SIGKILL: no file is closed, no last word is written.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A command that has to fail within the harness's patience; what it said.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {said}");
        said
    }

    /// Its store's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("keyward.db")
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Keyward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("keyward said:\n{}", self.stderr.all().join("\n"));
        }
    }
}

const PEPPER: &str = "KEYWARD__KEYS__PEPPER_FILE";

/// The binary under test, without the environment's settings.
pub(crate) fn binary() -> Command {
    program(None)
}

/// The same, where this disk is mounted.
fn program(disk: Option<&Disk>) -> Command {
    let path = env!("CARGO_BIN_EXE_keyward");
    let mut command = disk.map_or_else(|| Command::new(path), |disk| disk.command(path));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYWARD_")) {
        command.env_remove(name);
    }
    command
}

fn url(folder: &TempDir, disk: Option<&Disk>) -> String {
    format!("sqlite://{}", disk.map_or_else(|| folder.path(), Disk::folder).join("keyward.db").display())
}

/// The lines of a pipe, read as they come.
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    pub(crate) fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let lines = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
        Self(lines)
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits for a line that holds `text`, and gives it.
    pub(crate) fn expect(&self, text: &str) -> String {
        let lines = self.0.0.lock().unwrap();
        let without = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(text));
        let (lines, _) = self.0.1.wait_timeout_while(lines, PATIENCE, without).unwrap();
        let found = lines.iter().find(|line| line.contains(text)).cloned();
        found.unwrap_or_else(|| panic!("no line with {text:?} in {lines:#?}"))
    }
}

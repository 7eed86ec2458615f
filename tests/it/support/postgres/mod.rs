//! A real PostgreSQL that the tests start, stop and break, and what stands between it and keyward: PgBouncer, and a relay
//! that holds, loses and cuts.
//!
//! The unit tests of the store include this folder by its path, so it stands on nothing but `pki` beside it. There is one
//! server for each run of a test binary, and a database for each test; whoever stops the server takes one of their own.
//! A [`keeper`] ends them with the process that began them, even where that is killed.

mod keeper;
pub(crate) mod pgbouncer;
pub(crate) mod relay;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::keeper::Keeper;
use super::pki::Root;

/// A PostgreSQL server. Everybody on this machine may be its superuser `postgres`, without a password.
pub(crate) struct Server {
    keeper: Keeper,
    programs: PathBuf,
    port: u16,
    root: Option<PathBuf>,
    databases: AtomicUsize,
}

/// How a server of one test differs from the shared one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// It speaks TLS too, with a certificate for `localhost` and 127.0.0.1.
    pub(crate) tls: bool,
    /// What it says is written has reached the disk.
    pub(crate) fsync: bool,
    /// More lines of `postgresql.conf`.
    pub(crate) settings: &'static [&'static str],
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It ends its sessions and writes what it holds.
    Fast,
    /// As a crash: it recovers from its log when it starts.
    Immediate,
}

impl Server {
    /// The one that this run's tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::own(Options::default()))
    }

    /// One of a test's own, started.
    pub(crate) fn own(options: Options) -> Self {
        let programs = programs();
        let keeper = Keeper::new("postgres", SCRIPT, &programs);
        assert!(keeper.order("make"), "initdb failed:\n{}", keeper.said());
        let mut server = Self { keeper, programs, port: 0, root: None, databases: AtomicUsize::new(0) };
        let folder = server.folder().display().to_string();
        server.set(&[CONFIG, &format!("unix_socket_directories = '{folder}'\n")].concat());
        if !options.fsync {
            // What is committed survives a crash of the server all the same, so `synchronous_commit` stays.
            server.set("fsync = off\nfull_page_writes = off\n");
        }
        if options.tls {
            server.certify();
        }
        server.set(&options.settings.join("\n"));
        server.started()
    }

    /// A copy of this one that follows it, by way of what listens at `primary`, and answers who only reads.
    pub(crate) fn standby(&self, primary: SocketAddr) -> Self {
        let programs = programs();
        let keeper = Keeper::new("standby", SCRIPT, &programs);
        let copied = keeper.order(&format!("copy -h {} -p {}", primary.ip(), primary.port()));
        assert!(copied, "no copy of the primary:\n{}", keeper.said());
        let server = Self { keeper, programs, port: 0, root: None, databases: AtomicUsize::new(0) };
        server.set(&format!("unix_socket_directories = '{}'\n", server.folder().display()));
        server.started()
    }

    /// Makes a standby a primary.
    pub(crate) fn promote(&self) {
        assert!(self.keeper.order("promote"), "the standby cannot take over:\n{}", self.keeper.said());
    }

    fn started(mut self) -> Self {
        for _ in 0..PORTS_TRIED {
            self.port = free_port();
            self.set(&format!("port = {}", self.port));
            if self.keeper.order("start") {
                return self;
            }
            assert!(self.keeper.said().contains("Address already in use"), "{}", self.keeper.said());
        }
        panic!("no port of {PORTS_TRIED} was free:\n{}", self.keeper.said());
    }

    /// Starts it again after [`Self::stop`].
    pub(crate) fn start(&self) {
        assert!(self.keeper.order("start"), "PostgreSQL does not start:\n{}", self.keeper.said());
    }

    /// Stops it, and returns once it has ended.
    pub(crate) fn stop(&self, mode: Mode) {
        let order = if mode == Mode::Fast { "stop fast" } else { "stop immediate" };
        assert!(self.keeper.order(order), "PostgreSQL does not stop:\n{}", self.keeper.said());
    }

    /// A new, empty database.
    pub(crate) fn database(&self) -> Database<'_> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    /// Where it listens with TCP.
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Where its Unix socket is, its log and its data.
    pub(crate) fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// The certificate of the authority that signed its own.
    pub(crate) fn root(&self) -> &Path {
        self.root.as_deref().expect("a server with TLS")
    }

    /// Lines of its settings, each in force from the next start, or from `SELECT pg_reload_conf()`. The last one counts.
    pub(crate) fn set(&self, lines: &str) {
        let mut file = OpenOptions::new().append(true).open(self.folder().join("data/postgresql.conf")).unwrap();
        writeln!(file, "{lines}").unwrap();
    }

    fn certify(&mut self) {
        let owner = self.folder().metadata().unwrap();
        let root = Root::new(self.folder());
        let files = root.certificate(self.folder(), &["localhost", "127.0.0.1"]);
        File::open(&files.key).unwrap().set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
        chown(&files.key, Some(owner.uid()), Some(owner.gid())).unwrap();
        let (chain, key) = (files.chain.display(), files.key.display());
        self.set(&format!("ssl = on\nssl_cert_file = '{chain}'\nssl_key_file = '{key}'\n"));
        self.root = Some(root.file);
    }

    fn ask(&self, database: &str, sql: &str) -> String {
        self.try_ask(database, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }

    fn try_ask(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"])
            .args(["--username=postgres", "--dbname", database, "--command", sql])
            .args(["--host", &self.folder().display().to_string(), "--port", &self.port.to_string()])
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// A database; gone with this.
pub(crate) struct Database<'a> {
    server: &'a Server,
    name: String,
}

impl Database<'_> {
    /// Its address, for `store.url`.
    pub(crate) fn url(&self) -> String {
        self.url_by(self.server.address())
    }

    /// The same by way of what listens there: a relay, a pooler.
    pub(crate) fn url_by(&self, address: SocketAddr) -> String {
        format!("postgres://postgres@{address}/{}", self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What this answers, a row a line and `|` between columns; what a hand at the database would do.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.server.ask(&self.name, sql)
    }

    /// The same of this database as another server has it.
    pub(crate) fn psql_at(&self, server: &Server, sql: &str) -> String {
        server.ask(&self.name, sql)
    }

    /// Ends the sessions whose application's name or last statement is LIKE `pattern`, and gives how many.
    pub(crate) fn terminate_backends(&self, pattern: &str) -> usize {
        let ended = self.psql(&format!(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() \
             AND (application_name LIKE '{pattern}' OR query LIKE '{pattern}')"
        ));
        ended.parse().unwrap()
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A stopped server keeps it, and takes it along when it ends.
        let _ = self.server.try_ask("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The folder of PostgreSQL's programs: where PATH has them, else Debian's newest.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link in PATH may stand alone: its neighbours are where it leads.
    let linked = std::env::split_paths(&path).find_map(|folder| folder.join("initdb").canonicalize().ok());
    let debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| entry.ok()?.path().into());
        let numbered = |path: PathBuf| Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path));
        let installed = versions.filter_map(numbered).filter(|(_, path)| path.join("bin/initdb").exists());
        Some(installed.max()?.1.join("bin/initdb"))
    };
    let initdb = linked.or_else(debian).expect("PostgreSQL is installed: run .ci/packages, or install `postgresql`");
    initdb.parent().unwrap().to_path_buf()
}

/// A port of 127.0.0.1 that nobody listens on, outside the range that the kernel gives out by itself. One of that range
/// would be given to somebody else while its server is stopped; or to a client that looks for that very server, which
/// then finds itself.
fn free_port() -> u16 {
    let free = |_| {
        let mut drawn = [0; 2];
        getrandom::fill(&mut drawn).unwrap();
        let port = 16_384 + u16::from_le_bytes(drawn) % 16_384;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    };
    (0..PORTS_TRIED).find_map(free).expect("a free port")
}

const PORTS_TRIED: usize = 20;

const CONFIG: &str = "listen_addresses = '127.0.0.1'\nmax_connections = 300\nlc_messages = 'C'\n";

const SCRIPT: &str = r#"
make() { initdb -D data -A trust -U postgres --no-sync -E UTF8 --locale=C.UTF-8; }
copy() { pg_basebackup -D data -U postgres --checkpoint=fast --no-sync --write-recovery-conf $1; }
promote() { pg_ctl -D data -w promote; }
start() { pg_ctl -D data -l log -w start; }
stop() { pg_ctl -D data -m "$1" -w stop; }
end() { stop immediate; }
"#;

//! The Python that the tests' real origin and real clients run on, made by `.ci/packages`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The interpreter of the tests' environment.
pub(crate) fn python() -> Command {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    let usual = || cache.join("keyward-ci/python/bin/python");
    let path = std::env::var_os("KEYWARD_TEST_PYTHON").map_or_else(usual, PathBuf::from);
    assert!(path.exists(), "{} is not there: run .ci/packages", path.display());
    Command::new(path)
}

fn home() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).expect("HOME is set")
}

/// An origin in Python.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// httpbin behind a real WSGI server.
    pub(crate) fn httpbin() -> Self {
        Self::start("httpbin_server.py", &[])
    }

    /// A script of `tests/python` that says where it listens.
    pub(crate) fn start(script: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = python()
            .arg(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python")).join(script))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{script} said {line:?}"));
        Self { address: address.parse().unwrap(), stdin: child.stdin.take(), child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends by itself, its workers too, when its standard input does.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

//! A small disk of a test's own: a tmpfs in a mount namespace that nobody else sees.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The disk; gone with this.
pub(crate) struct Disk {
    holder: Child,
    folder: TempDir,
    enter: Vec<&'static str>,
}

/// How a namespace is made in which a disk may be mounted, and how it is entered: as root, and as anybody else.
const WAYS: [(&[&str], &[&str]); 2] = [
    (&["--mount"], &["--mount"]),
    (&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
];

/// Mounts, says so, and stays until its standard input ends.
const HOLD: &str = "mount -t tmpfs -o size=\"$1\",mode=700 tmpfs \"$2\" && echo mounted && exec cat >/dev/null";

impl Disk {
    /// A disk of so many bytes; none where this machine lets us mount none, in either way.
    pub(crate) fn of(bytes: usize) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        WAYS.iter()
            .find_map(|(make, enter)| {
                let mut holder = Command::new("unshare")
                    .args(*make)
                    .args(["sh", "-c", HOLD, "sh", &bytes.to_string()])
                    .arg(folder.path())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("unshare is there: run .ci/packages");
                let mut said = String::new();
                BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
                if said.trim() == "mounted" {
                    return Some((holder, enter.to_vec()));
                }
                holder.wait().unwrap();
                None
            })
            .map(|(holder, enter)| Self { holder, folder, enter })
    }

    /// Runs `program` where the disk is mounted; it keeps its process id.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string()]).args(&self.enter).arg("--").arg(program);
        command
    }

    /// Where it is mounted, for a program that runs there.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it is seen from outside.
    fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.path().strip_prefix("/").unwrap()).join(name)
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.outside("ballast")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while ballast.write(&vec![b'x'; size]).is_ok_and(|written| written == size) {}
        }
    }

    /// Takes away what filled it.
    pub(crate) fn make_room(&self) {
        // Not removed: a name would have to be made again, and there may be no room for one.
        File::create(self.outside("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

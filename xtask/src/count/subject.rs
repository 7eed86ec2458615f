//! keyward under a tool that counts: started, driven, asked to end, and what the tool counted.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::load::{self, Load};
use crate::place;
use crate::run::{Run, Trouble, seconds};

/// What counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tool {
    /// Instructions of user space.
    Callgrind,
    /// System calls.
    Strace,
}

/// How keyward is run. One worker, and the defaults but for this.
pub(super) struct Setup<'a> {
    pub(super) tool: Tool,
    pub(super) access_log: bool,
    pub(super) upstream: String,
    pub(super) store: String,
    /// Where the tool and keyward write what they have to say.
    pub(super) folder: &'a Path,
}

/// Serves these loads, and answers what was counted from start to end.
pub(super) fn total(setup: &Setup<'_>, loads: &[Load<'_>]) -> Result<f64, Trouble> {
    let file = |name: &str| setup.folder.join(name);
    let make = |name: &str| File::create(file(name)).map_err(Trouble::io(format!("make {}", file(name).display())));
    let report = file("report");
    let running = command(setup, &report, &file("pid")).start(make("access.log")?, make("keyward.log")?)?;
    let address = eventually("keyward listens", || listening(&file("keyward.log")))?;
    load::drive(address, loads).map_err(Trouble::io(format!("be served by a keyward under {:?}", setup.tool)))?;
    let pid = read(&file("pid"))?;
    Run::new("kill -TERM", seconds(10)).args(&pid).read()?;
    running.wait()?;
    let report = read(&report)?;
    let counted = match setup.tool {
        Tool::Callgrind => instructions(&report),
        Tool::Strace => syscalls(&report),
    };
    counted.ok_or_else(|| Trouble::Wrong(format!("{:?} says nothing to be read:\n{report}", setup.tool)))
}

/// The shell tells which process keyward is, since it is to be asked to end, and not the tool.
fn command(setup: &Setup<'_>, report: &Path, pid: &Path) -> Run {
    let shell = "echo $$ >\"$0\" && exec \"$@\"";
    let run = match setup.tool {
        Tool::Callgrind => Run::new("sh -c", LIMIT)
            .arg(shell)
            .arg(pid)
            .args("valgrind --quiet --tool=callgrind")
            .arg(format!("--callgrind-out-file={}", report.display())),
        Tool::Strace => Run::new("strace -f -c -o", LIMIT).arg(report).args("sh -c").arg(shell).arg(pid),
    };
    run.arg(place::dist_binary())
        .args("serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --upstream")
        .arg(&setup.upstream)
        .arg("--store")
        .arg(&setup.store)
        .env("KEYWARD__SERVER__WORKERS", "1")
        .env("KEYWARD__ACCESS_LOG__ENABLED", setup.access_log.to_string())
}

/// Where the clients' listener is, once the log says that both faces listen.
fn listening(log: &Path) -> Option<SocketAddr> {
    let said = fs::read_to_string(log).ok()?;
    said.contains("face=\"admin\"").then_some(())?;
    let (_, rest) = said.split_once("face=\"clients\" url=\"http://")?;
    rest.split('"').next()?.parse().ok()
}

/// From a callgrind profile: `totals: N`.
fn instructions(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// From strace's table: the calls of the line that ends in `total`. The columns are time, seconds, microseconds a call,
/// calls, and errors where there are any.
fn syscalls(report: &str) -> Option<f64> {
    let total = report.lines().find(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

fn read(path: &Path) -> Result<String, Trouble> {
    fs::read_to_string(path).map_err(Trouble::io(format!("read {}", path.display())))
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Trouble> {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        thread::sleep(PAUSE);
    }
    Err(Trouble::Wrong(format!("not within {} s: {what}", PATIENCE.as_secs())))
}

const LIMIT: Duration = seconds(180);
const PATIENCE: Duration = seconds(60);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_are_read() {
        assert_eq!(instructions("events: Ir\nfn=(1) main\n16 400\n\ntotals: 123456\n"), Some(123_456.0));
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                      61.54    0.000100          10         7         1 read\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000130          10        13         2 total\n";
        assert_eq!(syscalls(table), Some(13.0));
        assert_eq!(syscalls(""), None);
    }
}

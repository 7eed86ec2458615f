//! What a request costs: user instructions and system calls of the release binary, against the figures of
//! `tests/bench/counts.toml`.
//!
//! ```text
//!  load (16 connections) ──▶ valgrind --tool=callgrind | strace -c : keyward ──▶ origin
//!       '------------------------- threads of this program ---------------------------'
//! ```
//!
//! A run's count minus that of a run which did nothing but start, warm up and end, over the requests it had more. Time
//! on a busy machine says little; these counts are the same on any machine of the same kind, within a few percent.

use std::fs;

use crate::place;
use crate::release;
use crate::run::Trouble;

use keys::Keys;
use load::Load;
use origin::Origin;
use recorded::{Cost, Figures};
use subject::{Setup, Tool};

mod keys;
mod load;
mod origin;
mod recorded;
mod subject;

/// Fails where a figure is more than [`recorded::ALLOWED`] above the recorded one.
pub(crate) fn check() -> Result<(), Trouble> {
    let target = release::host()?;
    let recorded = recorded::read(&target)?;
    let measured = measure()?;
    recorded::compare(&target, &recorded, &measured).or_else(|_| {
        // What disturbs a run (a crowd that came apart on a busy machine) only adds, so the lower count is the truer one.
        println!("count: measured once more, since something has risen");
        recorded::compare(&target, &recorded, &measured.lower(&measure()?))
    })
}

/// Takes what is measured as the figures of this machine's kind.
pub(crate) fn record() -> Result<(), Trouble> {
    let target = release::host()?;
    recorded::write(&target, &measure()?)?;
    println!("count: recorded for {target}: commit {} and say why", recorded::FILE);
    Ok(())
}

/// All scenarios, with the binary that `release` builds from the sources as they are.
fn measure() -> Result<Figures, Trouble> {
    release::build()?;
    let folder = place::target().map_err(Trouble::io("find the target folder"))?.join("count");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Trouble::io(format!("clear {}", folder.display())))?;
    }
    fs::create_dir_all(&folder).map_err(Trouble::io(format!("make {}", folder.display())))?;
    let origin = Origin::start()?;
    let keys = Keys::make(&folder)?;

    let total = |tool: Tool, access_log: bool, more: &[Load<'_>]| {
        let warm = [
            Load { keys: &keys.valid, status: 200, rounds: WARM },
            Load { keys: &keys.unknown, status: 401, rounds: WARM },
        ];
        let setup = Setup { tool, access_log, upstream: origin.url(), store: keys.store(), folder: &folder };
        subject::total(&setup, &[&warm[..], more].concat())
    };
    let permitted = [Load { keys: &keys.valid, status: 200, rounds: ROUNDS }];
    let refused = [Load { keys: &keys.unknown, status: 401, rounds: ROUNDS }];
    let mut costs = [Cost::default(); 3];
    for tool in [Tool::Callgrind, Tool::Strace] {
        let quiet = total(tool, false, &[])?;
        let logging = total(tool, true, &[])?;
        let runs = [
            total(tool, false, &permitted)? - quiet,
            total(tool, false, &refused)? - quiet,
            total(tool, true, &permitted)? - logging,
        ];
        for (cost, run) in costs.iter_mut().zip(runs) {
            let each = run / f64::from(ROUNDS * load::CONNECTIONS);
            match tool {
                Tool::Callgrind => cost.instructions = each,
                Tool::Strace => cost.syscalls = each,
            }
        }
    }
    Ok(Figures::of(costs))
}

/// Requests a connection before the ones that are counted: every key is known then, every connection is open.
const WARM: u32 = 40;
/// Requests a connection that are counted.
const ROUNDS: u32 = 200;

//! The model of the revocation protocol under Spin: right, it breaks nothing; with each fault put in, it does.
//!
//! Spin makes a C program of the model, and that one tries every order of steps. The model says how it maps to the code.

use std::path::Path;

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let folder = place::target().map_err(Trouble::io("find the target folder"))?.join("spin");
    std::fs::create_dir_all(&folder).map_err(Trouble::io(format!("create {}", folder.display())))?;
    for defines in RIGHT {
        let said = explored(&folder, defines)?;
        println!("right {defines}: {}", states(&said));
        if !said.contains("errors: 0") || said.contains("max search depth too small") {
            return Err(Trouble::Wrong(format!("{MODEL} {defines}: something promised is broken\n{said}")));
        }
    }
    for defines in FAULTS {
        let said = explored(&folder, defines)?;
        println!("found {defines}: {}", states(&said));
        if !said.contains("assertion violated  !(after)") {
            return Err(Trouble::Wrong(format!("{MODEL} {defines}: the fault was not found\n{said}")));
        }
    }
    Ok(())
}

/// What the checker says of the model with these definitions.
fn explored(folder: &Path, defines: &str) -> Result<String, Trouble> {
    let there =
        |line: &str, limit| Run::new("env", seconds(limit)).arg(format!("--chdir={}", folder.display())).args(line);
    there("spin -a", 60).args(defines).arg(place::root().join(MODEL)).read()?;
    there("cc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4096 -o pan pan.c", 300).read()?;
    there("./pan -n -m100000", 900).read()
}

fn states(said: &str) -> &str {
    said.lines().map(str::trim).find(|line| line.ends_with("states, stored")).unwrap_or("?")
}

const MODEL: &str = "src/keyring/fence/revocation.pml";
const RIGHT: [&str; 2] = ["", "-DPURGE"];
const FAULTS: [&str; 9] = [
    "-DBUG_LEASE_IGNORED",
    "-DBUG_STALE_FILL",
    "-DBUG_JOINED_TRUSTED",
    "-DBUG_LEASE_FROM_RECEIPT",
    "-DBUG_DEADLINE_LATE",
    "-DBUG_LEASE_BEFORE_APPLYING",
    "-DBUG_ACKNOWLEDGE_BEFORE_APPLYING",
    "-DBUG_SNAPSHOT_BEFORE_REGISTRATION",
    "-DPURGE -DBUG_ONE_PHASE_PURGE",
];

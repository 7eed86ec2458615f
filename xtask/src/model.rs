//! The fence of the keyring under the model checker loom: what the request path trusts, in every interleaving.
//!
//! The cfg is our own, because tokio has one called `loom` and then no sockets. It changes the flags of every crate, so
//! the build has a target folder of its own.

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let target = place::target().map_err(Trouble::io("find the target folder"))?.join("loom");
    let run = |line: &str, limit| {
        Run::new("cargo test --package keyward --lib --locked", limit)
            .args(line)
            .env("RUSTFLAGS", "--cfg keyward_loom")
            .env("CARGO_TARGET_DIR", &target)
    };
    run("--no-run", seconds(1800)).show()?;
    let said = run(MODEL, seconds(120)).args("-- --nocapture").read()?;
    println!("{}", said.trim());
    if said.contains(PASSED) {
        return Ok(());
    }
    Err(Trouble::Wrong(format!("{MODEL} does not say {PASSED:?}: is it still there?")))
}

const MODEL: &str = "keyring::fence::model";
/// All of them, so that a renamed one is missed.
const PASSED: &str = "4 passed";

//! The fence of the keyring and the bell of a connection under the model checker loom: what the request path trusts, in
//! every interleaving.
//!
//! It is a feature that only our own tests know: tokio would take loom's own cfg for itself, and then have no sockets.

use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let run =
        |line: &str, limit| Run::new("cargo test --package keyward --lib --locked --features model", limit).args(line);
    run("--no-run", seconds(1800)).show()?;
    let said = run(MODEL, seconds(120)).args("-- --nocapture").read()?;
    println!("{}", said.trim());
    if said.contains(PASSED) {
        return Ok(());
    }
    Err(Trouble::Wrong(format!("{MODEL} does not say {PASSED:?}: is it still there?")))
}

const MODEL: &str = "::model::";
/// All of them, so that a renamed one is missed.
const PASSED: &str = "7 passed";

//! cargo-deny over `.deny.toml`. It is no dependency of ours, so it is installed by version into the cache folder.

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let folder = place::cache().join(format!("cargo-deny-{VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        println!("deny: installing cargo-deny {VERSION} into {}", folder.display());
        Run::new("cargo install --locked --quiet cargo-deny --version", seconds(1200))
            .arg(VERSION)
            .arg("--root")
            .arg(&folder)
            // Its build belongs neither into our target folder nor under our flags.
            .without_env("CARGO_TARGET_DIR")
            .without_env("RUSTFLAGS")
            .show()?;
    }
    Run::new("env", seconds(120))
        .arg(&program)
        .args("--locked --workspace check --hide-inclusion-graph licenses bans sources")
        .show()?;
    println!("advisories: not checked here (the database is not reachable)");
    Ok(())
}

const VERSION: &str = "0.20.2";

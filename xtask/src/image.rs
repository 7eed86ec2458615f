//! The image as a user builds it: the whole Dockerfile, compiled from the sources, then run once.
//!
//! ```text
//!  debootstrap, the host's Rust ──▶ tar in the cache folder ──▶ image BASE ┐
//!  cargo vendor ──▶ the crates of Cargo.lock ──────────────────────────────┴▶ image RUST ──▶ docker build ──▶ run
//! ```
//!
//! What it finds and `container` cannot: a file that the sources include and `.dockerignore` holds back, a build stage
//! that needs what the Rust image has not. It asks no image registry, and the build has no network at all: the crates
//! stand in the stand-in, where the official image has cargo's home.

use std::fs;

use crate::engine::{self, Engine};
use crate::release;
use crate::run::{Run, Trouble, require, seconds};

mod base;

pub(crate) fn check() -> Result<(), Trouble> {
    if let Some(reason) = engine::hindrance() {
        println!("\nSKIPPED image test: {reason}\n");
        return Ok(());
    }
    let engine = Engine::start()?;
    done(&format!("engine: {}", engine.version()?));
    stand_in(&engine)?;
    build(&engine)?;
    run(&engine).inspect_err(|_| engine.show_logs(KEYWARD))
}

/// The Rust image of this machine: the base, which changes with rustc, and on it the crates, which change with Cargo.lock.
fn stand_in(engine: &Engine) -> Result<(), Trouble> {
    let archive = base::archive(engine.folder())?;
    engine.docker("import").arg(&archive).arg(BASE).within(seconds(600)).read()?;
    done(&format!("imported: image {BASE}, {}", archive.display()));

    let home = engine.folder().join("cargo");
    let context = engine.folder().join("rust");
    fs::create_dir(&home).and_then(|()| fs::create_dir(&context)).map_err(Trouble::io("make the crates' folders"))?;
    let vendor = home.join("vendor");
    let settings = Run::new("cargo vendor --locked --versioned-dirs --respect-source-config", seconds(600))
        .arg(&vendor)
        .read()?
        .replace(&*vendor.to_string_lossy(), &format!("{CARGO_HOME}/vendor"));
    let dockerfile =
        format!("FROM {BASE}\nENV PATH={SEARCH_PATH} CARGO_HOME={CARGO_HOME}\nADD cargo.tar {CARGO_HOME}/\n");
    fs::write(home.join("config.toml"), settings)
        .and_then(|()| fs::write(context.join("Dockerfile"), dockerfile))
        .map_err(Trouble::io("write the stand-in's settings"))?;
    // One file is sent faster than fifteen thousand.
    let crates = context.join("cargo.tar");
    Run::new("tar --create --directory", seconds(300)).arg(&home).arg("--file").arg(&crates).arg(".").read()?;
    engine
        .docker("build --quiet --network none --tag")
        .arg(RUST)
        .arg(&context)
        .env("DOCKER_BUILDKIT", "1")
        .within(seconds(600))
        .read()?;
    done(&format!("built: image {RUST}, with the crates of Cargo.lock"));
    Ok(())
}

fn build(engine: &Engine) -> Result<(), Trouble> {
    engine
        .docker("build --progress plain --network none --build-arg")
        .arg(format!("RUST_IMAGE={RUST}"))
        .arg("--tag")
        .arg(KEYWARD)
        .arg(".")
        .env("DOCKER_BUILDKIT", "1")
        .within(seconds(1500))
        .read()?;
    let user = engine.docker("image inspect --format {{.Config.User}}").arg(KEYWARD).read()?;
    let size = engine.docker("image inspect --format {{.Size}}").arg(KEYWARD).read()?;
    require("the image's user", user.trim(), "65532:65532")?;
    done(&format!("built: image {KEYWARD}, from the sources, user {}, {} bytes", user.trim(), size.trim()));
    Ok(())
}

fn run(engine: &Engine) -> Result<(), Trouble> {
    let version = engine.docker("run --rm --network none").args(LOCKED).arg(KEYWARD).arg("--version").read()?;
    require("the image's version", version.trim(), &format!("keyward {}", release::version()?))?;
    done(&format!("ran: {}", version.trim()));

    engine
        .docker("run --detach --network none --health-interval=1s --name")
        .arg(KEYWARD)
        .args(LOCKED)
        .arg(KEYWARD)
        .args("serve --upstream echo")
        .read()?;
    engine.wait_until_healthy(KEYWARD)?;
    done("healthy: a read-only server, without capabilities or new privileges");
    engine.stop(KEYWARD)?;
    done("stopped: SIGTERM, exit code 0");
    Ok(())
}

fn done(what: &str) {
    println!("image: {what}");
}

const BASE: &str = "rust-base";
const RUST: &str = "rust-with-crates";
const KEYWARD: &str = "keyward-from-sources";
const LOCKED: &str = "--read-only --cap-drop=ALL --security-opt no-new-privileges";

/// As in the official image. The Dockerfile's cache covers only its folder `registry`.
const CARGO_HOME: &str = "/usr/local/cargo";
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

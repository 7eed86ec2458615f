//! The binary that is shipped: release profile, static against glibc, so that an image needs nothing beside it.

use std::fs;

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn build() -> Result<(), Trouble> {
    let host = host()?;
    // With --target the flag stays off build scripts and procedural macros, which cannot be static.
    Run::new("cargo build --release --locked --package keyward --target", seconds(1800))
        .arg(&host)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .show()?;
    let target = place::target().map_err(Trouble::io("find the target folder"))?;
    let built = target.join(&host).join("release/keyward");
    let kept = place::dist_binary();
    fs::create_dir_all(kept.with_file_name("")).map_err(Trouble::io("make dist/"))?;
    let size = fs::copy(&built, &kept).map_err(Trouble::io(format!("copy {}", built.display())))?;
    println!("release: dist/keyward, {:.1} MB, {host}", size as f64 / 1e6);
    static_only(&kept.to_string_lossy())
}

/// The target triple of the Rust in use.
pub(crate) fn host() -> Result<String, Trouble> {
    let version = Run::new("rustc -vV", seconds(60)).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Trouble::Wrong("rustc -vV names no host".to_owned()))
}

/// keyward's version, as Cargo.toml has it.
pub(crate) fn version() -> Result<String, Trouble> {
    let id = Run::new("cargo pkgid --locked --package keyward", seconds(60)).read()?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or_default();
    Ok(version.to_owned())
}

/// `ldd` fails for a binary that asks for no loader, and says "statically linked" for a static-pie one.
fn static_only(binary: &str) -> Result<(), Trouble> {
    match Run::new("ldd", seconds(60)).arg(binary).read() {
        Ok(said) if !said.contains("statically linked") => {
            Err(Trouble::Wrong(format!("{binary} is not static:\n{said}")))
        }
        _ => Ok(()),
    }
}

//! A stand-in for the official Rust image: the same Debian with the same few packages, and the Rust of this machine. It
//! takes minutes and a mirror of Debian to make, so it is kept in the cache folder until rustc changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::run::{Run, Trouble, require, seconds};
use crate::{place, release};

/// The archive, made if it is not there; `scratch` takes what is in the way of making it.
pub(super) fn archive(scratch: &Path) -> Result<PathBuf, Trouble> {
    let version = Run::new("rustc --version", seconds(60)).read()?;
    let cache = place::cache();
    let archive = cache.join(name(&version));
    // Two runs on one machine: the second waits, and finds what the first has made.
    fs::create_dir_all(&cache).map_err(Trouble::io("make the cache folder"))?;
    let lock = File::create(cache.join(format!("{PREFIX}lock"))).map_err(Trouble::io("make the base image's lock"))?;
    lock.lock().map_err(Trouble::io("lock the base images"))?;
    if !archive.exists() {
        println!("image: making {} from {SUITE} and {}; kept for later runs", archive.display(), version.trim());
        remove_others(&cache)?;
        let tree = scratch.join("base");
        install(&tree, &version)?;
        keep(&tree, &archive)?;
    }
    Ok(archive)
}

fn name(version: &str) -> String {
    let words: Vec<_> = version.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty() && *word != "rustc").collect();
    format!("{PREFIX}{SUITE}-{RECIPE}-{}.tar", words.join("-"))
}

/// Of other versions of rustc, and what an ended run left unfinished: a gigabyte each.
fn remove_others(cache: &Path) -> Result<(), Trouble> {
    for entry in fs::read_dir(cache).map_err(Trouble::io("read the cache folder"))? {
        let path = entry.map_err(Trouble::io("read the cache folder"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && (name.ends_with(".tar") || name.ends_with(".part")) {
            fs::remove_file(&path).map_err(Trouble::io(format!("remove {}", path.display())))?;
        }
    }
    Ok(())
}

fn install(tree: &Path, version: &str) -> Result<(), Trouble> {
    // What debootstrap mounts goes with its mount namespace, however it ends.
    Run::new("unshare --mount debootstrap --force-check-gpg --variant=minbase", seconds(900))
        .arg(format!("--keyring={KEYRING}"))
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(tree)
        .arg(MIRROR)
        .read()?;
    let toolchain = Run::new("rustc --print sysroot", seconds(60)).read()?;
    Run::new("sh -euc", seconds(300))
        .arg(COPY)
        .arg(toolchain.trim())
        .arg(tree.join("usr/local"))
        .arg(release::host()?)
        .read()?;
    // Without /proc the loader cannot tell where rustc lies, so it is told where the libraries are.
    let rustc = "env LD_LIBRARY_PATH=/usr/local/lib /usr/local/bin/rustc --version";
    let copied = Run::new("chroot", seconds(60)).arg(tree).args(rustc).read()?;
    require("the stand-in's Rust", copied.trim(), version.trim())
}

/// Moved into its place only when whole, so an interrupted run is not believed.
fn keep(tree: &Path, archive: &Path) -> Result<(), Trouble> {
    let part = archive.with_extension("part");
    Run::new("tar --create --numeric-owner --directory", seconds(300))
        .arg(tree)
        .args(LEFT_OUT)
        .arg("--file")
        .arg(&part)
        .arg(".")
        .read()?;
    fs::rename(&part, archive).map_err(Trouble::io(format!("rename {}", part.display())))
}

/// `$0` is the toolchain, `$1` where it goes, `$2` the host's triple: neither documentation nor other targets.
const COPY: &str = r#"
    mkdir -p "$1/bin" "$1/lib/rustlib"
    cp "$0/bin/cargo" "$0/bin/rustc" "$1/bin/"
    cp -P "$0"/lib/*.so* "$1/lib/"
    cp -R "$0/lib/rustlib/$2" "$1/lib/rustlib/"
"#;

const PREFIX: &str = "rust-base-";
/// Raise it when the recipe below changes, so that an archive of the old one is not taken.
const RECIPE: u32 = 1;
const SUITE: &str = "bookworm";
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LEFT_OUT: &str = "--exclude=./var/cache/apt/* --exclude=./var/lib/apt/lists/* --exclude=./usr/share/doc/* \
    --exclude=./usr/share/locale/* --exclude=./usr/share/man/*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_for_its_rustc() {
        assert_eq!(
            name("rustc 1.95.0 (59807616e 2026-04-14)\n"),
            format!("rust-base-bookworm-{RECIPE}-1.95.0-59807616e-2026-04-14.tar")
        );
    }
}

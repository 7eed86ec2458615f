//! libFuzzer over every fuzz target, for seconds each: guided by coverage, begun from the kept corpora, on stable Rust.
//!
//! Coverage is a pass of LLVM, which stable rustc runs when flags ask for it; only sanitizers would need another toolchain,
//! and they look for what code without `unsafe` cannot do. What is found lies below the target folder, never in the tree.
//! `KEYWARD_FUZZ_SECONDS=600 cargo xtask fuzz` looks for longer; fuzz/README.md says how to keep what that finds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let (targets, host) = (targets()?, host()?);
    let folder = place::target().map_err(Trouble::io("find the target folder"))?.join("fuzz");
    same_versions()?;
    Run::new("cargo build --release --manifest-path fuzz/Cargo.toml --target", seconds(2400))
        .args(&host)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS.join(" "))
        .without_env("CARGO_ENCODED_RUSTFLAGS")
        .show()?;
    let programs = folder.join(host).join("release");
    let duration = duration()?;
    for target in &targets {
        println!("fuzz: {target} for {duration} s");
        run(target, &programs.join(target), &folder, duration)?;
    }
    println!("fuzz: {} targets held", targets.len());
    Ok(())
}

fn run(target: &str, program: &Path, folder: &Path, duration: u64) -> Result<(), Trouble> {
    let (found, failing) = (folder.join("found").join(target), folder.join("failing").join(target));
    for folder in [&found, &failing] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Trouble::io(format!("empty {}", folder.display()))(error));
            }
            _ => fs::create_dir_all(folder).map_err(Trouble::io(format!("make {}", folder.display())))?,
        }
    }
    let kept = place::root().join("fuzz");
    let outcome = Run::new("", seconds(duration + 120))
        .arg(program)
        .args("-verbosity=0 -print_final_stats=1 -timeout=10 -rss_limit_mb=2048 -max_len=4096")
        .arg(format!("-max_total_time={duration}"))
        .arg(format!("-artifact_prefix={}/", failing.display()))
        .arg(format!("-dict={}", kept.join("dictionaries").join(format!("{target}.dict")).display()))
        .arg(&found)
        .arg(kept.join("corpus").join(target))
        .env("RUST_BACKTRACE", "0")
        .show();
    let Err(trouble) = outcome else { return Ok(()) };
    let inputs = entries(&failing)?;
    let Some(input) = inputs.first() else { return Err(trouble) };
    Err(Trouble::Wrong(format!(
        "{target} does not hold on {}: mend it, and keep the input in fuzz/corpus/{target} under a name that says what it was",
        input.display()
    )))
}

/// The programs' names are the targets'.
fn targets() -> Result<Vec<String>, Trouble> {
    let sources = entries(&place::root().join("fuzz/fuzz_targets"))?;
    Ok(sources.iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect())
}

/// The targets are built from the versions keyward is shipped with: their lock file is made from its own.
fn same_versions() -> Result<(), Trouble> {
    let (ours, theirs) = (place::root().join("Cargo.lock"), place::root().join("fuzz/Cargo.lock"));
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&theirs) < changed(&ours) {
        fs::copy(&ours, &theirs).map_err(Trouble::io(format!("write {}", theirs.display())))?;
    }
    Ok(())
}

/// Named, so that the flags reach what is fuzzed and not the build scripts.
fn host() -> Result<String, Trouble> {
    let version = Run::new("rustc -vV", seconds(60)).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Trouble::Wrong("rustc names no host".to_owned()))
}

fn duration() -> Result<u64, Trouble> {
    let Ok(text) = std::env::var("KEYWARD_FUZZ_SECONDS") else { return Ok(SECONDS) };
    text.parse().map_err(|_| Trouble::Wrong(format!("KEYWARD_FUZZ_SECONDS is {text:?}, and no number of seconds")))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let read = || format!("read {}", folder.display());
    let entries = fs::read_dir(folder).map_err(Trouble::io(read()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(Trouble::io(read()))?;
    paths.sort();
    Ok(paths)
}

/// For one target, where nobody says otherwise.
const SECONDS: u64 = 5;

/// As cargo-fuzz has them without a sanitizer.
const FLAGS: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

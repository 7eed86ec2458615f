//! shellcheck on every shell script of the project, found by its first line and not by a list.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(crate) fn check() -> Result<(), Trouble> {
    let mut scripts = Vec::new();
    for folder in FOLDERS {
        collect(&place::root().join(folder), &mut scripts)?;
    }
    scripts.sort();
    println!("shellcheck: {} scripts", scripts.len());
    scripts.iter().fold(Run::new("shellcheck --", seconds(60)), Run::arg).show()
}

fn collect(folder: &Path, scripts: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    let read = || format!("read {}", folder.display());
    for entry in fs::read_dir(folder).map_err(Trouble::io(read()))? {
        let path = entry.map_err(Trouble::io(read()))?.path();
        if path.is_dir() {
            collect(&path, scripts)?;
        } else if is_shell(&path)? {
            scripts.push(path);
        }
    }
    Ok(())
}

fn is_shell(path: &Path) -> Result<bool, Trouble> {
    let bytes = fs::read(path).map_err(Trouble::io(format!("read {}", path.display())))?;
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(first.starts_with(b"#!") && first.ends_with(b"sh"))
}

const FOLDERS: [&str; 2] = [".ci", "deploy"];

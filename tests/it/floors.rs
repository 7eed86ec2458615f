//! Who may import whom, and how large a file may grow.
//!
//! A module imports only from floors below its own, or beside it on the same floor; the two faces never import each
//! other. The sources are read as text: [`source`] blanks comments and strings out and cuts test modules off, so that
//! what is left is code, and [`rules`] judges each path into this crate. A module that no floor names is a breach too:
//! whoever adds one says where it stands.

use std::fs;
use std::path::{Path, PathBuf};

mod rules;
mod source;

#[test]
fn every_module_imports_only_downward() {
    let breaches: Vec<String> = sources().iter().flat_map(|(path, text)| rules::breaches(path, text)).collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn no_file_grows_past_its_budget() {
    let mut sizes: Vec<_> = sources().iter().map(|(path, text)| (source::code_lines(text), path.clone())).collect();
    sizes.sort();
    for (lines, path) in sizes.iter().rev() {
        let remark = if *lines > WARNED_ABOVE { "   large: is there a reason?" } else { "" };
        println!("{lines:>5}  {path}{remark}");
    }
    let above: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > NEVER_ABOVE).collect();
    assert!(above.is_empty(), "more than {NEVER_ABOVE} lines of code: {above:?}");
}

#[test]
fn no_module_is_a_drawer() {
    let drawers: Vec<_> = sources().into_iter().map(|(path, _)| path).filter(|path| rules::is_drawer(path)).collect();
    assert!(drawers.is_empty(), "a name that says nothing: {drawers:?}");
}

/// Every source file: its path below `src`, and its text.
fn sources() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&top, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no sources below {}", top.display());
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&top).expect("below src").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a readable source"))
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

const WARNED_ABOVE: usize = 400;
const NEVER_ABOVE: usize = 600;

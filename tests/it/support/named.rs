//! Tests that a page names, found in the source.

use std::fs;
use std::path::Path;

/// Panics where no test has this path, such as `gateway::limits::an_origin_that_is_silent_is_given_up`.
///
/// A module is a file, a folder with `mod.rs`, or the `tests` at the foot of a file. Below `tests` it belongs to `src`,
/// else to `tests/it`.
pub(crate) fn assert_is_a_test(path: &str) {
    let (modules, name) = path.rsplit_once("::").unwrap_or_else(|| panic!("{path} names no module"));
    let folder = if modules.split("::").any(|module| module == "tests") { "src" } else { "tests/it" };
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let stem = modules.replace("::", "/");
    let foot = stem.strip_suffix("/tests").unwrap_or(&stem);
    let files = [format!("{stem}.rs"), format!("{stem}/mod.rs"), format!("{foot}.rs"), format!("{foot}/mod.rs")];
    let written = [format!("fn {name}("), format!("    {name}: \"")];
    let found = files.iter().filter_map(|file| fs::read_to_string(top.join(file)).ok());
    let has = |text: String| written.iter().any(|written| text.contains(written.as_str()));
    assert!(found.into_iter().any(has), "no test is called {path}");
}

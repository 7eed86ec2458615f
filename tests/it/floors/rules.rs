//! The floors as data, and the judgement of one file.

use super::source;

/// What each floor holds, from the ground up.
const FLOORS: [&[&str]; 8] = [
    &["clock", "flaw", "measure", "secret", "telemetry"],
    &["key"],
    &["store"],
    &["keyring"],
    &["net"],
    &["gateway", "manage"],
    // Every part owns its `Config`, and `config` composes them: so it stands above all parts, and no part imports it.
    &["app", "config"],
    &["cli", "fuzz", "main"],
];

/// Neighbours on one floor that must not know each other, and why.
const STRANGERS: [(&str, &str, &str); 1] = [("gateway", "manage", "the faces never import each other")];

/// A name that says nothing draws everything in.
const DRAWERS: [&str; 9] = ["common", "core", "globals", "helper", "helpers", "manager", "misc", "util", "utils"];

/// Every import of `text`, the file at `path` below `src`, that the floors forbid.
pub(super) fn breaches(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    // The front page declares the modules and imports none; it has no floor.
    if module == "lib" {
        return Vec::new();
    }
    if floor(module).is_none() {
        return vec![format!("{path}: the module {module} has no floor; give it one in tests/it/floors/rules.rs")];
    }
    let imports = source::imports(text, depth_of(path));
    let judged = imports.iter().filter_map(|(line, target)| {
        let reason = forbidden(module, target)?;
        Some(format!("{path}:{line}: {module} imports {target}: {reason}"))
    });
    judged.collect()
}

pub(super) fn is_drawer(path: &str) -> bool {
    path.trim_end_matches(".rs").split('/').any(|part| DRAWERS.contains(&part))
}

/// `gateway/route.rs` belongs to `gateway`, `clock.rs` to `clock`.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// How many modules a file's code lies in: `key/mod.rs` in one, `key/judge.rs` in two.
fn depth_of(path: &str) -> usize {
    path.trim_end_matches("/mod.rs").split('/').count()
}

fn forbidden(module: &str, target: &str) -> Option<String> {
    if module == target {
        return None;
    }
    let (own, other) = (floor(module)?, floor(target));
    let Some(other) = other else {
        return Some(format!("{target} has no floor; name the module it lies in"));
    };
    if other > own {
        return Some(format!("floor {other} lies above floor {own}"));
    }
    let strangers =
        |(one, another, _): &&(&str, &str, &str)| [[*one, *another], [*another, *one]].contains(&[module, target]);
    STRANGERS.iter().find(strangers).map(|(_, _, reason)| (*reason).to_owned())
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn an_import_from_below_or_beside_is_allowed() {
    assert_eq!(breaches("gateway/route.rs", "use crate::key::Kind;\nuse crate::gateway::ask::Ask;"), [""; 0]);
    assert_eq!(breaches("secret.rs", "use crate::clock::Timestamp;"), [""; 0]);
    assert_eq!(breaches("config/resolve.rs", "use crate::{gateway, manage, net, store};"), [""; 0]);
}

#[test]
fn an_import_from_above_is_found_with_its_line() {
    let found = breaches("key/scope.rs", "//! Pure.\n\nuse crate::store::Store;\n");
    assert_eq!(found, ["key/scope.rs:3: key imports store: floor 2 lies above floor 1"]);
}

#[test]
fn a_path_in_the_middle_of_code_is_found_too() {
    let found = breaches("store/mod.rs", "fn f() -> crate :: keyring::Keyring { unreachable!() }");
    assert_eq!(found, ["store/mod.rs:1: store imports keyring: floor 3 lies above floor 2"]);
}

#[test]
fn the_faces_are_strangers() {
    assert_eq!(breaches("gateway/mod.rs", "use crate::manage::routes;").len(), 1);
    assert_eq!(breaches("manage/mod.rs", "use crate::{clock::Clock, gateway};").len(), 1);
}

#[test]
fn a_module_without_a_floor_is_a_breach() {
    assert_eq!(breaches("attic.rs", "").len(), 1);
    assert_eq!(breaches("key/mod.rs", "use crate::attic::Box;").len(), 1);
}

#[test]
fn a_drawer_is_known_by_any_part_of_its_path() {
    assert!(is_drawer("gateway/util.rs"));
    assert!(is_drawer("common/time.rs"));
    assert!(!is_drawer("key/judge.rs"));
}

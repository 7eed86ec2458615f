//! docs/threat-model.md: every promise names a test, and every test it names exists.

use std::fs;
use std::path::Path;

use crate::support::named::assert_is_a_test;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md")).unwrap()
}

/// The rows of its tables of promises: what is promised, and the cell that names the tests.
fn promises(page: &str) -> Vec<(String, String)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise "));
    rows.map(|row| {
        let (promise, tests) = row.trim_matches('|').rsplit_once(" | ").unwrap_or_else(|| panic!("{row}"));
        (promise.trim().to_owned(), tests.to_owned())
    })
    .collect()
}

#[test]
fn every_promise_names_its_test_and_each_exists() {
    let page = page();
    let promises = promises(&page);
    assert!(promises.len() > 20, "{}", promises.len());
    for (promise, tests) in &promises {
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{promise} names no test");
        named.into_iter().for_each(assert_is_a_test);
    }
}

#[test]
fn the_front_pages_lead_to_it() {
    for file in ["README.md", "SECURITY.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains("(docs/threat-model.md)"), "{file}");
    }
}

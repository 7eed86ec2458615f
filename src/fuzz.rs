//! Fuzz targets: properties that hold for any bytes whatever. A property that fails panics, and the input is the defect.
//!
//! ```text
//!  fuzz/fuzz_targets/NAME.rs   libFuzzer, guided by coverage: finds inputs      cargo xtask fuzz, seconds each
//!  fuzz/corpus/NAME/*          the inputs found                                 replayed by cargo test
//!  properties                  beside what they are about, in `key`, `gateway` and `config`
//! ```
//!
//! Inputs are text of lines, so that a person can read and write one; what each line means is told by its target.

pub use crate::config::properties::settings;
pub use crate::gateway::properties::{canonical, client, headers, route};
pub use crate::key::properties::token;

/// A property of any input; it panics where it does not hold.
pub type Property = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Property); 6] = [
    ("canonical", canonical),
    ("client", client),
    ("headers", headers),
    ("route", route),
    ("settings", settings),
    ("token", token),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn names(folder: PathBuf) -> BTreeSet<String> {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_input_ever_kept_has_its_property() {
        let mut failed = Vec::new();
        for (name, property) in TARGETS {
            let entries: Vec<_> = fs::read_dir(folder("corpus").join(name)).unwrap().map(Result::unwrap).collect();
            assert!(!entries.is_empty(), "nothing is kept for {name}");
            for path in entries.iter().map(fs::DirEntry::path) {
                let input = fs::read(&path).unwrap();
                if catch_unwind(AssertUnwindSafe(|| property(&input))).is_err() {
                    failed.push(format!("{name} on {}", path.display()));
                }
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn every_target_has_a_program_and_a_corpus_and_neither_is_left_over() {
        let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(folder("fuzz_targets")), targets);
        assert_eq!(names(folder("corpus")), targets);
        assert_eq!(names(folder("dictionaries")), targets);
    }
}

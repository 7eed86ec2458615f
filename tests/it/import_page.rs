//! docs/import.md says what happens: its files are imported by its commands, which print what stands below them.

use std::fs;

use crate::support::page::{blocks, run};

#[test]
fn every_example_does_what_it_shows() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/import.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut tested) = (0, 0);
    for block in blocks(&text) {
        match block.kind.split_once(' ') {
            Some(("console", "tested")) => {
                tested += 1;
                let store = format!("sqlite://{}", folder.path().join("keyward.db").display());
                run(&format!("$ export KEYWARD__STORE__URL={store}\n{}", block.text), folder.path());
            }
            Some((_, file)) => {
                files += 1;
                fs::write(folder.path().join(file), block.text).unwrap();
            }
            None => panic!("a block of kind {:?} is neither a file nor tested", block.kind),
        }
    }
    assert_eq!((files, tested), (4, 5), "an example is gone, or one more wants a look here");
}

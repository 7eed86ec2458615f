//! The README's promise: the blocks it marks as tested do what they show.
//!
//! A `toml tested` block becomes `keyward.toml`; a `console tested` block is run. Addresses are replaced by free ones.

use std::fs;

use crate::support::Origin;
use crate::support::page::{blocks, free, run};

#[test]
fn every_block_marked_as_tested_does_what_it_shows() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::plain();
    let (clients, admin) = (free(), free());
    let own = |text: &str| {
        let origin = origin.url();
        text.replace("127.0.0.1:3000", origin.strip_prefix("http://").unwrap()).replace("127.0.0.1:8080", &clients)
    };
    let mut tested = 0;
    for block in blocks(&text).iter().filter(|block| block.kind.ends_with(" tested")) {
        tested += 1;
        match block.kind.as_str() {
            // The ten lines say nothing of addresses, whose defaults another test may hold.
            "toml tested" => {
                assert!(block.text.lines().count() <= 10);
                let addresses = format!("server.listen = [\"{clients}\"]\nadmin.listen = \"{admin}\"\n");
                fs::write(folder.path().join("keyward.toml"), addresses + &own(&block.text)).unwrap();
            }
            "console tested" => {
                let block = own(&block.text).replace("keyward health", &format!("keyward health --admin {admin}"));
                run(&block, folder.path());
            }
            kind => panic!("nobody tests a block of kind {kind:?}"),
        }
    }
    assert_eq!(tested, 2, "a tested block is gone, or one more wants a look here");
}

//! docs/tokens.md says how a key looks: its patterns, its example and its check hold for what is minted.

use std::convert::Infallible;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use keyward::key::token::{Shape, mint, shape};

use crate::support::page::blocks;
use crate::support::python::python;

/// The one block of this kind.
fn block(kind: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tokens.md")).unwrap();
    let mut found = blocks(&page).into_iter().filter(|block| block.kind == kind).map(|block| block.text);
    let text = found.next().unwrap_or_else(|| panic!("no block of kind {kind}"));
    assert!(found.next().is_none(), "two blocks of kind {kind}");
    text.trim_end().to_owned()
}

/// What a Python program prints, given this on its standard input.
fn says(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = python();
    let child = child.args(["-c", program]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A key under each prefix.
fn minted(prefixes: &[&str]) -> Vec<String> {
    let mut next = 0_u8;
    let keys = prefixes.iter().map(|prefix| {
        let random = |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(37);
            }
            Ok::<_, Infallible>(())
        };
        let (secret, _) = mint(&prefix.parse().unwrap(), random).unwrap();
        secret.expose_str().unwrap().to_owned()
    });
    keys.collect()
}

/// Prints the matches of a pattern, one a line.
const FIND: &str = "import re, sys\nfor found in re.findall(sys.argv[1], sys.stdin.read(), re.ASCII): print(found)";

#[test]
fn the_example_is_of_our_form_and_its_checksum_holds() {
    let vector = block("text vector");
    let Shape::Ours { prefix: "kw_live", kid: "000000000000", intact: true } = shape(vector.as_bytes()) else {
        panic!("{vector}")
    };
    let changed = vector.replace("4AlRon", "4AlRoo");
    assert!(matches!(shape(changed.as_bytes()), Shape::Ours { intact: false, .. }));
}

#[test]
fn the_patterns_find_what_is_minted_and_only_that() {
    let known = minted(&["kw_live", "kw_test", "uspl", "dbtu", "dbtc"]);
    let others = minted(&["acme", "acme_prod2"]);
    let all = [known.clone(), others].concat();
    let text = format!("{}\nAuthorization: Bearer {}\nKEY=\"{}\"\n", all[2..].join(" "), all[0], all[1]);
    let near = format!("{}x {} {}\n", all[0], &all[0][..57], all[0].replace('_', "-"));
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    for (kind, expected) in [("regex known", known), ("regex any", all)] {
        let found = says(FIND, &[&block(kind)], &text);
        assert_eq!(sorted(found.lines().map(str::to_owned).collect()), sorted(expected), "{kind}");
        assert_eq!(says(FIND, &[&block(kind)], &near), "", "{kind}");
    }
}

#[test]
fn the_check_tells_a_key_from_what_looks_like_one() {
    let vector = block("text vector");
    let keys = minted(&["uspl"]);
    let text = format!("{vector}\n{}\nkey: {}\n", vector.replace("4AlRon", "4AlRoo"), keys[0]);
    let told = says(&block("python"), &[], &text);
    let Shape::Ours { kid, .. } = shape(keys[0].as_bytes()) else { panic!("{}", keys[0]) };
    assert_eq!(told, format!("line 1: kw_live, kid 000000000000\nline 3: uspl, kid {kid}\n"));
}

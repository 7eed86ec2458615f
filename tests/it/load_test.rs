//! docs/load-test.md: its commands run as they stand, for a shorter time, and get nothing but answers.
//!
//! k6 is in no distribution's packages, so its script runs in node, where [`STUB`] stands for k6's modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::keyward;
use crate::support::page::{blocks, free, run};

#[test]
fn wrk_and_h2load_get_nothing_but_2xx_as_the_page_shows() {
    let text = fs::read_to_string(docs().join("load-test.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(docs(), folder.path().join("docs")).unwrap();
    let (clients, http2, admin) = (free(), free(), free());
    let tested: Vec<_> = blocks(&text).into_iter().filter(|block| block.kind == "console tested").collect();
    assert_eq!(tested.len(), 3, "a tested block is gone, or one more wants a look here");
    // One shell for all: what the first starts serves the others.
    let page: String = tested.into_iter().map(|block| block.text).collect();
    let page = page
        .replace("127.0.0.1:8080", &clients)
        .replace("127.0.0.1:8082", &http2)
        .replace("keyward serve", &format!("keyward serve --listen {clients} --admin {admin}"))
        .replace("keyward health", &format!("keyward health --admin {admin}"))
        .replace("-d30s", "-d1s")
        .replace("20000", "2000");
    run(&format!("{page}$ kill %1\n$ wait\n"), folder.path());
}

#[test]
fn the_k6_script_asks_with_every_key_and_checks_the_answers() {
    let keyward = keyward().upstream("echo").start();
    let keys = keyward.folder().join("keys.csv");
    keyward.cli(&["load", "--keys", "6", "--accounts", "3", "--out", keys.to_str().unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("node_modules/k6");
    fs::create_dir_all(&module).unwrap();
    fs::write(module.join("package.json"), PACKAGE).unwrap();
    fs::write(module.join("k6.mjs"), STUB).unwrap();
    let script = folder.path().join("script.mjs");
    fs::copy(docs().join("load-test/k6.js"), &script).unwrap();
    node(Command::new("node").arg("--check").arg(&script));

    let run = folder.path().join("run.mjs");
    fs::write(&run, "import { run } from 'k6';\nawait run(() => import('./script.mjs'), 8);\n").unwrap();
    let url = format!("http://{}", keyward.address());
    let said = node(Command::new("node").arg(&run).env("URL", url).env("KEYS", &keys));
    assert_eq!(said, "8 iterations, 8 checks passed, 0 failed\n");
    for (account, count) in [(1, 3), (2, 3), (3, 2)] {
        let path = format!("/api/v2/accounts/{account}/items");
        assert!(keyward.logged(&path, count).iter().all(|line| line["status"] == 200));
    }
}

fn node(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run .ci/packages"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// All of k6's modules are one file here.
const PACKAGE: &str =
    r#"{"exports": {".": "./k6.mjs", "./data": "./k6.mjs", "./execution": "./k6.mjs", "./http": "./k6.mjs"}}"#;
const STUB: &str = include_str!("load_test/k6.mjs");

//! The pages that show calls over HTTP: each call that they show is one that works, in the order in which they show them.

use std::process::Command;

use crate::support::page::blocks;
use crate::support::{Keyward, Origin, keyward};

/// Runs the calls of a page's console block. `places` are what the page writes, and what stands for it here; `ID` in a call is
/// the id of the key that was made last.
fn runs(page: &str, keyward: &Keyward, places: &[(&str, &str)], least: usize) {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let text = places.iter().fold(text, |text, (shown, here)| {
        assert!(text.contains(shown), "{page} does not say {shown}");
        text.replace(shown, here)
    });
    let block = blocks(&text).into_iter().find(|block| block.kind == "console").unwrap();
    let mut script = "set -eu\ncurl() { command curl --max-time 20 --fail-with-body \"$@\"; }\n".to_owned();
    let mut calls = 0;
    for command in block.text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let said = command.replace('\'', "'\\''");
        script.push_str(&format!("echo '$ {said}'\nexec 3>&1; MADE=$({{ {command} ; }} | tee /dev/fd/3)\n"));
        if command.starts_with("curl") {
            calls += 1;
            script.push_str("case $MADE in *'\"secret\":\"kw_'*) ID=$(printf %s \"$MADE\" | sed 's/.*\"id\":\"\\(key_[^\"]*\\)\".*/\\1/');; esac\n");
        } else {
            // It sets what the calls after it use.
            script.push_str(&format!("{command}\n"));
        }
    }
    let ran =
        Command::new("bash").args(["-o", "pipefail", "-c", &script]).current_dir(keyward.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{page}: {said}");
    assert!(calls >= least, "{page} shows {calls} calls: {said}");
}

#[test]
fn the_native_api_does_what_its_page_shows() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    let admin = keyward.admin().to_string();
    runs("api.md", &keyward, &[("127.0.0.1:9090/v1\"", &format!("{admin}/v1\"")), ("$OPERATOR", &operator)], 11);
}

#[test]
fn receipts_are_given_as_their_page_shows() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    let admin = keyward.admin().to_string();
    runs("receipts.md", &keyward, &[("127.0.0.1:9090/v1\"", &format!("{admin}/v1\"")), ("$OPERATOR", &operator)], 7);
}

#[test]
fn clients_of_dbt_cloud_do_what_their_page_shows() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).config("[dialects.dbt]\nenabled = true\n").start();
    keyward.account("101");
    keyward.cli(&["user", "create", "7"]);
    let may = ["--permission", "keys:manage", "--permission", "job_admin"];
    keyward.cli(&[&["member", "add", "--account", "101", "--user", "7"][..], &may].concat());
    let key = keyward.mint(&["--kind", "personal", "--account", "101", "--user", "7"]);
    let address = keyward.address().to_string();
    let next = keyward.json(&["key", "show", &key.id])["serial"].as_i64().unwrap() + 1;
    let path = format!("account-apikeys/{next}/");
    let token = format!("Token {}", key.secret);
    runs(
        "dbt.md",
        &keyward,
        &[("127.0.0.1:8080", &address), ("account-apikeys/12/", &path), ("Token $KEY", &token)],
        7,
    );
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn holders_do_what_their_page_shows() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).config("[self_service]\npath = \"/keyward\"\n").start();
    keyward.account("101");
    keyward.cli(&["user", "create", "paul"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "paul", "--permission", "jobs:*"]);
    let key = keyward.mint(&["--kind", "personal", "--account", "101", "--user", "paul"]);
    let address = keyward.address().to_string();
    runs(
        "self-service.md",
        &keyward,
        &[("127.0.0.1:8080", &address), ("$KEY\"; JSON", &format!("{}\"; JSON", key.secret))],
        5,
    );
}

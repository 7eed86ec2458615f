//! Every way in which a key ends, or may no longer do what it has open.

use rusqlite::Connection;

use super::{before, breaks_off, cut, now, silent, stream, watched};
use crate::support::{eventually, keyward};

#[test]
fn time_ends_what_is_open_too_a_key_and_the_grace_of_a_secret() {
    let origin = silent();
    let (keyward, key) = before(&origin, "", "");
    let expires = keyward.service_key("101", &["--expires-in", "9s"]);
    let (one, two) = (stream(&keyward, &expires), stream(&keyward, &key));
    keyward.cli(&["key", "rotate", &key.id, "--grace", "9s"]);
    watched(&keyward, 2);
    assert!(breaks_off(one) && breaks_off(two));
    assert_eq!(cut(&keyward, "answer"), 2);
}

#[test]
fn a_permission_or_a_membership_that_is_taken_away_ends_what_needs_it() {
    let origin = silent();
    let (keyward, _) = before(&origin, "", "permission = \"events:read\"");
    keyward.cli(&["user", "create", "paul"]);
    let member = ["--account", "101", "--user", "paul"];
    keyward.cli(&[&["member", "add"][..], &member, &["--permission", "events:read"]].concat());
    let personal = || keyward.mint(&[&["--kind", "personal"][..], &member].concat());
    let (narrowed, kept) = (
        keyward.service_key("101", &["--permission", "events:read"]),
        keyward.service_key("101", &["--permission", "events:*"]),
    );
    let (loses, leaves) = (stream(&keyward, &narrowed), stream(&keyward, &personal()));
    let mut stays = stream(&keyward, &kept);
    watched(&keyward, 3);
    keyward.cli(&["key", "update", &narrowed.id, "--permission", "jobs:run"]);
    assert!(breaks_off(loses));
    // Less, and still enough.
    keyward.cli(&["key", "update", &kept.id, "--permission", "events:read"]);
    keyward.cli(&[&["member", "remove"][..], &member].concat());
    assert!(breaks_off(leaves));
    assert_eq!((cut(&keyward, "answer"), keyward.metric("keyward_open_watched")), (2, 1));
    keyward.cli(&["account", "suspend", "101"]);
    assert_eq!(stays.rest(), b"");
}

#[test]
fn a_network_that_is_taken_from_a_key_ends_what_came_from_there() {
    let origin = silent();
    let (keyward, key) = before(&origin, "", "");
    let wire = stream(&keyward, &key);
    watched(&keyward, 1);
    keyward.cli(&["key", "update", &key.id, "--allow-ip", "192.0.2.0/24"]);
    assert!(breaks_off(wire));
}

#[test]
fn while_nothing_can_be_told_of_keys_what_is_open_goes_on_for_its_grace_and_is_cut_then() {
    let origin = silent();
    let (keyward, key) = before(&origin, "gateway.stream_grace = \"3s\"\n", "");
    let wire = stream(&keyward, &key);
    watched(&keyward, 1);
    let shell = Connection::open(keyward.database()).unwrap();
    shell.execute_batch("ALTER TABLE head RENAME TO hidden").unwrap();
    let silent = now();
    assert!(breaks_off(wire));
    assert!(now().since(silent) >= std::time::Duration::from_secs(2));
    keyward.stderr.expect("gateway.stream_grace");
    shell.execute_batch("ALTER TABLE hidden RENAME TO head").unwrap();
    eventually("the store can be read", || keyward.metric("keyward_store_readable") == 1);
    // What begins after that is watched as before.
    let wire = stream(&keyward, &key);
    watched(&keyward, 1);
    keyward.cli(&["key", "revoke", &key.id]);
    assert!(breaks_off(wire));
}

#[test]
fn a_setting_that_ends_no_key_is_named_with_its_place() {
    let folder = keyward();
    let file = folder.folder().join("bad.toml");
    std::fs::write(
        &file,
        "[gateway]\non_key_end = \"soon\"\n[services.api]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n",
    )
    .unwrap();
    let output = crate::support::keyward::binary().arg("validate").arg("--config").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("gateway.on_key_end") && said.contains("\"finish\""), "{said}");
    std::fs::write(
        &file,
        "[services.api]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n\
         on_key_end = \"cut\"\nupgrade = [\"h2c\"]\n",
    )
    .unwrap();
    let output = crate::support::keyward::binary().arg("validate").arg("--config").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("routes.0.on_key_end") && said.contains("routes.0.upgrade"), "{said}");
}

//! Rotation as its holder meets it, over real sockets.

use crate::support::{eventually, started};

const STATUS: &str = "keyward-key-status";

#[test]
fn rule_10_a_superseded_secret_is_told_so_and_until_when() {
    let (keyward, _origin, key) = started();
    assert_eq!(keyward.get("/", &key.secret).header(STATUS), None);
    let rotated = keyward.json(&["key", "rotate", &key.id, "--grace", "1h"]);
    let secret = rotated["secret"].as_str().unwrap();
    let until = rotated["rotation"]["valid_until"].as_str().unwrap();
    let old = keyward.get("/", &key.secret);
    assert_eq!((old.status, old.header(STATUS)), (200, Some(format!("superseded; valid_until=\"{until}\"").as_str())));
    let new = keyward.get("/", secret);
    assert_eq!((new.status, new.header(STATUS)), (200, None));
    let said = keyward.fails(&["key", "rotate", &key.id, "--grace", "1h"]);
    assert!(said.contains("a rotation of key") && said.contains("supersede"), "{said}");
    // Nothing says that the new secret was used before the store does.
    let said = keyward.fails(&["key", "cancel", &key.id]);
    assert!(said.contains("was used already"), "{said}");
    keyward.cli(&["key", "complete", &key.id]);
    assert_eq!(keyward.get("/", &key.secret).code(), "API_KEY_INVALID");
    assert_eq!(keyward.get("/", secret).status, 200);
}

#[test]
fn the_old_secret_ends_with_the_first_use_of_the_new_one_on_open_connections_too() {
    let (keyward, _origin, key) = started();
    let mut holder = keyward.wire();
    assert_eq!(holder.get("/", &key.secret).status, 200);
    let rotated = keyward.json(&["key", "rotate", &key.id, "--first-use"]);
    let secret = rotated["secret"].as_str().unwrap();
    assert_eq!(rotated["rotation"]["state"], "pending");
    assert_eq!(holder.get("/", &key.secret).status, 200);
    // Another account's path is refused, and is no use.
    assert_eq!(keyward.get("/api/v2/accounts/102/", secret).status, 404);
    assert_eq!(holder.get("/", &key.secret).status, 200);
    assert_eq!(keyward.get("/", secret).status, 200);
    eventually("the old secret is refused", || holder.get("/", &key.secret).status == 401);
    assert_eq!(holder.get("/", secret).status, 200);
    assert_eq!(keyward.json(&["key", "show", &key.id])["rotation"], serde_json::Value::Null);
}

#[test]
fn a_cancelled_rotation_leaves_the_old_secret() {
    let (keyward, _origin, key) = started();
    for how in [&["--grace", "1h"][..], &["--first-use"]] {
        let rotated = keyward.json(&[&["key", "rotate", &key.id], how].concat());
        keyward.cli(&["key", "cancel", &key.id]);
        assert_eq!(keyward.get("/", &key.secret).status, 200);
        assert_eq!(keyward.get("/", rotated["secret"].as_str().unwrap()).status, 401, "{how:?}");
    }
}

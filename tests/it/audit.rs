//! The audit log, answers that are given again and dead secrets, over a real keyward.

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

fn started(config: &str) -> (Keyward, Origin) {
    let origin = Origin::plain();
    let self_service = "[self_service]\npath = \"/keyward\"\n";
    let fast = "[keyring]\nusage_flush = \"50ms\"\n";
    let keyward = keyward().upstream(origin.url()).config(format!("{self_service}{fast}{config}")).start();
    keyward.account("101");
    (keyward, origin)
}

/// Asks for another secret of the key that asks.
fn rotate(keyward: &Keyward, secret: &str, name: Option<&str>) -> Answer {
    let authorization = format!("Bearer {secret}");
    let mut headers = vec![("Authorization", authorization.as_str()), ("Content-Length", "0")];
    headers.extend(name.map(|name| ("Idempotency-Key", name)));
    let mut wire = Wire::connect(keyward.address());
    wire.send(head("POST", "/keyward/v1/keys/self/rotate", &headers));
    wire.answer("POST")
}

fn entries(keyward: &Keyward, filters: &[&str]) -> Vec<Value> {
    let audit = keyward.json(&[&["audit"], filters].concat());
    audit["entries"].as_array().unwrap_or_else(|| panic!("{audit}")).clone()
}

/// The entries, once they are as is waited for: some are written by interval.
fn expect(keyward: &Keyward, filters: &[&str], fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    eventually("an entry of the audit log", || {
        found = entries(keyward, filters);
        fits(&found)
    });
    found
}

fn personal_key(keyward: &Keyward) -> Minted {
    keyward.cli(&["user", "create", "paul"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "paul"]);
    keyward.mint(&["--kind", "personal", "--account", "101", "--user", "paul"])
}

#[test]
fn rule_8_a_rotation_whose_answer_was_lost_is_answered_again_by_the_secret_it_killed_also_after_a_crash() {
    let (mut first, _origin) = started("");
    let Minted { id, secret: old } = personal_key(&first);
    let made = rotate(&first, &old, Some("\"a-name\""));
    assert_eq!(made.status, 201, "{}", made.text());
    let new = made.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!((first.get("/", &old).status, first.get("/", &new).status), (401, 200));
    first.kill();
    let origin = Origin::plain();
    let config = "[self_service]\npath = \"/keyward\"\n[keys]\non_reuse = \"revoke_family\"\n";
    let keyward = keyward().over(&first).upstream(origin.url()).config(config).start();
    let again = rotate(&keyward, &old, Some("a-name"));
    assert_eq!((again.status, again.json()["secret"].as_str()), (201, Some(new.as_str())), "{}", again.text());
    assert_eq!(keyward.get("/", &new).status, 200, "a retry is no reuse");
    assert_eq!(entries(&keyward, &["--key", &id, "--action", "key.rotate"]).len(), 1);
    // For anything else it is dead, and whoever manages keys with it ends its key; also with a body that nobody can read.
    let authorization = format!("Bearer {old}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Length", "1"), ("Idempotency-Key", "another")];
    let mut wire = Wire::connect(keyward.address());
    wire.send(head("POST", "/keyward/v1/keys/self/rotate", &headers) + "x");
    assert_eq!(wire.answer("POST").status, 401);
    assert_eq!(keyward.get("/", &new).status, 401);
    let ended = entries(&keyward, &["--key", &id, "--action", "key.revoke"]);
    assert_eq!((&ended[0]["who"]["type"], &ended[0]["details"]["because"]), (&json!("keyward"), &json!("key.reuse")));
}

#[test]
fn rule_9_a_dead_secret_is_told_of_once_by_log_metric_and_audit_log_and_its_key_goes_on() {
    let (keyward, _origin) = started("");
    let Minted { id, secret: old } = keyward.service_key("101", &[]);
    let new = keyward.cli(&["key", "rotate", &id]);
    for _ in 0..3 {
        assert_eq!(keyward.get("/", &old).status, 401);
    }
    let fits = |found: &[Value]| found.iter().any(|entry| entry["count"] == 3);
    let found = expect(&keyward, &["--action", "key.reuse"], fits);
    assert_eq!((found.len(), &found[0]["key"], &found[0]["account"]), (1, &json!(id), &json!("101")));
    assert_eq!((&found[0]["address"], &found[0]["who"]["type"]), (&json!("127.0.0.1"), &json!("stranger")));
    assert_eq!(keyward.metric("keyward_key_reuses_total"), 3);
    keyward.stderr.expect("a secret that was rotated away is still presented");
    assert_eq!(keyward.get("/", new.trim()).status, 200);
    let warned = keyward.stderr.all().iter().filter(|line| line.contains("still presented")).count();
    assert_eq!(warned, 1);
}

#[test]
fn the_command_line_and_a_holder_are_told_apart() {
    let (keyward, _origin) = started("");
    let Minted { id, secret } = personal_key(&keyward);
    rotate(&keyward, &secret, None);
    let found = entries(&keyward, &["--key", &id]);
    let told: Vec<_> = found.iter().map(|entry| (entry["action"].as_str(), entry["who"]["type"].as_str())).collect();
    assert_eq!(told, [(Some("key.rotate"), Some("holder")), (Some("key.mint"), Some("command_line"))]);
    assert_eq!((&found[0]["who"]["key"], &found[0]["address"]), (&json!(id), &json!("127.0.0.1")));
    assert!(found[0]["request_id"].is_string() && found[1]["who"]["uid"].is_u64(), "{found:?}");
    let table = keyward.cli(&["audit", "--account", "101", "--limit", "1"]);
    assert!(table.starts_with("AT ") && table.contains(&format!("holder {id}")), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
}

//! Who uses which secret, over real sockets.

use serde_json::Value;

use crate::support::keyward::binary;
use crate::support::{Keyward, keyward, started};

/// Asks with this secret as a client that calls itself so.
fn ask(keyward: &Keyward, secret: &str, agent: &str) -> u16 {
    let token = format!("Token {secret}");
    keyward.wire().ask("GET", "/", &[("Authorization", &token), ("User-Agent", agent)]).status
}

/// Agent and count of a secret's callers, in an order of their own.
fn callers(secret: &Value) -> Vec<(String, u64)> {
    let caller = |one: &Value| (one["user_agent"].as_str().unwrap().to_owned(), one["count"].as_u64().unwrap());
    let mut callers: Vec<_> = secret["callers"].as_array().unwrap().iter().map(caller).collect();
    callers.sort();
    callers
}

#[test]
fn key_show_tells_who_uses_which_secret_and_after_a_restart_too_and_complete_warns_of_who_is_left() {
    let (mut first, origin, key) = started();
    for agent in ["old/1", "old/1", "old/2"] {
        assert_eq!(ask(&first, &key.secret, agent), 200);
    }
    assert_eq!(first.get("/api/v2/accounts/102/", &key.secret).status, 404, "which is no use");
    let rotated = first.json(&["key", "rotate", &key.id, "--grace", "1h"]);
    assert_eq!(ask(&first, rotated["secret"].as_str().unwrap(), "new/1"), 200);
    assert_eq!(ask(&first, &key.secret, "old/1"), 200);
    assert!(first.stop().success());

    let again = keyward().over(&first).upstream(origin.url()).start();
    assert_eq!(ask(&again, &key.secret, "old/1"), 200);
    let shown = again.json(&["key", "show", &key.id]);
    let [new, old] = &shown["secrets"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!((&new["state"], callers(new)), (&"current".into(), vec![("new/1".to_owned(), 1)]));
    assert_eq!(
        (&old["state"], callers(old)),
        (&"grace".into(), vec![("old/1".to_owned(), 4), ("old/2".to_owned(), 1)])
    );
    let caller = &old["callers"][0];
    assert_eq!((&caller["address"], &caller["route"]), (&"127.0.0.1".into(), &"default".into()));
    let text = again.cli(&["key", "show", &key.id]);
    assert!(text.contains("secret 1, …") && text.contains("grace until") && text.contains("old/2"), "{text}");

    let ended = again.run(&["key", "complete", &key.id]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.contains("Warning") && said.contains("old/1"), "{said}");
    assert!(!said.contains("old/2") && !said.contains("new/1"), "they did not use it while the rotation ran: {said}");
}

#[test]
fn switched_off_nobody_is_told_and_those_of_before_are_forgotten() {
    let (mut first, origin, key) = started();
    assert_eq!(ask(&first, &key.secret, "curl/8"), 200);
    assert!(first.stop().success());
    let url = format!("sqlite://{}", first.database().display());
    let looked = binary().args(["account", "list", "--store", &url]).env("KEYWARD__KEYRING__CALLERS", "0").output();
    assert!(looked.unwrap().status.success());
    let kept = first.json(&["key", "show", &key.id]);
    assert_eq!(callers(&kept["secrets"][0]).len(), 1, "who only looks at something deletes nothing");
    let mut off = keyward().over(&first).upstream(origin.url()).config("[keyring]\ncallers = 0\n").start();
    assert_eq!(ask(&off, &key.secret, "curl/8"), 200);
    assert_eq!(callers(&off.json(&["key", "show", &key.id])["secrets"][0]), []);
    assert!(off.stop().success());
    let on = keyward().over(&off).upstream(origin.url()).start();
    assert_eq!(callers(&on.json(&["key", "show", &key.id])["secrets"][0]), []);
}

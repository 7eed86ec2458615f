//! What invented secrets cost: an answer each, and nothing of the store.

use ::keyward::key::token::mint;

use crate::support::{Keyward, Origin, Wire, eventually, keyward};

/// Secrets of each sort.
const MANY: usize = 20_000;
const CLIENTS: usize = 4;

fn all_are_known(keyward: &Keyward) {
    eventually("all secrets are known", || keyward.metric("keyward_known_secrets_whole") == 1);
}

/// Sends them all, over a few connections.
fn flood(keyward: &Keyward, secrets: &[String]) {
    std::thread::scope(|clients| {
        for part in secrets.chunks(secrets.len().div_ceil(CLIENTS)) {
            clients.spawn(move || {
                let mut wire = Wire::connect(keyward.address());
                for secret in part {
                    assert_eq!(wire.get("/", secret).status, 401, "{secret}");
                }
            });
        }
    });
}

#[test]
fn invented_secrets_cost_no_look_up_and_push_no_key_out() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    // What is read ahead may be the first operator key, or be over before that is made.
    keyward.stderr.expect("keys are remembered");
    let live = keyward.metric("keyward_key_cache_live_entries");
    keyward.account("101");
    let keys: Vec<_> = (0..5).map(|_| keyward.service_key("101", &[])).collect();
    for key in &keys {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    all_are_known(&keyward);
    let loads = keyward.metric("keyward_store_loads_total");
    assert_eq!(loads, 5);

    let opaque: Vec<_> = (0..MANY).map(|number| format!("an-invented-secret-of-nobody-{number}")).collect();
    let checksummed: Vec<_> = (0..MANY)
        .map(|_| {
            let (secret, _) = mint(&"kw_live".parse().unwrap(), getrandom::fill).unwrap();
            String::from_utf8(secret.expose().to_vec()).unwrap()
        })
        .collect();
    flood(&keyward, &opaque);
    flood(&keyward, &checksummed);

    assert_eq!(keyward.metric("keyward_store_loads_total"), loads);
    assert_eq!(keyward.metric("keyward_key_cache_live_entries"), live + 5);
    assert_eq!(keyward.metric("keyward_key_cache_unknown_entries"), 0);
    for key in &keys {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    assert_eq!(keyward.metric("keyward_store_loads_total"), loads);
    // A key made now works at once, however many were refused.
    assert_eq!(keyward.get("/", &keyward.service_key("101", &[]).secret).status, 200);
}

#[test]
fn after_a_restart_keys_are_remembered_before_they_are_used() {
    let origin = Origin::plain();
    let mut first = keyward().upstream(origin.url()).start();
    first.account("101");
    let keys: Vec<_> = (0..5).map(|_| first.service_key("101", &[])).collect();
    first.cli(&["key", "revoke", &keys[4].id]);
    assert!(first.stop().success());
    let second = keyward().upstream(origin.url()).over(&first).start();
    second.stderr.expect("keys are remembered");
    for key in &keys[..4] {
        assert_eq!(second.get("/", &key.secret).status, 200);
    }
    assert_eq!(second.metric("keyward_store_loads_total"), 0);
    assert_eq!(second.get("/", &keys[4].secret).status, 401);
}

#[test]
fn an_import_beside_a_running_keyward_ends_with_all_secrets_known() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    all_are_known(&keyward);
    let file = keyward.folder().join("loaded.csv");
    keyward.cli(&["load", "--keys", "3000", "--accounts", "10", "--out", file.to_str().unwrap()]);
    eventually("the loaded secrets are known", || keyward.metric("keyward_known_secrets") >= 3000);
    all_are_known(&keyward);
    let loaded = std::fs::read_to_string(file).unwrap();
    let secret = loaded.lines().nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(keyward.get("/", secret).status, 200);
    let loads = keyward.metric("keyward_store_loads_total");
    assert_eq!(keyward.get("/", "an-invented-secret-of-nobody").status, 401);
    assert_eq!(keyward.metric("keyward_store_loads_total"), loads);
}

//! The life of a key, as its client meets it: each change holds on the next request, on open connections too.

use crate::support::{Keyward, Origin, keyward};

fn started() -> (Keyward, Origin) {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    (keyward, origin)
}

#[test]
fn a_rotated_secret_is_refused_on_the_next_request_of_an_open_connection() {
    let (keyward, _origin) = started();
    let key = keyward.service_key("101", &["--permission", "jobs:run"]);
    let mut open: Vec<_> = (0..8).map(|_| keyward.wire()).collect();
    for wire in &mut open {
        assert_eq!(wire.get("/", &key.secret).status, 200);
    }
    let rotated = keyward.json(&["key", "rotate", &key.id]);
    let secret = rotated["secret"].as_str().unwrap();
    for wire in &mut open {
        let answer = wire.get("/", &key.secret);
        assert_eq!((answer.status, answer.code().as_str()), (401, "API_KEY_INVALID"));
        assert_eq!(wire.get("/", secret).status, 200);
    }
    assert_eq!((rotated["id"].as_str(), rotated["account"].as_str()), (Some(key.id.as_str()), Some("101")));
    assert_eq!(keyward.json(&["key", "show", &key.id])["permissions"], serde_json::json!(["jobs:run"]));
}

#[test]
fn revoke_suspend_and_resume_hold_at_once() {
    let (keyward, _origin) = started();
    let key = keyward.service_key("101", &[]);
    let mut wire = keyward.wire();
    let mut expect = |status: u16, code: &str| {
        let answer = wire.get("/", &key.secret);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(code.is_empty() || answer.code() == code);
    };
    expect(200, "");
    keyward.cli(&["key", "suspend", &key.id]);
    expect(403, "API_KEY_DISABLED");
    keyward.cli(&["key", "resume", &key.id]);
    expect(200, "");
    keyward.cli(&["account", "suspend", "101"]);
    expect(403, "ACCOUNT_SUSPENDED");
    keyward.cli(&["account", "resume", "101"]);
    expect(200, "");
    keyward.cli(&["key", "revoke", &key.id]);
    expect(401, "API_KEY_INVALID");
    assert!(!keyward.run(&["key", "resume", &key.id]).status.success());
    assert_eq!(keyward.json(&["key", "show", &key.id])["state"], "revoked");
}

#[test]
fn a_key_begins_and_ends_when_it_says() {
    let (keyward, _origin) = started();
    let later = keyward.service_key("101", &["--not-before", "2999-01-01T00:00:00Z"]);
    assert_eq!(keyward.get("/", &later.secret).code(), "API_KEY_NOT_YET_VALID");
    let short = keyward.service_key("101", &["--expires-in", "2s"]);
    crate::support::eventually("the key expires", || {
        let answer = keyward.get("/", &short.secret);
        assert!(answer.status == 200 || answer.code() == "API_KEY_EXPIRED", "{}", answer.text());
        answer.status == 401
    });
    assert_eq!(keyward.json(&["key", "show", &short.id])["state"], "expired");
    assert!(
        !keyward
            .run(&["key", "mint", "--account", "101", "--kind", "service", "--expires-at", "2001-01-01T00:00:00Z"])
            .status
            .success()
    );
}

#[test]
fn a_secret_that_was_unknown_is_known_once_it_is_adopted() {
    let (keyward, _origin) = started();
    let secret = "an-opaque-secret-of-another-system";
    assert_eq!(keyward.get("/", secret).code(), "API_KEY_INVALID");
    let file = keyward.folder().join("keys.csv");
    std::fs::write(&file, format!("account,secret\nacme,{secret}\n")).unwrap();
    keyward.cli(&["import", file.to_str().unwrap()]);
    assert_eq!(keyward.get("/", secret).status, 200);
    assert_eq!(keyward.get("/accounts/acme/", secret).status, 200);
    assert_eq!(keyward.get("/accounts/101/", secret).status, 404);
}

#[test]
fn a_foreign_secret_of_our_shape_is_found_though_its_checksum_fails() {
    let (keyward, _origin) = started();
    let (foreign, other) = (format!("dbtu_{}", "x".repeat(50)), format!("dbtu_{}", "y".repeat(50)));
    assert_eq!(keyward.get("/", &foreign).code(), "API_KEY_INVALID");
    let file = keyward.folder().join("keys.csv");
    std::fs::write(&file, format!("secret,account\n{foreign},101\n")).unwrap();
    keyward.cli(&["import", file.to_str().unwrap()]);
    assert_eq!(keyward.get("/", &foreign).status, 200);
    assert_eq!(keyward.get("/", &other).code(), "API_KEY_INVALID");
}

#[test]
fn a_key_adopted_by_its_digest_is_found_when_it_comes() {
    let (keyward, _origin) = started();
    let opaque = "an-opaque-secret-of-another-system";
    let ours = format!("dbtu_{}", "x".repeat(50));
    let digest = |key: &str| {
        let digest = ::keyward::key::Imprint::of(&::keyward::secret::Secret::new(key.as_bytes())).sha256;
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let file = keyward.folder().join("keys.csv");
    let table = format!("sha256,account,prefix\n{},acme,\n{},acme,dbtu\n", digest(opaque), digest(&ours));
    std::fs::write(&file, table).unwrap();
    assert_eq!(keyward.get("/", opaque).code(), "API_KEY_INVALID");
    assert_eq!(keyward.get("/", &ours).code(), "API_KEY_INVALID");
    keyward.cli(&["import", file.to_str().unwrap(), "--dry-run"]);
    assert_eq!(keyward.get("/", opaque).code(), "API_KEY_INVALID");
    keyward.cli(&["import", file.to_str().unwrap()]);
    assert_eq!(keyward.get("/accounts/acme/", opaque).status, 200);
    assert_eq!(keyward.get("/accounts/acme/", &ours).status, 200);
}

#[test]
fn keys_survive_a_restart_and_their_last_use_is_known() {
    let (mut keyward, origin) = started();
    let key = keyward.service_key("101", &[]);
    let gone = keyward.service_key("101", &[]);
    keyward.cli(&["key", "revoke", &gone.id]);
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    assert!(keyward.stop().success());
    let again = crate::support::keyward().upstream(origin.url()).over(&keyward).start();
    assert_eq!(again.get("/", &key.secret).status, 200);
    assert_eq!(again.get("/", &gone.secret).status, 401);
    assert!(again.json(&["key", "show", &key.id])["last_used_at"].is_string());
}

#[test]
fn who_holds_a_key_that_expires_soon_is_told_when_with_every_answer() {
    const STATUS: &str = "keyward-key-status";
    let (mut first, origin) = started();
    let endless = first.service_key("101", &[]);
    let soon = first.service_key("101", &["--expires-in", "6d"]);
    let later = first.service_key("101", &["--expires-in", "8d"]);
    let end = first.json(&["key", "show", &soon.id])["expires_at"].as_str().unwrap().to_owned();
    let told = format!("expiring; expires_at=\"{end}\"");
    assert_eq!(first.get("/", &soon.secret).header(STATUS), Some(told.as_str()));
    for key in [&endless, &later] {
        assert_eq!(first.get("/", &key.secret).header(STATUS), None);
    }
    // A secret that was rotated away says both.
    first.cli(&["key", "rotate", &soon.id, "--grace", "1h"]);
    let both = first.get("/", &soon.secret);
    let both = both.all(STATUS);
    assert!(both.len() == 2 && both.contains(&told.as_str()) && both[0].starts_with("superseded; "), "{both:?}");
    assert!(first.stop().success());
    let never = keyward().over(&first).upstream(origin.url()).config("[gateway]\nexpiry_notice = \"0s\"\n").start();
    assert_eq!(never.get("/", &soon.secret).all(STATUS).len(), 1);
}

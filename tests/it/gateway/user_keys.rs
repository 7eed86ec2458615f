//! Legacy keys of users on their way out, over real sockets.

use crate::support::{Keyward, Minted, Origin, keyward};

const STATUS: &str = "keyward-key-status";

/// A keyward with these lines about users' keys, a user's key and a service key.
fn started(lines: &str) -> (Keyward, Origin, Minted, Minted) {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).config(format!("[gateway.user_keys]\n{lines}\n")).start();
    keyward.account("101");
    keyward.cli(&["user", "create", "paul"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "paul"]);
    let legacy = keyward.mint(&["--kind", "user", "--user", "paul"]);
    let service = keyward.service_key("101", &[]);
    (keyward, origin, legacy, service)
}

#[test]
fn their_holders_are_told_and_nobody_else() {
    let (keyward, _origin, legacy, service) = started(
        "deprecated = \"2026-01-01T00:00:00Z\"\nsunset = \"2999-01-01T00:00:00Z\"\nlink = \"https://example.com/keys\"",
    );
    let told = keyward.get("/api/accounts/101/", &legacy.secret);
    assert_eq!(told.status, 200);
    assert_eq!(told.header(STATUS), Some("deprecated; sunset=\"2999-01-01T00:00:00.000Z\""));
    assert_eq!(told.header("link"), Some("<https://example.com/keys>; rel=\"deprecation\""));
    let other = keyward.get("/api/accounts/101/", &service.secret);
    assert_eq!((other.status, other.header(STATUS), other.header("link")), (200, None, None));
}

#[test]
fn deprecated_without_a_date_is_told_without_one_and_not_before_its_time() {
    let (keyward, _origin, legacy, _) = started("deprecated = \"2026-01-01T00:00:00Z\"");
    assert_eq!(keyward.get("/", &legacy.secret).header(STATUS), Some("deprecated"));
    let (keyward, _origin, legacy, _) = started("deprecated = \"2999-01-01T00:00:00Z\"");
    assert_eq!(keyward.get("/", &legacy.secret).header(STATUS), None);
}

#[test]
fn from_their_sunset_on_and_in_a_brownout_they_are_refused_and_service_keys_are_not() {
    for (lines, reason) in [
        ("sunset = \"2026-01-01T00:00:00Z\"", "key_sunset"),
        ("brownouts = [\"2026-01-01T00:00:00Z/2999-01-01T00:00:00Z\"]", "key_brownout"),
    ] {
        let (keyward, _origin, legacy, service) = started(lines);
        let refused = keyward.get("/api/accounts/101/", &legacy.secret);
        assert_eq!((refused.status, refused.code().as_str()), (401, "API_KEY_INVALID"));
        assert_eq!(keyward.logged("/api/accounts/101/", 1)[0]["reason"], reason);
        assert_eq!(keyward.get("/api/accounts/101/", &service.secret).status, 200);
    }
}

#[test]
fn a_report_tells_what_takes_their_place_and_one_step_replaces_them() {
    let origin = Origin::plain();
    let config = format!(
        "[gateway.user_keys]\ndeprecated = \"2026-01-01T00:00:00Z\"\n[services.api]\nurl = \"{}\"\n\
         [[routes]]\nname = \"jobs\"\npath = \"/accounts/{{account}}/jobs\"\nservice = \"api\"\npermission = \"jobs:run\"\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    keyward.cli(&["user", "create", "paul"]);
    for account in ["101", "102"] {
        keyward.account(account);
        keyward.cli(&["member", "add", "--account", account, "--user", "paul", "--permission", "jobs:*"]);
    }
    let legacy = keyward.mint(&["--kind", "user", "--user", "paul", "--name", "nightly"]);
    keyward.service_key("101", &[]);
    for account in ["101", "102", "102"] {
        assert_eq!(keyward.get(&format!("/accounts/{account}/jobs"), &legacy.secret).status, 200);
    }
    let report = keyward.json(&["migrate", "report"]);
    let [told] = &report["keys"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(told["key"]["id"], legacy.id.as_str());
    let counted = |name: &str| {
        let all = told[name].as_array().unwrap().iter();
        let mut all: Vec<_> = all.map(|one| (one["id"].as_str().unwrap(), one["count"].as_u64().unwrap())).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(counted("accounts"), [("101", 1), ("102", 2)]);
    assert_eq!((counted("routes"), counted("addresses")), (vec![("jobs", 3)], vec![("127.0.0.1", 3)]));
    assert_eq!((&told["routes"][0]["named"], &told["advice"]["with"]), (&true.into(), &"personal".into()));
    let text = keyward.cli(&["migrate", "report"]);
    assert!(
        text.contains("a personal key in") && text.contains("one address") && !text.contains("no setting"),
        "{text}"
    );

    let replace = ["migrate", "replace", &legacy.id, "--with", "personal", "--account", "101", "--account", "102"];
    let made = keyward.run(&[&replace[..], &["--revoke-old"]].concat());
    let (secrets, said) = (String::from_utf8(made.stdout).unwrap(), String::from_utf8(made.stderr).unwrap());
    assert!(made.status.success() && said.contains("revoked") && said.contains("permissions: jobs:run"), "{said}");
    let secrets: Vec<&str> = secrets.lines().collect();
    assert_eq!(secrets.len(), 2);
    for (secret, own, other) in [(secrets[0], "101", "102"), (secrets[1], "102", "101")] {
        assert_eq!(keyward.get(&format!("/accounts/{own}/jobs"), secret).status, 200);
        assert_eq!(keyward.get(&format!("/accounts/{other}/jobs"), secret).code(), "ACCOUNT_NOT_FOUND");
    }
    assert_eq!(keyward.get("/accounts/101/jobs", &legacy.secret).status, 401);
    assert_eq!(keyward.json(&["migrate", "report"])["keys"], serde_json::json!([]));
}

#[test]
fn a_route_that_nobody_wrote_is_marked_in_the_report() {
    let (keyward, _origin, legacy, _) = started("");
    assert_eq!(keyward.get("/api/accounts/101/", &legacy.secret).status, 200);
    let told = &keyward.json(&["migrate", "report"])["keys"][0];
    assert_eq!((&told["routes"][0]["id"], &told["routes"][0]["named"]), (&"default".into(), &false.into()));
    let text = keyward.cli(&["migrate", "report"]);
    assert!(text.contains("default (no setting names it)"), "{text}");
}

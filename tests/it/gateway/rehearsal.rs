//! Rules in report mode: they forward, and tell by log, metric and table whom they would have refused.

use serde_json::Value;

use crate::support::keyward::binary;
use crate::support::origin::value;
use crate::support::page::blocks;
use crate::support::{Keyward, Minted, Origin, Wire, eventually, keyward};

/// Three routes: an account that is only reported, a permission that is, and one that enforces everything.
const ROUTES: &str = "\
[[routes]]
name = \"accounts\"
path = \"/accounts/{account}/**\"
service = \"api\"
report = { account = { path = \"account\" } }
[[routes]]
name = \"jobs\"
path = \"/jobs/{account}/**\"
service = \"api\"
permission = \"jobs:read\"
report = { permission = \"jobs:run\" }
[[routes]]
name = \"enforced\"
path = \"/enforced/{account}/**\"
service = \"api\"
permission = \"jobs:read\"
";

fn settings(origin: &Origin, more: &str, routes: &str) -> String {
    format!("{more}[services.api]\nurl = \"{}\"\n{routes}", origin.url())
}

fn started(more: &str) -> (Keyward, Origin) {
    let origin = Origin::plain();
    let keyward = keyward().config(settings(&origin, more, ROUTES)).start();
    keyward.account("101");
    keyward.account("102");
    (keyward, origin)
}

/// The rows of the table: key, route, reason and count, in an order of their own.
fn rows(keyward: &Keyward) -> Vec<(String, String, String, u64)> {
    let shown = keyward.json(&["rehearsal"]);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let row = |row: &Value| (text(row, "key"), text(row, "route"), text(row, "reason"), row["count"].as_u64().unwrap());
    let mut rows: Vec<_> = shown["rows"].as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

fn row(key: &Minted, route: &str, reason: &str, count: u64) -> (String, String, String, u64) {
    (key.id.clone(), route.to_owned(), reason.to_owned(), count)
}

/// Waits until the metric says so: a worker counts a request once its answer has ended.
fn counted(keyward: &Keyward, route: &str, reason: &str, count: u64) {
    let series = format!("keyward_rehearsal_refusals_total{{route=\"{route}\",reason=\"{reason}\"}}");
    eventually(&format!("{series} {count}"), || keyward.metric(&series) == count);
}

#[test]
fn a_service_key_on_another_accounts_path_is_forwarded_as_itself_and_told() {
    let (keyward, origin) = started("");
    let key = keyward.service_key("101", &["--permission", "jobs:read"]);
    for account in ["102", "999"] {
        assert_eq!(keyward.get(&format!("/accounts/{account}/x"), &key.secret).status, 200);
        let head = origin.last();
        assert!(head.starts_with(&format!("GET /accounts/{account}/x HTTP/1.1\r\n")), "{head}");
        assert_eq!(value(&head, "x-keyward-account"), Some("101"));
        assert_eq!(value(&head, "x-keyward-key"), Some(key.id.as_str()));
        assert_eq!(value(&head, "x-keyward-permissions"), Some("jobs:read"));
    }
    let line = &keyward.logged("/accounts/102/x", 1)[0];
    let told = ["decision", "reason", "would_refuse", "account", "key"].map(|name| line[name].as_str().unwrap());
    assert_eq!(told, ["allowed", "permitted", "account_mismatch", "101", key.id.as_str()]);
    counted(&keyward, "accounts", "account_mismatch", 2);
    assert_eq!(rows(&keyward), [row(&key, "accounts", "account_mismatch", 2)]);
    // Whom the rule lets pass is not told of.
    assert_eq!(keyward.get("/accounts/101/x", &key.secret).status, 200);
    assert!(keyward.logged("/accounts/101/x", 1)[0].get("would_refuse").is_none());
    assert_eq!(keyward.metric("keyward_rehearsal_refusals_total"), 2);
    assert_eq!(rows(&keyward).len(), 1);
}

#[test]
fn a_missing_permission_is_forwarded_and_told_and_what_the_route_enforces_holds() {
    let (keyward, origin) = started("");
    let reads = keyward.service_key("101", &["--permission", "jobs:read"]);
    let runs = keyward.service_key("101", &["--permission", "jobs:*"]);
    let none = keyward.service_key("101", &[]);
    assert_eq!(keyward.get("/jobs/101/reads", &reads.secret).status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-permissions"), Some("jobs:read"));
    assert_eq!(keyward.get("/jobs/101/runs", &runs.secret).status, 200);
    assert_eq!(keyward.logged("/jobs/101/reads", 1)[0]["would_refuse"], "scope_insufficient");
    assert!(keyward.logged("/jobs/101/runs", 1)[0].get("would_refuse").is_none());
    counted(&keyward, "jobs", "scope_insufficient", 1);
    assert_eq!(rows(&keyward), [row(&reads, "jobs", "scope_insufficient", 1)]);
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    let over_http = Wire::connect(keyward.admin()).get("/v1/rehearsal", &operator).json();
    assert_eq!(over_http["rows"][0]["key"], reads.id.as_str(), "the same over HTTP");
    // The permission and the account that are enforced beside it.
    assert_eq!(keyward.get("/jobs/101/x", &none.secret).code(), "SCOPE_INSUFFICIENT");
    assert_eq!(keyward.get("/jobs/102/x", &runs.secret).code(), "ACCOUNT_NOT_FOUND");
    assert_eq!(origin.seen().heads.len(), 2);
    assert_eq!(rows(&keyward).len(), 1);
}

#[test]
fn a_key_that_is_not_alive_is_refused_as_everywhere() {
    let (keyward, origin) = started("");
    keyward.account("103");
    let fresh = || keyward.service_key("101", &["--permission", "*"]);
    let (revoked, suspended, rotated) = (fresh(), fresh(), fresh());
    keyward.cli(&["key", "revoke", &revoked.id]);
    keyward.cli(&["key", "suspend", &suspended.id]);
    keyward.cli(&["key", "rotate", &rotated.id]);
    let of_account = keyward.service_key("103", &["--permission", "*"]);
    keyward.cli(&["account", "suspend", "103"]);
    let elsewhere = keyward.service_key("101", &["--permission", "*", "--allow-ip", "192.0.2.0/24"]);
    let operator = keyward.mint(&["--kind", "operator"]);
    let expired = keyward.service_key("101", &["--permission", "*", "--expires-in", "1s"]);
    eventually("the key expires", || keyward.get("/enforced/101/", &expired.secret).status == 401);
    let before = origin.seen().heads.len();
    for (secret, status, code) in [
        ("an-opaque-secret-that-nobody-has", 401, "API_KEY_INVALID"),
        (&revoked.secret, 401, "API_KEY_INVALID"),
        (&rotated.secret, 401, "API_KEY_INVALID"),
        (&expired.secret, 401, "API_KEY_EXPIRED"),
        (&suspended.secret, 403, "API_KEY_DISABLED"),
        (&of_account.secret, 403, "ACCOUNT_SUSPENDED"),
        (&elsewhere.secret, 403, "IP_NOT_ALLOWED"),
        (&operator.secret, 403, "SCOPE_INSUFFICIENT"),
    ] {
        // Another account's path, so that there would be something to report.
        for path in ["/accounts/102/x", "/jobs/101/x", "/enforced/101/x"] {
            let answer = keyward.get(path, secret);
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
    }
    assert_eq!(keyward.wire().ask("GET", "/accounts/102/x", &[]).code(), "API_KEY_REQUIRED");
    assert_eq!(origin.seen().heads.len(), before);
    assert_eq!((rows(&keyward), keyward.metric("keyward_rehearsal_refusals_total")), (Vec::new(), 0));
}

#[test]
fn a_user_key_is_told_of_in_the_accounts_of_its_user_and_of_none_elsewhere() {
    let (keyward, origin) = started("");
    keyward.cli(&["user", "create", "u1"]);
    for account in ["101", "102"] {
        keyward.cli(&["member", "add", "--account", account, "--user", "u1", "--permission", "jobs:read"]);
    }
    keyward.cli(&["account", "suspend", "102"]);
    let key = keyward.mint(&["--kind", "user", "--user", "u1"]);
    for (account, told) in [("101", (Some("101"), Some("jobs:read"))), ("999", (None, None))] {
        assert_eq!(keyward.get(&format!("/accounts/{account}/x"), &key.secret).status, 200);
        let head = origin.last();
        assert_eq!((value(&head, "x-keyward-account"), value(&head, "x-keyward-permissions")), told, "{account}");
    }
    assert_eq!(rows(&keyward), [row(&key, "accounts", "account_mismatch", 1)]);
    assert_eq!(keyward.get("/accounts/102/x", &key.secret).code(), "ACCOUNT_SUSPENDED");
}

#[test]
fn what_is_enforced_is_unchanged() {
    let (keyward, origin) = started("");
    let key = keyward.service_key("101", &["--permission", "jobs:read"]);
    let without = keyward.service_key("101", &[]);
    assert_eq!(keyward.get("/enforced/101/x", &key.secret).status, 200);
    assert_eq!(keyward.get("/enforced/102/x", &key.secret).code(), "ACCOUNT_NOT_FOUND");
    assert_eq!(keyward.get("/enforced/101/y", &without.secret).code(), "SCOPE_INSUFFICIENT");
    assert_eq!(origin.seen().heads.len(), 1);
    assert!(keyward.logged("/enforced/102/x", 1)[0].get("would_refuse").is_none());
    assert_eq!((rows(&keyward), keyward.metric("keyward_rehearsal_refusals_total")), (Vec::new(), 0));
}

#[test]
fn the_table_is_bounded_says_how_much_is_more_and_begins_anew() {
    let (keyward, _origin) = started("[keyring]\nrehearsal = 2\n");
    let keys: Vec<Minted> = (0..3).map(|_| keyward.service_key("101", &[])).collect();
    for key in keys.iter().chain(&keys) {
        assert_eq!(keyward.get("/accounts/102/x", &key.secret).status, 200);
    }
    let mut expected = [&keys[0], &keys[1]].map(|key| row(key, "accounts", "account_mismatch", 2));
    expected.sort();
    assert_eq!(rows(&keyward), expected);
    let shown = keyward.json(&["rehearsal"]);
    assert_eq!(shown["more"], 2);
    let seen = |row: usize, name: &str| shown["rows"][row][name].as_str().unwrap().to_owned();
    assert!(seen(0, "first_seen") <= seen(0, "last_seen") && seen(0, "first_seen").ends_with('Z'), "{shown}");
    // Both may have been seen in one millisecond, and then either stands first.
    assert!(seen(0, "last_seen") >= seen(1, "last_seen"), "{shown}");
    assert_eq!(keyward.metric("keyward_rehearsal_overflow_total"), 2);
    counted(&keyward, "accounts", "account_mismatch", 6);
    // For people, the same; and what is forgotten was shown once more.
    let said = keyward.run(&["rehearsal", "--forget"]);
    let (table, more) = (String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap());
    assert!(table.starts_with("KEY ") && table.lines().count() == 3 && table.contains(&keys[0].id), "{table}");
    assert!(more.contains("And 2 more requests"), "{more}");
    assert_eq!(keyward.json(&["rehearsal"]), serde_json::json!({ "rows": [], "more": 0 }));
    assert_eq!(keyward.get("/accounts/102/x", &keys[2].secret).status, 200);
    assert_eq!(rows(&keyward), [row(&keys[2], "accounts", "account_mismatch", 1)]);
}

#[test]
fn a_request_that_names_two_accounts_is_reported_too() {
    let origin = Origin::plain();
    let routes = "[[routes]]\npath = \"/**\"\nservice = \"api\"\nreport = { account = { header = \"X-Tenant\" } }\n";
    let keyward = keyward().config(settings(&origin, "", routes)).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let token = format!("Token {}", key.secret);
    let headers = [("Authorization", token.as_str()), ("X-Tenant", "101"), ("X-Tenant", "102")];
    assert_eq!(keyward.wire().ask("GET", "/two", &headers).status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-account"), Some("101"));
    assert_eq!(keyward.logged("/two", 1)[0]["would_refuse"], "malformed");
    assert_eq!(rows(&keyward), [row(&key, "/**", "malformed", 1)]);
}

#[test]
fn a_reload_turns_report_into_enforce_and_warns_of_what_is_left() {
    let (mut keyward, origin) = started("[reload]\nwatch = false\n");
    let key = keyward.service_key("101", &["--permission", "jobs:read"]);
    let mut wire = keyward.wire();
    assert_eq!(wire.get("/accounts/102/x", &key.secret).status, 200);
    assert_eq!(wire.get("/jobs/101/x", &key.secret).status, 200);
    let warned = |route: &str| {
        let mark = format!("\"{route}\" only reports");
        keyward.stderr.all().iter().filter(|line| line.contains("WARN") && line.contains(&mark)).count()
    };
    assert_eq!(["accounts", "jobs", "enforced"].map(warned), [1, 1, 0]);

    let stricter = ROUTES.replace("report = { account = { path = \"account\" } }\n", "");
    std::fs::write(keyward.folder().join("keyward.toml"), settings(&origin, "[reload]\nwatch = false\n", &stricter))
        .unwrap();
    keyward.signal("HUP");
    keyward.stderr.expect("the settings were reloaded");
    assert_eq!(wire.get("/accounts/102/x", &key.secret).code(), "ACCOUNT_NOT_FOUND");
    assert_eq!(wire.get("/accounts/101/x", &key.secret).status, 200);
    assert_eq!(wire.get("/jobs/101/x", &key.secret).status, 200);
    assert_eq!(["accounts", "jobs"].map(warned), [1, 2]);
    // What was seen before stays, until it is forgotten or keyward ends.
    let mut expected = [row(&key, "accounts", "account_mismatch", 1), row(&key, "jobs", "scope_insufficient", 2)];
    expected.sort();
    assert_eq!(rows(&keyward), expected);
    assert!(keyward.stop().success());
    let said = keyward.fails(&["rehearsal"]);
    assert!(said.contains("no keyward serves the store"), "{said}");
}

#[test]
fn validate_warns_of_every_route_that_only_reports() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyward.toml");
    std::fs::write(&file, format!("[services.api]\nurl = \"http://127.0.0.1:1\"\n{ROUTES}")).unwrap();
    let run = |more: &[&str]| {
        let output = binary().arg("validate").arg("--config").arg(&file).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [shown, said] = run(&[]);
    assert!(shown.contains("report = { account = { path = \"account\" } }"), "{shown}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    for (line, place, told) in [
        (lines[0], ":7:1: routes.0.report: \"accounts\" only reports", "keys of other accounts are forwarded"),
        (lines[1], ":13:1: routes.1.report: \"jobs\" only reports", "keys without \"jobs:run\" are forwarded"),
    ] {
        assert!(line.starts_with("warning: ") && line.contains(place) && line.contains(told), "{line}");
    }
    let [shown, _] = run(&["--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 2);
    assert_eq!(shown["warnings"][0]["key"], "routes.0.report");
}

#[test]
fn the_settings_of_the_page_are_right_and_warned_of() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rehearsal.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyward.toml");
    let examples: Vec<_> = blocks(&page).into_iter().filter(|block| block.kind == "toml").collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        std::fs::write(&file, &example.text).unwrap();
        let output = binary().arg("validate").arg("--config").arg(&file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.starts_with("warning: "), "{said}");
    }
}

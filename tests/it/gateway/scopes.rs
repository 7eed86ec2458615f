//! What a living key may ask: its own account, its permissions, its networks.

use crate::support::origin::value;
use crate::support::{Keyward, Origin, keyward};

fn started(more: &str) -> (Keyward, Origin) {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "{more}[services.api]\nurl = \"{}\"\n\
             [[routes]]\npath = \"/api/{{version}}/accounts/{{account}}/jobs/**\"\nservice = \"api\"\npermission = \"jobs:run\"\n\
             [[routes]]\npath = \"/api/{{version}}/accounts/{{account}}/**\"\nservice = \"api\"\n\
             [[routes]]\npath = \"/whoami\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    keyward.account("102");
    (keyward, origin)
}

#[test]
fn another_accounts_path_looks_like_no_account_at_all() {
    let (keyward, origin) = started("");
    let key = keyward.service_key("101", &[]);
    assert_eq!(keyward.get("/api/v2/accounts/101/", &key.secret).status, 200);
    let sent = origin.seen().heads.len();
    for other in ["102", "999", "0101", "101%20", "1O1", "%2B101"] {
        let answer = keyward.get(&format!("/api/v2/accounts/{other}/"), &key.secret);
        assert_eq!((answer.status, answer.code().as_str()), (404, "ACCOUNT_NOT_FOUND"), "{other}");
    }
    assert_eq!(origin.seen().heads.len(), sent);
    // The same account, needlessly escaped, is the same account, and is forwarded in its one spelling.
    assert_eq!(keyward.get("/api/v2/accounts/%3101/", &key.secret).status, 200);
    assert!(origin.last().starts_with("GET /api/v2/accounts/101/ HTTP/1.1\r\n"));
}

#[test]
fn by_setting_another_accounts_path_is_a_403() {
    let (keyward, _origin) = started("[gateway]\naccount_mismatch = \"forbidden\"\n");
    let key = keyward.service_key("101", &[]);
    let answer = keyward.get("/api/v2/accounts/102/", &key.secret);
    assert_eq!((answer.status, answer.code().as_str()), (403, "ACCOUNT_MISMATCH"));
}

#[test]
fn a_permission_a_route_needs_must_be_held() {
    let (keyward, origin) = started("");
    let without = keyward.service_key("101", &["--permission", "users:read"]);
    let answer = keyward.get("/api/v2/accounts/101/jobs/1", &without.secret);
    assert_eq!((answer.status, answer.code().as_str()), (403, "SCOPE_INSUFFICIENT"));
    assert!(answer.all("www-authenticate")[0].contains("error=\"insufficient_scope\", scope=\"jobs:run\""));
    let with = keyward.service_key("101", &["--permission", "jobs:*", "--permission", "a:b"]);
    assert_eq!(keyward.get("/api/v2/accounts/101/jobs/1", &with.secret).status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-permissions"), Some("a:b,jobs:*"));
}

#[test]
fn a_personal_key_may_what_its_user_may_as_of_now() {
    let (keyward, origin) = started("");
    keyward.cli(&["user", "create", "u1"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "u1"]);
    let key = keyward.mint(&["--account", "101", "--user", "u1", "--kind", "personal"]);
    assert_eq!(keyward.get("/api/v2/accounts/101/jobs/1", &key.secret).code(), "SCOPE_INSUFFICIENT");
    keyward.cli(&["member", "add", "--account", "101", "--user", "u1", "--permission", "jobs:run"]);
    assert_eq!(keyward.get("/api/v2/accounts/101/jobs/1", &key.secret).status, 200);
    let head = origin.last();
    assert_eq!(value(&head, "x-keyward-user"), Some("u1"));
    assert_eq!(value(&head, "x-keyward-kind"), Some("personal"));
    keyward.cli(&["member", "remove", "--account", "101", "--user", "u1"]);
    let answer = keyward.get("/api/v2/accounts/101/", &key.secret);
    assert_eq!((answer.status, answer.code().as_str()), (401, "API_KEY_INVALID"));
}

#[test]
fn a_user_key_crosses_the_accounts_of_its_user_and_no_others() {
    let (keyward, origin) = started("");
    keyward.account("103");
    keyward.cli(&["user", "create", "u1"]);
    for account in ["101", "102"] {
        keyward.cli(&["member", "add", "--account", account, "--user", "u1"]);
    }
    let key = keyward.mint(&["--kind", "user", "--user", "u1"]);
    // Naming an account binds the key to nothing; it only must be one of its user's.
    let named = keyward.json(&["key", "mint", "--kind", "user", "--user", "u1", "--account", "101"]);
    assert_eq!((named["kind"].as_str(), named["account"].is_null()), (Some("user"), true));
    assert!(!keyward.run(&["key", "mint", "--kind", "user", "--user", "u1", "--account", "103"]).status.success());
    for account in ["101", "102"] {
        assert_eq!(keyward.get(&format!("/api/v2/accounts/{account}/"), &key.secret).status, 200);
        assert_eq!(value(&origin.last(), "x-keyward-account"), Some(account));
    }
    assert_eq!(keyward.get("/api/v2/accounts/103/", &key.secret).code(), "ACCOUNT_NOT_FOUND");
    assert_eq!(keyward.get("/whoami", &key.secret).status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-account"), None);
    keyward.cli(&["account", "suspend", "102"]);
    let answer = keyward.get("/api/v2/accounts/102/", &key.secret);
    assert_eq!((answer.status, answer.code().as_str()), (403, "ACCOUNT_SUSPENDED"));
    assert_eq!(keyward.get("/api/v2/accounts/101/", &key.secret).status, 200);
}

#[test]
fn an_operator_key_is_not_forwarded() {
    let (keyward, origin) = started("");
    let key = keyward.mint(&["--kind", "operator"]);
    let answer = keyward.get("/whoami", &key.secret);
    assert_eq!((answer.status, answer.code().as_str()), (403, "SCOPE_INSUFFICIENT"));
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn a_key_bound_to_networks_is_refused_from_elsewhere_and_nobodys_word_is_taken_for_it() {
    let (keyward, _origin) = started("");
    let elsewhere = keyward.service_key("101", &["--allow-ip", "192.0.2.0/24"]);
    let here = keyward.service_key("101", &["--allow-ip", "192.0.2.0/24", "--allow-ip", "127.0.0.0/8"]);
    assert_eq!(keyward.get("/whoami", &here.secret).status, 200);
    let token = format!("Token {}", elsewhere.secret);
    let answer = keyward.wire().ask("GET", "/whoami", &[("Authorization", &token), ("X-Forwarded-For", "192.0.2.1")]);
    assert_eq!((answer.status, answer.code().as_str()), (403, "IP_NOT_ALLOWED"));
}

#[test]
fn a_trusted_proxys_word_about_its_client_is_taken() {
    let (keyward, origin) = started("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    let key = keyward.service_key("101", &["--allow-ip", "192.0.2.0/24"]);
    let token = format!("Token {}", key.secret);
    let from = |client: &str| {
        let headers = [("Authorization", token.as_str()), ("X-Forwarded-For", client), ("X-Forwarded-Proto", "https")];
        keyward.wire().ask("GET", "/whoami", &headers).status
    };
    assert_eq!(from("198.51.100.9, 192.0.2.1"), 200);
    let head = origin.last();
    assert_eq!(value(&head, "x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(from("192.0.2.1, 198.51.100.9"), 403);
}

#[test]
fn a_trusted_proxy_may_tell_of_its_client_as_rfc_7239_does() {
    let settings = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\nclient_header = \"forwarded\"\n";
    let (keyward, origin) = started(settings);
    let key = keyward.service_key("101", &["--allow-ip", "2001:db8::/32"]);
    let token = format!("Token {}", key.secret);
    let from = |lines: &[&str]| {
        let mut headers = vec![("Authorization", token.as_str()), ("X-Forwarded-For", "2001:db8::1")];
        headers.extend(lines.iter().map(|line| ("Forwarded", *line)));
        keyward.wire().ask("GET", "/whoami", &headers).status
    };
    assert_eq!(from(&["for=198.51.100.9, for=\"[2001:db8::1]:4711\";proto=https"]), 200);
    let head = origin.last();
    assert_eq!(value(&head, "x-forwarded-for"), Some("2001:db8::1, 127.0.0.1"));
    assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(value(&head, "forwarded"), None);
    // The other header is not believed, a client's open quote swallows nothing, and a hidden client is its proxy.
    for lines in [&[][..], &["for=\"[2001:db8::1]", "for=198.51.100.9"], &["for=\"[2001:db8::1], for=198.51.100.9"]] {
        assert_eq!(from(lines), 403, "{lines:?}");
    }
    assert_eq!(from(&["for=\"[2001:db8::1]\", for=_hidden"]), 403);
}

//! What the origin is told, and what only we may tell it.

use crate::support::origin::value;
use crate::support::{Keyward, Minted, Origin, keyward};

fn started(more: &str) -> (Keyward, Origin, Minted) {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "{more}\n[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/open/**\"\nservice = \"api\"\nopen = true\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &["--permission", "jobs:run"]);
    (keyward, origin, key)
}

#[test]
fn the_origin_is_told_who_asks() {
    let (keyward, origin, key) = started("");
    assert_eq!(keyward.get("/a?b=c", &key.secret).status, 200);
    let head = origin.last();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"));
    for (name, told) in [
        ("host", "api.test"),
        ("x-keyward-account", "101"),
        ("x-keyward-key", key.id.as_str()),
        ("x-keyward-kind", "service"),
        ("x-keyward-permissions", "jobs:run"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "api.test"),
        ("via", "1.1 keyward"),
    ] {
        assert_eq!(value(&head, name), Some(told), "{name} in {head}");
    }
    assert_eq!(value(&head, "x-keyward-user"), None);
    assert_eq!(value(&head, "x-request-id").unwrap().len(), 32);
}

#[test]
fn every_copy_a_client_sends_is_removed_on_open_routes_too() {
    let (keyward, origin, key) = started("");
    let token = format!("Token {}", key.secret);
    for path in ["/a", "/open/a"] {
        for name in [
            "X-Keyward-Account",
            "x-keyward-user",
            "X-KEYWARD-KEY",
            "X_Keyward_Account",
            "x-keyward_kind",
            "X.Keyward.Account",
            "X-Keyward!Kind",
            "X-Forwarded-For",
            "X-Forwarded-User",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
        ] {
            let authorization = ("Authorization", if path == "/a" { token.as_str() } else { "Basic YTpi" });
            let answer = keyward.wire().ask("GET", path, &[authorization, (name, "spoofed"), (name, "spoofed")]);
            assert_eq!(answer.status, 200, "{path} {name}: {}", answer.text());
            assert!(!origin.last().contains("spoofed"), "{path} {name}: {}", origin.last());
        }
    }
    assert_eq!(value(&origin.last(), "x-keyward-account"), None);
}

#[test]
fn connection_cannot_remove_what_is_not_its_own() {
    let (keyward, origin, key) = started("");
    let token = format!("Token {}", key.secret);
    for name in ["X-Keyward-Account", "authorization", "Host", "X-Forwarded-For", "cookie", "Content-Length"] {
        for lines in [vec![name.to_owned()], vec!["close".into(), format!("x, {name}")]] {
            let mut headers = vec![("Authorization", token.as_str())];
            headers.extend(lines.iter().map(|line| ("Connection", line.as_str())));
            let answer = keyward.wire().ask("GET", "/a", &headers);
            assert_eq!((answer.status, answer.code().as_str()), (400, "REQUEST_MALFORMED"), "{lines:?}");
        }
    }
    assert!(origin.seen().heads.is_empty());
    let headers = [
        ("Authorization", token.as_str()),
        ("Connection", "x-hop"),
        ("Connection", "X-Other"),
        ("X-Hop", "1"),
        ("X-Other", "2"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
    ];
    assert_eq!(keyward.wire().ask("GET", "/a", &headers).status, 200);
    for name in ["x-hop", "x-other", "te", "keep-alive", "proxy-connection", "connection"] {
        assert_eq!(value(&origin.last(), name), None, "{name}");
    }
}

#[test]
fn an_upgrade_is_not_passed_on() {
    let (keyward, origin, key) = started("");
    let token = format!("Token {}", key.secret);
    let headers = [
        ("Authorization", token.as_str()),
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABk"),
    ];
    assert_eq!(keyward.wire().ask("GET", "/a", &headers).status, 200);
    assert!(!origin.last().to_lowercase().contains("upgrade") && !origin.last().to_lowercase().contains("http2"));
}

#[test]
fn the_identity_headers_have_the_names_that_settings_give_them() {
    let (keyward, origin, key) = started("[gateway.identity]\naccount = \"X-Account-Id\"\n");
    let token = format!("Token {}", key.secret);
    assert_eq!(keyward.wire().ask("GET", "/a", &[("Authorization", &token), ("X-Account-Id", "spoofed")]).status, 200);
    assert_eq!(value(&origin.last(), "x-account-id"), Some("101"));
    assert!(!origin.last().contains("spoofed"));
}

#[test]
fn an_underscore_is_refused_where_settings_say_so() {
    let (keyward, _origin, key) = started("[gateway]\nunderscore_headers = \"refuse\"\n");
    let token = format!("Token {}", key.secret);
    let answer = keyward.wire().ask("GET", "/a", &[("Authorization", &token), ("a_b", "1")]);
    assert_eq!((answer.status, answer.code().as_str()), (400, "REQUEST_MALFORMED"));
}

#[test]
fn a_request_id_joins_answer_origin_and_log_and_the_secret_is_in_none() {
    let (keyward, origin, key) = started("");
    let answer = keyward.get("/logged?api_key=visible", &key.secret);
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(value(&origin.last(), "x-request-id"), Some(id.as_str()));
    let line = keyward.logged("/logged", 1).remove(0);
    assert_eq!(line["request_id"], id);
    for (name, told) in [
        ("key", key.id.as_str()),
        ("account", "101"),
        ("decision", "allowed"),
        ("method", "GET"),
        ("client", "127.0.0.1"),
        ("service", "api"),
    ] {
        assert_eq!(line[name], told, "{line}");
    }
    assert_eq!((line["status"].as_u64(), line["bytes"].as_u64()), (Some(200), Some(2)));
    let refused = keyward.get("/refused", "an-opaque-secret-that-nobody-has");
    assert_eq!(keyward.logged("/refused", 1)[0]["request_id"], refused.json()["request_id"]);
    let said = [keyward.stdout.all(), keyward.stderr.all()].concat().join("\n");
    for secret in [key.secret.as_str(), "an-opaque-secret", "visible"] {
        assert!(!said.contains(secret), "{secret} is in the logs");
    }
}

#[test]
fn a_refused_head_has_no_body_and_its_own_reason() {
    let (keyward, _origin, _key) = started("");
    let mut wire = keyward.wire();
    let answer = wire.ask("HEAD", "/head", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
    assert_ne!(answer.header("content-length"), Some("0"));
    // Nothing of a body stands before the next answer.
    assert_eq!(wire.ask("GET", "/get", &[]).code(), "API_KEY_REQUIRED");
    assert_eq!(keyward.logged("/head", 1)[0]["reason"], "key_required");
}

#[test]
fn without_an_access_log_nothing_is_said_and_all_is_counted() {
    let (mut keyward, _origin, key) = started("[access_log]\nenabled = false\n");
    assert_eq!(keyward.get("/a", &key.secret).status, 200);
    assert_eq!(keyward.get("/a", "an-opaque-secret-that-nobody-has").status, 401);
    let metrics = keyward.metrics();
    assert!(metrics.contains("reason=\"permitted\"") && metrics.contains("reason=\"key_unknown\""), "{metrics}");
    assert!(keyward.stop().success());
    assert_eq!(keyward.stdout.all(), [""; 0]);
}

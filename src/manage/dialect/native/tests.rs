//! The conversions, and calls over a real keyring.

mod described;
mod receipts;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use super::*;
use crate::key::Kind;
use crate::key::rotation::Mode;
use crate::keyring::Watch;
use crate::keyring::config::OnReuse;
use crate::manage::routes::{ROUTES, Route, Row};
use crate::manage::tests::{Answer, Face, face};

const FORM: &str = "application/x-www-form-urlencoded";

/// A face, and who operates it.
struct Desk {
    face: Face,
    line: String,
}

async fn desk() -> Desk {
    desk_over(face().await).await
}

async fn desk_over(face: Face) -> Desk {
    let secret = face.key(Kind::Operator, |_| ()).await;
    Desk { face, line: format!("Bearer {}", secret.expose_str().unwrap()) }
}

impl Desk {
    async fn send(&self, method: Method, target: &str, kind: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(target).header(AUTHORIZATION, &self.line);
        self.face.send(request.header(CONTENT_TYPE, kind).body(body.to_owned()).unwrap()).await
    }

    async fn ask(&self, method: Method, target: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, target, JSON, &body).await
    }

    /// Posts what must be refused as making no sense, and gives what is said of the place.
    async fn faults(&self, path: &str, body: Value) -> Vec<String> {
        let answer = self.ask(Method::POST, path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "VALIDATION_FAILED"), "{answer:?}");
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|fault| format!("{}: {}", fault["pointer"].as_str().unwrap(), fault["detail"].as_str().unwrap()))
            .collect()
    }
}

#[tokio::test]
async fn a_body_is_one_small_json_object() {
    let desk = desk().await;
    for (kind, body, status, code) in [
        ("text/plain", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("application/jsonp", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (JSON, "{", 400, "VALIDATION_FAILED"),
        (JSON, "[\"a\"]", 400, "VALIDATION_FAILED"),
        (JSON, "{\"id\":\"a\"} x", 400, "VALIDATION_FAILED"),
        (JSON, &format!("{{\"id\":\"{}\"}}", "a".repeat(64 * 1024)), 413, "PAYLOAD_TOO_LARGE"),
        ("Application/JSON; charset=utf-8", "{\"id\":\"a\"}", 201, ""),
    ] {
        let answer = desk.send(Method::POST, "/v1/accounts", kind, body).await;
        let said = if status == 201 { String::new() } else { answer.code() };
        assert_eq!((answer.status, said.as_str()), (status, code), "{kind} {}", &body[..body.len().min(40)]);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_told_with_its_place_and_without_its_value() {
    let desk = desk().await;
    desk.ask(Method::POST, "/v1/accounts", json!({"id": "101"})).await;
    for (body, expected) in [
        (json!({"account_id": "101", "acount": 1}), "/acount: no such member"),
        (json!({"account_id": 101}), "/account_id: expected a string"),
        (json!({"account_id": "101", "allowed_ips": ["10.0.0.0/8", "x"]}), "/allowed_ips/1: "),
        (json!({"account_id": "101", "kind": "admin"}), "/kind: "),
        (json!({"account_id": "101", "expires_at": "tomorrow"}), "/expires_at: not a moment"),
        (
            json!({"account_id": "101", "expires_at": "2099-01-01T00:00:00Z", "expires_in": 1}),
            "/expires_in: give this or",
        ),
        (json!({"account_id": "nobody"}), "/account_id: no account"),
        (json!({"account_id": "101", "expires_in": null}), "/expires_in: expected u64"),
        (json!({"kind": "personal", "account_id": "101", "user_id": "nobody"}), "/user_id: no user"),
    ] {
        let said = desk.faults("/v1/keys", body.clone()).await;
        assert!(said.len() == 1 && said[0].starts_with(expected), "{body}: {said:?}");
    }
    // A rule of the keyring has no place, but words.
    let answer = desk.ask(Method::POST, "/v1/keys", json!({})).await;
    assert_eq!(answer.status, 422);
    assert!(answer.json()["detail"].as_str().unwrap().contains("belongs to an account"), "{answer:?}");
    let answer = desk.ask(Method::POST, "/v1/verify", json!({"secret": 12345678})).await;
    assert_eq!(answer.status, 422);
    assert!(!answer.body.contains("12345678"), "{answer:?}");
}

#[tokio::test]
async fn a_query_that_nobody_reads_is_refused() {
    let desk = desk().await;
    for (target, parameter) in [
        ("/v1/keys?acount=1", "acount"),
        ("/v1/keys?limit=0", "limit"),
        ("/v1/keys?limit=101", "limit"),
        ("/v1/keys?limit=1&limit=1", "limit"),
        ("/v1/keys?cursor=x", "cursor"),
        ("/v1/keys?status=good", "status"),
        ("/v1/keys?account=a%2Fb", "account"),
        ("/v1/accounts?limit=0", "limit"),
        ("/v1/users?cursor=Lw", "cursor"),
        ("/v1/accounts/101/members?user=paul", "user"),
        ("/v1/whoami?limit=1", "limit"),
    ] {
        let answer = desk.ask(Method::GET, target, Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "VALIDATION_FAILED"), "{target}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{target}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_id_is_not_found_however_it_is_written() {
    let desk = desk().await;
    for id in ["key_none", "a%2Fb", "%FF", "%2e%2e", "a%20b", "x*"] {
        let answer = desk.ask(Method::GET, &format!("/v1/keys/{id}"), Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "API_KEY_NOT_FOUND"), "{id}");
    }
    desk.ask(Method::POST, "/v1/accounts", json!({"id": "a+b@c"})).await;
    let answer = desk.ask(Method::PATCH, "/v1/accounts/a%2Bb%40c", json!({"status": "suspended"})).await;
    assert_eq!((answer.status, &answer.json()["account"]["status"]), (200, &json!("suspended")));
}

#[test]
fn a_rotation_is_read_by_its_mode() {
    let read = |body: Value| {
        Document::of(&body.to_string()).parse::<wanted::Rotate>().unwrap().rotation(3, Timestamp::from_millis(0))
    };
    let mode = |body: Value| read(body).unwrap().mode;
    let second = std::time::Duration::from_secs;
    assert_eq!(mode(json!({})), Mode::Immediate);
    assert_eq!(mode(json!({"mode": "grace", "grace_seconds": 60})), Mode::Grace(second(60)));
    let week = second(7 * 24 * 60 * 60);
    assert_eq!(mode(json!({"mode": "first_use"})), Mode::FirstUse { within: week, grace: second(0) });
    let both = json!({"mode": "first_use", "within_seconds": 5, "grace_seconds": 6, "supersede": true});
    assert_eq!(mode(both.clone()), Mode::FirstUse { within: second(5), grace: second(6) });
    assert!(read(both).unwrap().supersede);
    let quiet = read(json!({"mode": "grace", "grace_seconds": 600, "until_quiet_seconds": 60})).unwrap().until_quiet;
    assert_eq!(quiet, Some(second(60)));
    assert_eq!(read(json!({})).unwrap().generation, Some(3));
    for body in [
        json!({"mode": "grace"}),
        json!({"grace_seconds": 60}),
        json!({"mode": "grace", "grace_seconds": 60, "within_seconds": 5}),
    ] {
        assert!(read(body.clone()).is_err(), "{body}");
    }
}

#[test]
fn tags_are_matched_as_rfc_9110_says() {
    let headers = |lines: &[&str]| -> HeaderMap {
        lines.iter().map(|line| (http::header::IF_MATCH, line.parse().unwrap())).collect()
    };
    let seen = |lines: &[&str]| tag::seen(&headers(lines)).map(|seen| seen.iter().map(tag::tag).collect::<Vec<_>>());
    let tag = "\"7.2.active.rotating\"";
    assert_eq!(seen(&[]), None);
    assert_eq!(seen(&["*"]), None);
    assert_eq!(seen(&[tag]).unwrap(), [tag]);
    assert_eq!(seen(&["\"x\", \"7.2.active.rotating\"", "\"8.1.revoked\""]).unwrap(), [tag, "\"8.1.revoked\""]);
    assert_eq!(seen(&["W/\"7.2.active.rotating\""]).unwrap(), [""; 0]);
    for (line, matches) in [(tag, true), ("W/\"7.2.active.rotating\"", true), ("*", true), ("\"7.2.active\"", false)] {
        assert_eq!(tag::names(&line.parse().unwrap(), tag), matches, "{line}");
    }
}

/// Posts under an `Idempotency-Key`.
async fn post_once(desk: &Desk, path: &str, name: &str, body: &str) -> Answer {
    let request = Request::post(path).header(AUTHORIZATION, &desk.line).header("idempotency-key", name);
    desk.face.send(request.header(CONTENT_TYPE, JSON).body(body.to_owned()).unwrap()).await
}

#[tokio::test]
async fn rule_8_a_post_that_comes_again_under_its_idempotency_key_is_answered_with_the_same_secret() {
    let desk = desk().await;
    desk.ask(Method::POST, "/v1/accounts", json!({"id": "101"})).await;
    let (body, other) = (r#"{"account_id":"101"}"#, r#"{"account_id":"101","name":"x"}"#);
    let made = post_once(&desk, "/v1/keys", "\"mint-1\"", body).await;
    let again = post_once(&desk, "/v1/keys", "mint-1", body).await;
    assert_eq!((made.status, again.status, &made.body), (201, 201, &again.body));
    assert_eq!(made.headers["location"], again.headers["location"]);
    let keys = desk.ask(Method::GET, "/v1/keys?account=101", Value::Null).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    let reused = post_once(&desk, "/v1/keys", "mint-1", other).await;
    assert_eq!((reused.status, reused.code().as_str()), (422, "IDEMPOTENCY_KEY_REUSED"));
    let bad = post_once(&desk, "/v1/keys", "\"mint", body).await;
    assert_eq!((bad.status, bad.code().as_str()), (422, "VALIDATION_FAILED"));

    // A rotation that comes again is the same one, though the key is no longer as it was seen.
    let path = format!("/v1/keys/{}/rotate", made.json()["key"]["id"].as_str().unwrap());
    let rotate = async || {
        let request = Request::post(&path).header(AUTHORIZATION, &desk.line).header("idempotency-key", "rotate-1");
        desk.face.send(request.header("if-match", &made.headers["etag"]).body(String::new()).unwrap()).await
    };
    let (rotated, again) = (rotate().await, rotate().await);
    assert_eq!((rotated.status, &rotated.body), (201, &again.body));
    assert_eq!(rotated.json()["key"]["generation"], 2);
    // The name of one path is not that of another, and another operator's is not this one's.
    let elsewhere = post_once(&desk, "/v1/keys", "rotate-1", body).await;
    assert_eq!(elsewhere.code(), "IDEMPOTENCY_KEY_REUSED");
    let another =
        Desk { line: format!("Bearer {}", desk.face.key(Kind::Operator, |_| ()).await.expose_str().unwrap()), ..desk };
    let theirs = post_once(&another, "/v1/keys", "mint-1", body).await;
    assert_eq!(theirs.status, 201);
    assert_ne!(theirs.json()["secret"], made.json()["secret"]);
    // A rotation that is cancelled once more is so still.
    post_once(&another, &path, "rotate-2", r#"{"mode":"grace","grace_seconds":60}"#).await;
    let cancel = path.replace("rotate", "rotation/cancel");
    let (done, again) = (post_once(&another, &cancel, "c", "").await, post_once(&another, &cancel, "c", "").await);
    assert_eq!((done.status, again.status, &done.body), (200, 200, &again.body));
}

#[tokio::test]
async fn rule_8_a_replacement_that_comes_again_is_answered_with_the_same_secrets() {
    let desk = desk().await;
    desk.ask(Method::POST, "/v1/users", json!({"id": "paul"})).await;
    for account in ["101", "102"] {
        desk.ask(Method::POST, "/v1/accounts", json!({"id": account})).await;
        desk.ask(Method::PUT, &format!("/v1/accounts/{account}/members/paul"), json!({})).await;
    }
    let legacy = desk.ask(Method::POST, "/v1/keys", json!({"kind": "user", "user_id": "paul"})).await.json();
    let path = format!("/v1/keys/{}/replace", legacy["key"]["id"].as_str().unwrap());
    let body = r#"{"with":"personal","account_ids":["101","102"],"revoke_old":true}"#;
    let replace = || post_once(&desk, &path, "replace-1", body);
    let (done, again) = (replace().await, replace().await);
    assert_eq!((done.status, again.status, &done.body), (201, 201, &again.body));
    let secrets: Vec<_> = done.json()["keys"].as_array().unwrap().iter().map(|key| key["secret"].clone()).collect();
    assert!(secrets.len() == 2 && secrets[0] != secrets[1]);
    for secret in secrets {
        let judged = desk.ask(Method::POST, "/v1/verify", json!({"secret": secret})).await;
        assert_eq!(judged.json()["valid"], true);
    }
    let keys = desk.ask(Method::GET, "/v1/keys?user=paul", Value::Null).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn rule_8_the_same_post_at_the_same_time_is_carried_out_once() {
    let desk = desk().await;
    desk.ask(Method::POST, "/v1/accounts", json!({"id": "101"})).await;
    let post = || post_once(&desk, "/v1/keys", "a", r#"{"account_id":"101"}"#);
    let (one, two) = tokio::join!(post(), post());
    let mut told = [(one.status, one.body), (two.status, two.body)];
    told.sort();
    match &told {
        [(201, one), (201, two)] => assert_eq!(one, two),
        [(201, _), (409, why)] => assert!(why.contains("IDEMPOTENCY_KEY_IN_PROGRESS"), "{why}"),
        other => panic!("{other:?}"),
    }
    let keys = desk.ask(Method::GET, "/v1/keys?account=101", Value::Null).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_log_tells_who_asked_from_where_in_which_request_and_comes_by_pages() {
    let desk = desk().await;
    let request = Request::post("/v1/accounts").header(AUTHORIZATION, &desk.line).header("x-request-id", "mine");
    desk.face.send(request.header(CONTENT_TYPE, JSON).body(r#"{"id":"101"}"#.to_owned()).unwrap()).await;
    desk.ask(Method::POST, "/v1/accounts", json!({"id": "101"})).await;
    let made = desk.ask(Method::POST, "/v1/keys", json!({"account_id": "101", "name": "ci"})).await.json();
    let operator = desk.ask(Method::GET, "/v1/whoami", Value::Null).await.json()["key"]["id"].clone();
    let list = async |query: &str| desk.ask(Method::GET, &format!("/v1/audit{query}"), Value::Null).await.json();
    let page = list("?account=101").await;
    let entries = page["entries"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry["action"].as_str(), entry["outcome"].as_str())).collect();
    let done = Some("done");
    let expected =
        [(Some("key.mint"), done), (Some("account.create"), Some("refused")), (Some("account.create"), done)];
    assert_eq!(told, expected);
    let first = &entries[2];
    assert_eq!(first["who"], json!({"type": "operator", "key_id": operator, "uid": null}));
    assert_eq!((&first["address"], &first["request_id"]), (&json!("192.0.2.7"), &json!("mine")));
    assert_eq!(entries[0]["key_id"], made["key"]["id"]);
    assert_eq!(entries[0]["details"], json!({"kind": "service", "name": "ci"}));
    assert_eq!(page["next_cursor"], Value::Null);
    let first = list("?account=101&limit=2").await;
    let rest = list(&format!("?account=101&limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    let both = [first["entries"].as_array().unwrap().clone(), rest["entries"].as_array().unwrap().clone()].concat();
    assert_eq!((&both, &rest["next_cursor"]), (entries, &Value::Null));
    for (query, count) in [
        (format!("?by_key={}", operator.as_str().unwrap()), 3),
        ("?action=key.mint&who=operator".to_owned(), 1),
        ("?outcome=refused".to_owned(), 1),
        ("?since=2100-01-01T00:00:00Z".to_owned(), 0),
        ("?until=2100-01-01T00:00:00Z&action=account.create".to_owned(), 2),
        ("?user=nobody".to_owned(), 0),
    ] {
        assert_eq!(list(&query).await["entries"].as_array().unwrap().len(), count, "{query}");
    }
    for bad in ["?action=key.steal", "?since=yesterday", "?by=key_1", "?limit=0"] {
        assert_eq!(desk.ask(Method::GET, &format!("/v1/audit{bad}"), Value::Null).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn rule_9_a_dead_operator_secret_is_noted_from_where_and_may_end_its_key() {
    let mut desk = desk().await;
    let id = desk.ask(Method::GET, "/v1/whoami", Value::Null).await.json()["key"]["id"].as_str().unwrap().to_owned();
    let rotated = desk.ask(Method::POST, &format!("/v1/keys/{id}/rotate"), Value::Null).await.json();
    let new = format!("Bearer {}", rotated["secret"].as_str().unwrap());
    let old = std::mem::replace(&mut desk.line, new.clone());
    let strict = Watch { on_reuse: OnReuse::RevokeFamily, ..Watch::default() };
    for (policy, lives) in [(Watch::default(), 200), (strict, 401)] {
        desk.face.keyring().heed(policy);
        desk.line.clone_from(&old);
        let dead = desk.ask(Method::GET, "/v1/keys", Value::Null).await;
        assert_eq!((dead.status, dead.code().as_str()), (401, "API_KEY_INVALID"));
        desk.line.clone_from(&new);
        assert_eq!(desk.ask(Method::GET, "/v1/whoami", Value::Null).await.status, lives, "{policy:?}");
    }
}

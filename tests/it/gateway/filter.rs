//! Answers that hold more accounts than the key's: the rest is taken out, or nothing passes.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::agree::over_http2;
use crate::support::origin::value;
use crate::support::{Answer, Keyward, Minted, Origin, keyward};

/// An origin whose next answers a test sets.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<String>>);

impl Script {
    fn says(&self, head: &str, body: &str) {
        let length = body.len();
        *self.0.lock().unwrap() = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
    }

    fn answers(&self, body: &Value) {
        self.says("200 OK\r\nContent-Type: application/json", &body.to_string());
    }
}

const FILTERS: &str = r#"
[[routes]]
path = "/api/v2/accounts"
service = "api"
[[routes.filter]]
items = "/data"
account = "/id"
counts = ["/extra/pagination/count", "/extra/pagination/total_count"]
[[routes.filter]]
items = "/extra/filters/pk__in"
account = ""
optional = true

[[routes]]
path = "/api/v2/users/{id}"
service = "api"
filter = [
  { items = "/data/permissions", account = "/account_id" },
  { items = "/data/permissions/*/groups", account = "/account_id" },
  { members = "/data/licenses" },
]

[[routes]]
path = "/api/v2/whoami"
service = "api"
filter = [
  { items = "/data/user/permissions", account = "/account_id" },
  { items = "/data/user/permissions/*/groups", account = "/account_id" },
  { members = "/data/user/licenses" },
]

[[routes]]
path = "/api/v2/licenses"
service = "api"
filter = [
  { items = "/data", account = "/account_id", counts = ["/extra/pagination/count", "/extra/pagination/total_count"] },
]

[[routes]]
path = "/api/v2/licenses/{id}"
service = "api"
filter = [{ own = "/data/account_id" }]

[[routes]]
path = "/**"
service = "api"
"#;

fn started(more: &str) -> (Keyward, Origin, Script, Minted) {
    let script = Script::default();
    let said = script.clone();
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            let answer = said.0.lock().unwrap().clone();
            line.send(answer);
        }
    });
    let keyward = keyward().config(format!("{more}[services.api]\nurl = \"{}\"\n{FILTERS}", origin.url())).start();
    for account in ["101", "102", "103"] {
        keyward.account(account);
    }
    let key = keyward.service_key("101", &[]);
    (keyward, origin, script, key)
}

fn accounts() -> Value {
    json!({
        "status": {"code": 200, "is_success": true, "user_message": "Success!", "developer_message": ""},
        "data": [{"id": 102, "name": "Other"}, {"id": 101, "name": "Own", "run_slots": 1.50}, {"id": 103}],
        "extra": {"filters": {"pk__in": [101, 102, 103]}, "pagination": {"count": 3, "total_count": 3}},
    })
}

fn user() -> Value {
    json!({
        "id": 7,
        "email": "paul@example.com",
        "licenses": {"101": {"license_type": "developer"}, "102": {"license_type": "it"}},
        "permissions": [{"account_id": 102, "groups": []}, {"account_id": 101, "groups": [{"account_id": 101}, {"account_id": 102}]}],
    })
}

fn ids(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

fn unfilterable(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_UNFILTERABLE"), "{}", answer.text());
    // A request's id may have any digits.
    let said = answer.text().replace(answer.header("x-request-id").unwrap(), "");
    assert!(!said.contains("102"), "{said}");
}

#[test]
fn a_bound_key_sees_its_account_and_a_count_of_one() {
    let (keyward, _origin, script, key) = started("");
    script.answers(&accounts());
    let answer = keyward.get("/api/v2/accounts/", &key.secret);
    assert_eq!(ids(&answer), [101]);
    let body = answer.json();
    assert_eq!(body["extra"], json!({"filters": {"pk__in": [101]}, "pagination": {"count": 1, "total_count": 1}}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(!answer.text().contains("102"));
    // A key of an account that the service does not name sees none, which is how clients find that a key is not for theirs.
    keyward.account("999");
    let other = keyward.service_key("999", &[]);
    assert!(ids(&keyward.get("/api/v2/accounts/", &other.secret)).is_empty());
}

#[test]
fn a_user_key_sees_the_accounts_of_its_user_that_are_served() {
    let (keyward, _origin, script, _key) = started("");
    script.answers(&accounts());
    keyward.cli(&["user", "create", "u1"]);
    for account in ["101", "102"] {
        keyward.cli(&["member", "add", "--account", account, "--user", "u1"]);
    }
    let user = keyward.mint(&["--kind", "user", "--user", "u1"]);
    let personal = keyward.mint(&["--kind", "personal", "--user", "u1", "--account", "102"]);
    assert_eq!(ids(&keyward.get("/api/v2/accounts/", &user.secret)), [102, 101]);
    assert_eq!(ids(&keyward.get("/api/v2/accounts/", &personal.secret)), [102]);
    keyward.cli(&["account", "suspend", "102"]);
    assert_eq!(ids(&keyward.get("/api/v2/accounts/", &user.secret)), [101]);
    keyward.cli(&["member", "remove", "--account", "101", "--user", "u1"]);
    assert!(ids(&keyward.get("/api/v2/accounts/", &user.secret)).is_empty());
}

#[test]
fn a_user_whoami_and_a_list_of_licences_show_the_rows_of_the_keys_account() {
    let (keyward, _origin, script, key) = started("");
    let expected = json!({
        "id": 7,
        "email": "paul@example.com",
        "licenses": {"101": {"license_type": "developer"}},
        "permissions": [{"account_id": 101, "groups": [{"account_id": 101}]}],
    });
    script.answers(&json!({"status": {"code": 200}, "data": user()}));
    assert_eq!(keyward.get("/api/v2/users/7/", &key.secret).json()["data"], expected);
    script.answers(&json!({"status": {"code": 200}, "data": {"user": user()}}));
    assert_eq!(keyward.get("/api/v2/whoami/", &key.secret).json()["data"]["user"], expected);
    let rows = json!([{"id": 1, "account_id": 102}, {"id": 2, "account_id": 101}, {"id": 3, "account_id": 101}]);
    script.answers(&json!({"data": rows, "extra": {"pagination": {"count": 3, "total_count": 9}}}));
    let list = keyward.get("/api/v2/licenses/", &key.secret);
    assert_eq!(ids(&list), [2, 3]);
    assert_eq!(list.json()["extra"]["pagination"], json!({"count": 2, "total_count": 2}));
    script.answers(&json!({"data": {"id": 2, "account_id": 101}}));
    assert_eq!(keyward.get("/api/v2/licenses/2/", &key.secret).status, 200);
    script.answers(&json!({"data": {"id": 1, "account_id": 102}}));
    let other = keyward.get("/api/v2/licenses/1/", &key.secret);
    assert_eq!((other.status, other.code().as_str()), (404, "ACCOUNT_NOT_FOUND"));
    assert_eq!(keyward.logged("/api/v2/licenses/1/", 1)[0]["reason"], "account_mismatch");
}

#[test]
fn what_is_left_stands_as_it_was_written() {
    let (keyward, _origin, script, key) = started("");
    let body = "{ \"z\": 1.10, \"data\": [ {\"id\":102}, {\"n\":123456789012345678901234567890, \"id\": 101, \"t\":\"\\u00e4\"} ] }";
    script.says("200 OK\r\nContent-Type: application/json; charset=utf-8", body);
    let answer = keyward.get("/api/v2/accounts", &key.secret);
    assert_eq!(
        answer.text(),
        "{\"z\":1.10,\"data\":[{\"n\":123456789012345678901234567890,\"id\":101,\"t\":\"\\u00e4\"}]}"
    );
}

#[test]
fn conditions_ranges_and_codings_are_not_asked_for_and_validators_and_lengths_not_told() {
    let (keyward, origin, script, key) = started("");
    let told = [
        "ETag: \"all\"",
        "Last-Modified: Sat, 01 Nov 2025 08:00:00 GMT",
        "Accept-Ranges: bytes",
        "Cache-Control: public, max-age=60",
        "Expires: Sat, 01 Nov 2036 08:00:00 GMT",
        "Age: 3",
        "Digest: sha-256=AAAA",
        "Repr-Digest: sha-256=:AAAA:",
        "Content-Digest: sha-256=:AAAA:",
        "Content-MD5: AAAA",
        "X-Total-Count: 3",
        "Link: </api/v2/accounts/?offset=1>; rel=\"next\"",
        "Content-Type: application/json",
        "Retry-After: 1",
        "X-RateLimit-Limit: 9",
    ];
    script.says(&format!("200 OK\r\n{}", told.join("\r\n")), &accounts().to_string());
    let token = format!("Token {}", key.secret);
    let asked = [
        ("Authorization", token.as_str()),
        ("If-None-Match", "\"all\""),
        ("If-Match", "\"all\""),
        ("If-Modified-Since", "Sat, 01 Nov 2025 08:00:00 GMT"),
        ("If-Unmodified-Since", "Sat, 01 Nov 2025 08:00:00 GMT"),
        ("Range", "bytes=0-1"),
        ("If-Range", "\"all\""),
        ("A-IM", "feed"),
        ("Accept-Encoding", "gzip, br"),
        ("Accept", "application/json"),
    ];
    let answer = keyward.wire().ask("GET", "/api/v2/accounts/", &asked);
    assert_eq!(ids(&answer), [101]);
    let head = origin.last();
    assert_eq!(value(&head, "accept-encoding"), Some("identity"));
    assert_eq!(value(&head, "accept"), Some("application/json"));
    for (name, _) in &asked[1..8] {
        assert_eq!(value(&head, name), None, "{name}");
    }
    let names: Vec<String> = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let passed =
        ["content-type", "retry-after", "x-ratelimit-limit", "x-request-id", "cache-control", "content-length", "date"];
    assert!(names.iter().all(|name| passed.contains(&name.as_str())), "{names:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // HEAD tells no more than that, and the length of nothing.
    let answer = keyward.wire().ask("HEAD", "/api/v2/accounts/", &asked[..1]);
    assert_eq!((answer.status, answer.header("etag"), answer.header("content-length")), (200, None, None));
    // A change that is made on a condition keeps it.
    keyward.wire().ask("PUT", "/api/v2/licenses/1", &asked[..3]);
    assert_eq!(value(&origin.last(), "if-match"), Some("\"all\""));
}

#[test]
fn what_cannot_be_filtered_is_a_502_and_never_passes() {
    let (keyward, _origin, script, key) = started("[gateway]\nfilter_limit = \"1KiB\"\n");
    let whole = accounts().to_string();
    let long = json!({"data": [{"id": 102, "name": "x".repeat(1024)}]}).to_string();
    let mut count = 0;
    for (head, body) in [
        ("200 OK", whole.as_str()),
        ("200 OK\r\nContent-Type: text/html", &whole),
        ("200 OK\r\nContent-Type: application/json; charset=utf-16", &whole),
        ("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip", &whole),
        ("201 Created\r\nContent-Type: application/json", &whole),
        ("206 Partial Content\r\nContent-Type: application/json", &whole),
        ("302 Found\r\nLocation: /102\r\nContent-Type: application/json", &whole),
        ("200 OK\r\nContent-Type: application/json", ""),
        ("200 OK\r\nContent-Type: application/json", "[{\"id\":102}]"),
        ("200 OK\r\nContent-Type: application/json", "{\"data\":{\"id\":102}}"),
        ("200 OK\r\nContent-Type: application/json", "{\"data\":null}"),
        ("200 OK\r\nContent-Type: application/json", "{\"data\":[{\"id\":101},{\"name\":\"102\"}]}"),
        ("200 OK\r\nContent-Type: application/json", "{\"data\":[],\"data\":[{\"id\":102}]}"),
        ("200 OK\r\nContent-Type: application/json", "{\"data\":[{\"id\":102}]"),
        ("200 OK\r\nContent-Type: application/json", &long),
    ] {
        script.says(head, body);
        unfilterable(&keyward.get("/api/v2/accounts/", &key.secret));
        count += 1;
    }
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let half = format!("{chunked}800\r\n{}", "x".repeat(2048));
    *script.0.lock().unwrap() = half;
    unfilterable(&keyward.get("/api/v2/accounts/", &key.secret));
    count += 1;
    let logged = keyward.logged("/api/v2/accounts/", count);
    assert!(logged.iter().all(|line| line["reason"] == "answer_unfilterable" && line["decision"] == "allowed"));
    let series = "keyward_auth_decisions_total{result=\"allowed\",reason=\"answer_unfilterable\"}";
    assert_eq!(keyward.metric(series), count as u64);
    keyward.stderr.expect("it does not tell the account at /data: /id");
}

#[test]
fn an_error_passes_with_a_body_that_can_be_filtered_and_without_any_else() {
    let (keyward, _origin, script, key) = started("");
    let error = "{\"status\":{\"code\":404,\"user_message\":\"Not found.\"},\"data\":null}";
    script.says("404 Not Found\r\nContent-Type: application/json", error);
    let answer = keyward.get("/api/v2/accounts/", &key.secret);
    assert_eq!((answer.status, answer.text().as_str()), (404, error));
    script.says("500 Internal Server Error\r\nContent-Type: application/json", &accounts().to_string());
    let answer = keyward.get("/api/v2/accounts/", &key.secret);
    assert_eq!((answer.status, answer.json()["data"].as_array().unwrap().len()), (500, 1));
    for (head, body) in [
        ("503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: 9", "<p>account 102</p>"),
        ("503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 9", "{\"data\":{\"id\":102}}"),
        ("503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 9", "{\"data\":[{}]}"),
    ] {
        script.says(head, body);
        let answer = keyward.get("/api/v2/accounts/", &key.secret);
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.header("retry-after")),
            (503, "", Some("9")),
            "{head}"
        );
        assert_eq!(answer.header("content-type"), None);
    }
}

#[test]
fn over_http2_answers_are_filtered_alike() {
    let listen = "[server]\nlisten = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\n";
    let (keyward, _origin, script, key) = started(listen);
    script.answers(&accounts());
    let requests = [
        ("GET", "/api/v2/accounts/", String::new()),
        ("HEAD", "/api/v2/accounts/", String::new()),
        ("POST", "/api/v2/accounts/", "{}".to_owned()),
        ("GET", "/api/v2/whoami/", String::new()),
    ];
    let answers = over_http2(&keyward, &key, &requests);
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 200, 502]);
    for (_, body) in [&answers[0], &answers[2]] {
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["data"], json!([{"id": 101, "name": "Own", "run_slots": 1.5}]));
    }
    assert!(answers[1].1.is_empty());
}

#[test]
fn a_connection_to_the_service_is_used_again_after_an_answer_that_was_filtered() {
    let (keyward, origin, script, key) = started("[server]\nworkers = 1\n");
    script.answers(&accounts());
    let mut wire = keyward.wire();
    for _ in 0..3 {
        assert_eq!(ids(&wire.get("/api/v2/accounts/", &key.secret)), [101]);
    }
    assert_eq!(origin.seen().connections, 1);
    // A route without a filter passes everything, as before.
    assert_eq!(wire.get("/else", &key.secret).json(), accounts());
}

#[test]
fn head_tells_of_another_accounts_object_what_get_tells() {
    let (keyward, origin, script, key) = started("");
    let authorization = format!("Token {}", key.secret);
    let ask = |method: &str, path: &str| keyward.wire().ask(method, path, &[("Authorization", authorization.as_str())]);
    for (body, status) in [
        (json!({"data": {"id": 1, "account_id": 101}}), 200),
        (json!({"data": {"id": 1, "account_id": 102}}), 404),
        (json!({"data": {"id": 1}}), 502),
    ] {
        script.answers(&body);
        let (get, head) = (ask("GET", "/api/v2/licenses/1"), ask("HEAD", "/api/v2/licenses/1"));
        assert_eq!((get.status, head.status, head.text().as_str()), (status, status, ""), "{body}");
        assert!(origin.last().starts_with("GET "), "what is not judged cannot be told of");
    }
}

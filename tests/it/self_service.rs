//! What holders of keys ask about what is theirs, on the clients' listener, below a path of the settings.

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, keyward};

/// A keyward with two accounts, two users and self-service below `/keyward`, and its origin.
struct Desk {
    keyward: Keyward,
    origin: Origin,
}

fn desk() -> Desk {
    desk_with("")
}

fn desk_with(more: &str) -> Desk {
    let origin = Origin::plain();
    let keyward = keyward()
        .upstream(origin.url())
        .config(format!("[self_service]\npath = \"/keyward\"\n{more}[keys]\nper_holder = 0\n"))
        .start();
    for account in ["101", "102"] {
        keyward.account(account);
    }
    for (user, permissions) in [("paul", ["jobs:*", "users:read"]), ("anna", ["jobs:run", "keys:manage"])] {
        keyward.cli(&["user", "create", user]);
        for account in ["101", "102"] {
            let [one, other] = permissions;
            let place = ["member", "add", "--account", account, "--user", user];
            keyward.cli(&[&place[..], &["--permission", one, "--permission", other]].concat());
        }
    }
    Desk { keyward, origin }
}

impl Desk {
    fn personal_key(&self, account: &str, user: &str, more: &[&str]) -> Minted {
        let owner = ["--kind", "personal", "--account", account, "--user", user];
        self.keyward.mint(&[&owner[..], more].concat())
    }

    fn ask(&self, secret: &str, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (authorization, length) = (format!("Bearer {secret}"), body.len().to_string());
        let mut headers = vec![("Authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.extend([("Content-Type", "application/json"), ("Content-Length", length.as_str())]);
        }
        let mut wire = Wire::connect(self.keyward.address());
        wire.send(head(method, &format!("/keyward{path}"), &headers) + &body);
        let answer = wire.answer(method);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert!(answer.header("x-request-id").is_some(), "{method} {path}");
        answer
    }

    /// The status, and the code of a refusal.
    fn said(&self, secret: &str, method: &str, path: &str, body: Value) -> (u16, String) {
        let answer = self.ask(secret, method, path, body);
        let code = if answer.status < 400 { String::new() } else { text(&answer.json()["code"]) };
        (answer.status, code)
    }

    fn made(&self, secret: &str, body: Value) -> Minted {
        let answer = self.ask(secret, "POST", "/v1/keys", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = answer.json();
        let minted = Minted { id: text(&made["key"]["id"]), secret: text(&made["secret"]) };
        assert_eq!(answer.header("location"), Some(format!("/keyward/v1/keys/{}", minted.id).as_str()));
        minted
    }

    fn listed(&self, secret: &str, query: &str) -> Vec<String> {
        let answer = self.ask(secret, "GET", &format!("/v1/keys{query}"), Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["keys"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect()
    }

    /// What clients are answered in account 101 with this secret.
    fn passed(&self, secret: &str) -> u16 {
        self.keyward.get("/accounts/101/jobs", secret).status
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

#[test]
fn a_holder_lists_makes_rotates_and_ends_what_is_theirs() {
    let desk = desk();
    let first = desk.personal_key("101", "paul", &[]);
    let foreign = [desk.personal_key("102", "paul", &[]), desk.personal_key("101", "anna", &[])];
    let second = desk.made(&first.secret, json!({"name": "laptop", "scopes": ["jobs:run"]}));
    assert_eq!(desk.listed(&first.secret, ""), [first.id.as_str(), &second.id]);
    assert_eq!(desk.passed(&second.secret), 200);
    assert_eq!(desk.ask(&second.secret, "GET", "/v1/whoami", Value::Null).json()["key"]["id"], second.id);
    let rotated = desk.ask(&second.secret, "POST", "/v1/keys/self/rotate", Value::Null);
    assert_eq!(rotated.status, 201);
    let newest = text(&rotated.json()["secret"]);
    assert_eq!((desk.passed(&second.secret), desk.passed(&newest)), (401, 200));
    for other in &foreign {
        for (method, path) in
            [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/rotation/cancel")]
        {
            let body = if method == "PATCH" { json!({"status": "disabled"}) } else { Value::Null };
            let said = desk.said(&first.secret, method, &format!("/v1/keys/{}{path}", other.id), body);
            assert_eq!(said, (404, "API_KEY_NOT_FOUND".into()), "{method} {path}");
        }
    }
    let told = |id: &str| {
        let mut said = desk.ask(&first.secret, "GET", &format!("/v1/keys/{id}"), Value::Null).json();
        for member in ["request_id", "instance"] {
            said[member] = Value::Null;
        }
        said
    };
    assert_eq!(told(&foreign[0].id), told("key_none"), "nobody is told which ids there are");
    assert_eq!(desk.said(&first.secret, "DELETE", &format!("/v1/keys/{}", second.id), Value::Null).0, 200);
    assert_eq!(desk.passed(&newest), 401);
    // Nothing of it reached the origin, and no secret ever does.
    assert!(desk.origin.seen().heads.iter().all(|head| !head.contains("/keyward") && !head.contains("kw_live")));
}

#[test]
fn nobody_gets_a_key_that_can_do_more_than_their_own() {
    let desk = desk();
    let paul = desk.personal_key("101", "paul", &[]);
    let anna = desk.personal_key("101", "anna", &[]);
    let narrow = desk.made(&paul.secret, json!({"scopes": ["jobs:run"]}));
    let escalation = (403, "SCOPE_ESCALATION".to_owned());
    for wanted in [
        json!({"scopes": ["jobs:stop"]}),
        json!({"account_id": "102"}),
        json!({"user_id": "anna"}),
        json!({"kind": "service", "scopes": ["jobs:run"]}),
        json!({"kind": "user", "user_id": "paul"}),
        json!({"kind": "operator"}),
    ] {
        assert_eq!(desk.said(&narrow.secret, "POST", "/v1/keys", wanted.clone()), escalation, "{wanted}");
    }
    // A bound that is not named is inherited, so that it cannot be shed.
    let heir = desk.made(&narrow.secret, json!({}));
    let shown = desk.ask(&heir.secret, "GET", "/v1/whoami", Value::Null).json();
    assert_eq!(shown["key"]["scopes"], json!(["jobs:run"]));
    // To be shown the secret of a wider key is to become it.
    assert_eq!(desk.said(&narrow.secret, "POST", &format!("/v1/keys/{}/rotate", paul.id), Value::Null), escalation);
    assert_eq!(desk.passed(&paul.secret), 200);
    // Who manages the account's keys may make what they may do themselves, and no more.
    let made = desk.made(&anna.secret, json!({"kind": "service", "scopes": ["jobs:run"]}));
    assert_eq!(desk.passed(&made.secret), 200);
    assert_eq!(desk.said(&anna.secret, "POST", "/v1/keys", json!({"kind": "service", "scopes": ["*"]})), escalation);
    assert_eq!(
        desk.said(&anna.secret, "POST", "/v1/keys", json!({"user_id": "paul", "scopes": ["jobs:*"]})),
        escalation
    );
    let made = desk.made(&anna.secret, json!({"user_id": "paul"}));
    let shown = desk.ask(&made.secret, "GET", "/v1/whoami", Value::Null).json();
    assert_eq!(shown["key"]["scopes"], json!(["jobs:run"]), "what both may now, and no more later");
    assert_eq!(desk.said(&anna.secret, "POST", &format!("/v1/keys/{}/rotate", paul.id), Value::Null), escalation);
    assert!(desk.listed(&anna.secret, "?owner=account").contains(&paul.id));
    assert_eq!(desk.said(&paul.secret, "GET", "/v1/keys?owner=account", Value::Null).1, "SCOPE_INSUFFICIENT");
    assert_eq!(desk.said(&anna.secret, "DELETE", &format!("/v1/keys/{}", paul.id), Value::Null).0, 200);
    assert_eq!((desk.passed(&paul.secret), desk.passed(&narrow.secret)), (401, 200));
}

#[test]
fn a_legacy_key_makes_personal_keys_for_each_account_of_its_user() {
    let desk = desk();
    let legacy = desk.keyward.mint(&["--kind", "user", "--user", "paul"]);
    assert_eq!(desk.said(&legacy.secret, "POST", "/v1/keys", json!({})).0, 403, "in which account is not said");
    let own = ["101", "102"].map(|account| desk.made(&legacy.secret, json!({"account_id": account})));
    for (key, account, other) in [(&own[0], "101", "102"), (&own[1], "102", "101")] {
        let status = |account: &str| desk.keyward.get(&format!("/accounts/{account}/jobs"), &key.secret).status;
        assert_eq!((status(account), status(other)), (200, 404));
        assert_eq!(desk.listed(&key.secret, ""), [key.id.as_str()], "blind to the other account");
    }
    assert_eq!(desk.listed(&legacy.secret, ""), [legacy.id.as_str(), &own[0].id, &own[1].id]);
    assert_eq!(desk.said(&own[0].secret, "POST", &format!("/v1/keys/{}/rotate", legacy.id), Value::Null).0, 404);
    desk.keyward.cli(&["member", "remove", "--account", "102", "--user", "paul"]);
    assert_eq!(desk.listed(&legacy.secret, ""), [legacy.id.as_str(), &own[0].id]);
}

#[test]
fn rule_4_a_superseded_secret_reads_the_api_and_manages_nothing() {
    let desk = desk();
    let key = desk.personal_key("101", "paul", &[]);
    let grace = json!({"mode": "grace", "grace_seconds": 3600});
    assert_eq!(desk.said(&key.secret, "POST", "/v1/keys/self/rotate", grace).0, 201);
    assert_eq!(desk.passed(&key.secret), 200);
    let superseded = (403, "API_KEY_SUPERSEDED".to_owned());
    for (method, path) in
        [("POST", "/v1/keys/self/rotate"), ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/nothing")]
    {
        assert_eq!(desk.said(&key.secret, method, path, Value::Null), superseded, "{method} {path}");
    }
}

#[test]
fn rule_5_an_expired_key_cannot_rotate_itself() {
    let desk = desk();
    let key = desk.personal_key("101", "paul", &["--expires-in", "1s"]);
    crate::support::eventually("it has expired", || desk.passed(&key.secret) == 401);
    let said = desk.said(&key.secret, "POST", "/v1/keys/self/rotate", Value::Null);
    assert_eq!(said, (401, "API_KEY_EXPIRED".into()));
}

#[test]
fn every_row_refuses_no_caller_a_wrong_caller_and_an_operator() {
    let desk = desk();
    let operator = desk.keyward.stderr.expect("kw_live_").trim().to_owned();
    let wrong = format!("kw_live_{}", "a".repeat(50));
    let rows = [
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/whoami"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/keys/self"),
        ("PATCH", "/v1/keys/self"),
        ("DELETE", "/v1/keys/self"),
        ("POST", "/v1/keys/self/rotate"),
        ("POST", "/v1/keys/self/rotation/complete"),
        ("POST", "/v1/keys/self/rotation/cancel"),
        ("GET", "/v1/accounts"),
        ("GET", "/v1"),
        ("GET", ""),
    ];
    for (method, path) in rows {
        assert_eq!(desk.said(&wrong, method, path, Value::Null), (401, "API_KEY_INVALID".into()), "{method} {path}");
        assert_eq!(desk.said(&operator, method, path, Value::Null), (403, "SCOPE_INSUFFICIENT".into()));
        let mut wire = Wire::connect(desk.keyward.address());
        wire.send(head(method, &format!("/keyward{path}"), &[]));
        let answer = wire.answer(method);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("API_KEY_REQUIRED")));
        assert_eq!(answer.all("www-authenticate"), ["Bearer realm=\"keyward\"", "Token realm=\"keyward\""]);
    }
    let key = desk.personal_key("101", "paul", &[]);
    for (method, path, status) in [("GET", "/v1/accounts", 404), ("GET", "", 404), ("PUT", "/v1/keys", 405)] {
        assert_eq!(desk.said(&key.secret, method, path, Value::Null).0, status, "{method} {path}");
    }
    assert!(desk.origin.seen().heads.is_empty(), "whatever is below the path is keyward's");
}

#[test]
fn a_network_that_binds_a_key_binds_what_it_makes() {
    let desk = desk();
    let bound = desk.personal_key("101", "paul", &["--allow-ip", "127.0.0.0/8"]);
    let heir = desk.made(&bound.secret, json!({}));
    let shown = desk.ask(&heir.secret, "GET", "/v1/whoami", Value::Null).json();
    assert_eq!(shown["key"]["allowed_ips"], json!(["127.0.0.0/8"]));
    for wider in ["0.0.0.0/0", "10.0.0.0/8"] {
        let said = desk.said(&bound.secret, "POST", "/v1/keys", json!({"allowed_ips": [wider]}));
        assert_eq!(said, (403, "SCOPE_ESCALATION".into()), "{wider}");
    }
    desk.made(&bound.secret, json!({"allowed_ips": ["127.0.0.1/32"]}));
}

#[test]
fn a_holder_changes_what_is_theirs_to_less_and_makes_nothing_last_that_could_not_be_made_anew() {
    let desk = desk();
    let paul = desk.personal_key("101", "paul", &["--expires-in", "10d"]);
    let service = desk.keyward.service_key("101", &["--expires-in", "10d"]);
    let change = |secret: &str, body: Value| desk.said(secret, "PATCH", "/v1/keys/self", body);
    let escalation = (403, "SCOPE_ESCALATION".to_owned());
    assert_eq!(change(&paul.secret, json!({"name": "ci", "scopes": ["jobs:run"]})).0, 200);
    assert_eq!(change(&paul.secret, json!({"scopes": ["jobs:*"]})), escalation, "narrowed is narrowed");
    assert_eq!(
        change(&paul.secret, json!({"expires_in": 3_000_000})).0,
        200,
        "another key could be made that lasts so long"
    );
    assert_eq!(change(&service.secret, json!({"expires_in": 3_000_000})), escalation);
    assert_eq!(change(&service.secret, json!({"expires_at": null})), escalation);
    let rotate = json!({"expires_in": 3_000_000});
    assert_eq!(desk.said(&service.secret, "POST", "/v1/keys/self/rotate", rotate), escalation);
    assert_eq!(change(&service.secret, json!({"expires_in": 60})).0, 200);
    assert_eq!(desk.passed(&service.secret), 200);
}

#[test]
fn a_list_of_what_is_theirs_is_held_to_its_filters_and_goes_on_behind_what_is_not() {
    let desk = desk();
    let legacy = desk.keyward.mint(&["--kind", "user", "--user", "paul"]);
    for _ in 0..3 {
        desk.personal_key("102", "paul", &[]);
    }
    let own = [(); 2].map(|()| desk.personal_key("101", "paul", &[]));
    desk.keyward.cli(&["member", "remove", "--account", "102", "--user", "paul"]);
    let (mut listed, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = desk.ask(&legacy.secret, "GET", &format!("/v1/keys{query}"), Value::Null).json();
        listed.extend(page["keys"].as_array().unwrap().iter().map(|key| text(&key["id"])));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(listed, [legacy.id.as_str(), &own[0].id, &own[1].id]);
    let service = desk.keyward.service_key("101", &[]);
    for (secret, query) in [
        (&legacy.secret, "?user=anna"),
        (&own[0].secret, "?user=anna"),
        (&own[0].secret, "?account=102"),
        (&own[0].secret, "?kind=user"),
        (&own[0].secret, "?status=revoked"),
        (&service.secret, "?kind=personal"),
        (&service.secret, "?account=102"),
        (&service.secret, "?status=revoked"),
        (&service.secret, "?user=paul"),
    ] {
        assert_eq!(desk.listed(secret, query), [""; 0], "{query}");
    }
    assert_eq!(desk.listed(&service.secret, "?kind=service&account=101&status=active"), [service.id.as_str()]);
}

#[test]
fn a_holder_may_ask_for_so_many_changes_in_a_minute_with_all_their_keys_and_reads_go_on() {
    let desk = desk_with("changes_per_minute = 2\n");
    let paul = desk.personal_key("101", "paul", &[]);
    let also = desk.personal_key("102", "paul", &[]);
    let anna = desk.personal_key("101", "anna", &[]);
    desk.made(&paul.secret, json!({}));
    desk.made(&also.secret, json!({}));
    let limited = desk.ask(&paul.secret, "POST", "/v1/keys/self/rotate", Value::Null);
    assert_eq!((limited.status, limited.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(limited.header("retry-after"), Some("60"));
    assert_eq!(desk.listed(&paul.secret, "").len(), 2, "nothing was done, and reads are no changes");
    assert_eq!(desk.keyward.metric("keyward_self_service_limited_total"), 1);
    desk.made(&anna.secret, json!({}));
    assert_eq!(desk.passed(&paul.secret), 200, "the API is another matter");
}

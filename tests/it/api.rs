//! The native API over a real keyward: what an operator does with it holds on the clients' listener when it answers.

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::{Answer, Keyward, Origin, Wire, keyward};

/// A keyward, its origin, and the operator key that its first start printed.
struct Desk {
    keyward: Keyward,
    _origin: Origin,
    operator: String,
}

fn desk() -> Desk {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    Desk { keyward, _origin: origin, operator }
}

impl Desk {
    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let (authorization, length) = (format!("Bearer {}", self.operator), body.len().to_string());
        let mut headers = vec![("Authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.extend([("Content-Type", "application/json"), ("Content-Length", length.as_str())]);
        }
        headers.extend(more);
        let mut wire = Wire::connect(self.keyward.admin());
        wire.send(head(method, path, &headers) + body);
        let answer = wire.answer(method);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        answer
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Asks for what must be done, and gives what it came to.
    fn done(&self, method: &str, path: &str, body: Value, status: u16) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, &[], &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer
    }

    /// A service key of account 101: its id and its secret.
    fn minted(&self) -> (String, String) {
        let made = self.done("POST", "/v1/keys", json!({"account_id": "101", "name": "ci"}), 201).json();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    /// What clients are answered with this secret.
    fn passed(&self, secret: &str) -> u16 {
        self.keyward.get("/", secret).status
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

fn desk_with_account() -> Desk {
    let desk = desk();
    desk.done("POST", "/v1/accounts", json!({"id": "101"}), 201);
    desk
}

#[test]
fn a_key_is_made_switched_off_and_on_rotated_and_revoked_and_each_holds_when_it_is_answered() {
    let desk = desk_with_account();
    let made = desk.done("POST", "/v1/keys", json!({"account_id": "101", "name": "ci", "expires_in": 3600}), 201);
    let (id, first) = (text(&made.json()["key"]["id"]), text(&made.json()["secret"]));
    assert_eq!(made.header("location"), Some(format!("/v1/keys/{id}").as_str()));
    let path = format!("/v1/keys/{id}");
    assert_eq!(desk.passed(&first), 200);
    desk.done("PATCH", &path, json!({"status": "disabled"}), 200);
    assert_eq!(desk.passed(&first), 403);
    desk.done("PATCH", &path, json!({"status": "active"}), 200);
    assert_eq!(desk.passed(&first), 200);

    let second = text(&desk.done("POST", &format!("{path}/rotate"), Value::Null, 201).json()["secret"]);
    assert_eq!((desk.passed(&first), desk.passed(&second)), (401, 200));
    let rotated = desk.done("POST", &format!("{path}/rotate"), json!({"mode": "grace", "grace_seconds": 3600}), 201);
    let third = text(&rotated.json()["secret"]);
    assert_eq!(rotated.json()["key"]["rotation"]["state"], "grace");
    assert_eq!((desk.passed(&second), desk.passed(&third)), (200, 200));
    let again = desk.send("POST", &format!("{path}/rotate"), &[], r#"{"mode":"grace","grace_seconds":60}"#);
    assert_eq!((again.status, again.code().as_str()), (409, "ROTATION_IN_PROGRESS"));
    desk.done("POST", &format!("{path}/rotation/complete"), Value::Null, 200);
    assert_eq!((desk.passed(&second), desk.passed(&third)), (401, 200));

    let verdict = |secret: &str| desk.done("POST", "/v1/verify", json!({"secret": secret}), 200).json();
    assert_eq!(verdict(&third), json!({"valid": true, "code": "VALID"}));
    let revoked = desk.done("DELETE", &path, Value::Null, 200).json();
    assert_eq!(revoked["key"]["status"], "revoked");
    assert_eq!(desk.passed(&third), 401);
    assert_eq!(verdict(&third), json!({"valid": false, "code": "API_KEY_INVALID"}));
    assert_eq!(desk.done("DELETE", &path, Value::Null, 200).json(), revoked);
    for (method, path, body) in
        [("PATCH", path.clone(), r#"{"status":"active"}"#), ("POST", format!("{path}/rotate"), "")]
    {
        let refused = desk.send(method, &path, &[], body);
        assert_eq!((refused.status, refused.code().as_str()), (409, "API_KEY_STATE_CONFLICT"));
    }
}

#[test]
fn a_secret_is_shown_once_and_stands_in_no_log() {
    let desk = desk_with_account();
    let (id, secret) = desk.minted();
    desk.done("POST", "/v1/verify", json!({"secret": secret}), 200);
    let rotated =
        text(&desk.done("POST", &format!("/v1/keys/{id}/rotate"), json!({"mode": "first_use"}), 201).json()["secret"]);
    for path in [format!("/v1/keys/{id}"), "/v1/keys".to_owned(), "/v1/whoami".to_owned()] {
        let shown = desk.get(&path).text();
        assert!(![&secret, &rotated, &desk.operator].iter().any(|secret| shown.contains(secret.as_str())), "{path}");
    }
    // Told of, by its key and its route.
    desk.keyward.stderr.expect("/v1/keys/{key}/rotate");
    let said = [desk.keyward.stdout.all(), desk.keyward.stderr.all()].concat();
    assert!(!said.iter().any(|line| line.contains(&secret) || line.contains(&rotated)), "{said:#?}");
    assert_eq!(said.iter().filter(|line| line.contains(&desk.operator)).count(), 1, "the first start prints it");
}

#[test]
fn pages_have_every_key_once_whatever_is_made_meanwhile() {
    let desk = desk_with_account();
    let ids: Vec<String> = (0..5).map(|_| desk.minted().0).collect();
    let (mut seen, mut path) = (Vec::new(), "/v1/keys?account=101&limit=2".to_owned());
    loop {
        let page = desk.get(&path).json();
        let keys = page["keys"].as_array().unwrap();
        assert!(keys.len() <= 2);
        seen.extend(keys.iter().map(|key| text(&key["id"])));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/keys?account=101&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    desk.done("DELETE", &format!("/v1/keys/{}", ids[3]), Value::Null, 200);
    let revoked = desk.get("/v1/keys?status=revoked").json();
    assert_eq!((revoked["keys"].as_array().unwrap().len(), text(&revoked["keys"][0]["id"])), (1, ids[3].clone()));
    let operators = desk.get("/v1/keys?kind=operator").json();
    assert_eq!(operators["keys"][0]["owner"], Value::Null);
    // The command line sees the same.
    assert_eq!(desk.keyward.json(&["key", "list", "--status", "revoked"])["keys"][0]["id"], ids[3].as_str());
}

#[test]
fn a_tag_says_whether_a_key_is_still_as_it_was_seen() {
    let desk = desk_with_account();
    let (id, _) = desk.minted();
    let path = format!("/v1/keys/{id}");
    let seen = desk.get(&path).header("etag").unwrap().to_owned();
    let same = desk.send("GET", &path, &[("If-None-Match", &seen)], "");
    assert_eq!((same.status, same.header("etag")), (304, Some(seen.as_str())));
    let disable = r#"{"status":"disabled"}"#;
    assert_eq!(desk.send("PATCH", &path, &[("If-Match", &seen)], disable).status, 200);
    for (method, path, body) in [
        ("PATCH", path.clone(), r#"{"status":"active"}"#),
        ("DELETE", path.clone(), ""),
        ("POST", format!("{path}/rotate"), ""),
    ] {
        let late = desk.send(method, &path, &[("If-Match", &seen)], body);
        assert_eq!((late.status, late.code().as_str()), (412, "PRECONDITION_FAILED"), "{method} {path}");
    }
    let now = desk.send("GET", &path, &[("If-None-Match", &seen)], "");
    assert_eq!(
        (now.status, &now.json()["key"]["status"], &now.json()["key"]["generation"]),
        (200, &json!("disabled"), &json!(1))
    );
}

#[test]
fn of_two_who_rotate_at_once_one_is_told_so() {
    let desk = desk_with_account();
    let (id, _) = desk.minted();
    let path = format!("/v1/keys/{id}/rotate");
    let (mut won, mut last) = (0, Vec::new());
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| desk.send("POST", &path, &[], ""))).collect();
        for racer in racers {
            let answer = racer.join().unwrap();
            match answer.status {
                201 => {
                    won += 1;
                    last.push(text(&answer.json()["secret"]));
                }
                409 => assert_eq!(answer.code(), "ROTATION_CONFLICT"),
                other => panic!("{other}: {}", answer.text()),
            }
        }
    });
    let key = desk.get(&format!("/v1/keys/{id}")).json();
    assert_eq!(key["key"]["generation"], json!(1 + won), "each that was told 201 gave it another secret");
    assert_eq!(last.iter().filter(|secret| desk.passed(secret) == 200).count(), 1);
}

#[test]
fn a_membership_that_ends_takes_the_users_personal_keys_with_it() {
    let desk = desk_with_account();
    desk.done("POST", "/v1/users", json!({"id": "paul@example.com"}), 201);
    let place = "/v1/accounts/101/members/paul%40example.com";
    desk.done("PUT", place, json!({"permissions": ["jobs:run"]}), 200);
    let wanted = json!({"kind": "personal", "account_id": "101", "user_id": "paul@example.com"});
    let secret = text(&desk.done("POST", "/v1/keys", wanted, 201).json()["secret"]);
    assert_eq!(desk.passed(&secret), 200);
    assert_eq!(desk.get("/v1/accounts/101/members").json()["members"][0]["permissions"], json!(["jobs:run"]));
    desk.done("DELETE", place, Value::Null, 200);
    assert_eq!(desk.passed(&secret), 401);
    let gone = desk.send("DELETE", place, &[], "");
    assert_eq!((gone.status, gone.code().as_str()), (404, "MEMBER_NOT_FOUND"));

    let (_, service) = desk.minted();
    desk.done("PATCH", "/v1/accounts/101", json!({"status": "suspended"}), 200);
    assert_eq!(desk.passed(&service), 403);
    desk.done("PATCH", "/v1/accounts/101", json!({"status": "active"}), 200);
    assert_eq!(desk.passed(&service), 200);
}

#[test]
fn whoever_watches_a_key_by_its_tag_sees_every_step_of_its_rotation() {
    let desk = desk_with_account();
    let (id, _) = desk.minted();
    let path = format!("/v1/keys/{id}");
    let mut seen = desk.get(&path).header("etag").unwrap().to_owned();
    for (step, body) in [
        ("rotate", r#"{"mode":"grace","grace_seconds":3600}"#),
        ("rotation/complete", ""),
        ("rotate", r#"{"mode":"first_use"}"#),
        ("rotation/cancel", ""),
    ] {
        let done = desk.send("POST", &format!("{path}/{step}"), &[], body);
        assert!([200, 201].contains(&done.status), "{step}: {}", done.text());
        let now = desk.send("GET", &path, &[("If-None-Match", &seen)], "");
        assert_eq!((now.status, now.header("etag")), (200, done.header("etag")), "{step}");
        now.header("etag").unwrap().clone_into(&mut seen);
    }
    let running = desk.send("GET", &path, &[("If-None-Match", &seen)], "");
    assert_eq!(running.status, 304);
}

#[test]
fn a_patch_changes_what_it_says_and_only_what_was_seen() {
    let desk = desk_with_account();
    let (id, secret) = desk.minted();
    let path = format!("/v1/keys/{id}");
    let seen = desk.get(&path).header("etag").unwrap().to_owned();
    let changed = desk.send("PATCH", &path, &[("If-Match", &seen)], r#"{"name":"nightly","scopes":["jobs:run"]}"#);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let key = &changed.json()["key"];
    assert_eq!(
        (&key["name"], &key["scopes"], &key["status"]),
        (&json!("nightly"), &json!(["jobs:run"]), &json!("active"))
    );
    let late = desk.send("PATCH", &path, &[("If-Match", &seen)], r#"{"name":"late"}"#);
    assert_eq!((late.status, late.code().as_str()), (412, "PRECONDITION_FAILED"));
    desk.done("PATCH", &path, json!({"allowed_ips": ["192.0.2.0/24"]}), 200);
    assert_eq!(desk.passed(&secret), 403);
    desk.done("PATCH", &path, json!({"allowed_ips": [], "expires_in": 3600}), 200);
    assert_eq!(desk.passed(&secret), 200);
    let rotated = desk.done("POST", &format!("{path}/rotate"), json!({"name": "n", "expires_at": null}), 201).json();
    assert_eq!((&rotated["key"]["name"], &rotated["key"]["expires_at"]), (&json!("n"), &Value::Null));
    // The command line does the same.
    let shown =
        desk.keyward.json(&["key", "update", &id, "--name", "by hand", "--permission", "*", "--expires", "30d"]);
    assert_eq!((&shown["name"], &shown["permissions"]), (&json!("by hand"), &json!(["*"])));
    assert!(shown["expires_at"].is_string() && shown["version"].as_i64() > Some(1), "{shown}");
    assert!(desk.keyward.fails(&["key", "update", &id]).contains("nothing is said to change"));
}

#[test]
fn accounts_and_users_are_told_by_name_and_number_page_by_page() {
    let desk = desk();
    for id in ["a", "b", "c"] {
        desk.done("POST", "/v1/accounts", json!({"id": id, "name": format!("Account {id}")}), 201);
        desk.done("POST", "/v1/users", json!({"id": id, "email": format!("{id}@example.com")}), 201);
        desk.done("PUT", &format!("/v1/accounts/a/members/{id}"), json!({"licence": "developer"}), 200);
    }
    for (path, plural, id) in [
        ("/v1/accounts", "accounts", "id"),
        ("/v1/users", "users", "id"),
        ("/v1/accounts/a/members", "members", "user_id"),
    ] {
        let first = desk.get(&format!("{path}?limit=2")).json();
        let cursor = text(&first["next_cursor"]);
        let last = desk.get(&format!("{path}?limit=2&cursor={cursor}")).json();
        let ids = |page: &Value| page[plural].as_array().unwrap().iter().map(|one| text(&one[id])).collect::<Vec<_>>();
        assert_eq!(
            (ids(&first), ids(&last), &last["next_cursor"]),
            (vec!["a".into(), "b".into()], vec!["c".into()], &Value::Null)
        );
    }
    let account = desk.done("PATCH", "/v1/accounts/b", json!({"name": "Bee"}), 200).json();
    assert_eq!((&account["account"]["name"], &account["account"]["serial"]), (&json!("Bee"), &json!(2)));
    desk.done("PATCH", "/v1/users/b", json!({"name": "Bea", "email": null}), 200);
    let user = desk.get("/v1/users/b").json()["user"].clone();
    assert_eq!((&user["name"], &user["email"], &user["serial"]), (&json!("Bea"), &Value::Null, &json!(2)));
    let unchanged = desk.done("PUT", "/v1/accounts/a/members/b", json!({}), 200).json();
    assert_eq!(unchanged["member"]["licence"], "developer");
    // The command line says the same.
    let line = |arguments: &[&str]| desk.keyward.cli(arguments);
    assert_eq!(line(&["account", "update", "b", "--name", ""]).trim(), "account b is active");
    assert_eq!(
        line(&["user", "update", "b", "--email", "b@example.org"]).trim(),
        "user b, called Bea, is there, with mail to b@example.org"
    );
    line(&["member", "add", "--account", "a", "--user", "b", "--licence", ""]);
    let members = desk.keyward.json(&["member", "list", "--account", "a"]);
    assert_eq!(
        (&members["members"][1]["licence"], &members["members"][2]["licence"]),
        (&Value::Null, &json!("developer"))
    );
}

#[test]
fn what_holders_are_held_to_is_told_with_its_bound() {
    let origin = Origin::plain();
    let settings = "[keys]\ndeveloper_licences = [\"developer\"]\nper_holder = 1\nexpiry_max = \"30d\"\n";
    let keyward = keyward().upstream(origin.url()).config(settings).start();
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    let desk = Desk { keyward, _origin: origin, operator };
    desk.done("POST", "/v1/accounts", json!({"id": "101"}), 201);
    desk.done("POST", "/v1/users", json!({"id": "paul"}), 201);
    let place = "/v1/accounts/101/members/paul";
    desk.done("PUT", place, json!({}), 200);
    let mint = |days: u32| {
        let seconds = days * 86_400;
        let body = json!({"kind": "personal", "account_id": "101", "user_id": "paul", "expires_in": seconds});
        desk.send("POST", "/v1/keys", &[], &body.to_string())
    };
    let unlicensed = mint(7);
    assert_eq!((unlicensed.status, unlicensed.code().as_str()), (409, "LICENCE_REQUIRED"));
    desk.done("PUT", place, json!({"licence": "developer"}), 200);
    let long = mint(31);
    assert_eq!(
        (long.status, long.code().as_str(), &long.json()["max_seconds"]),
        (422, "EXPIRY_TOO_LONG", &json!(2_592_000))
    );
    let secret = text(&mint(30).json()["secret"]);
    let full = mint(7);
    assert_eq!((full.status, full.code().as_str(), &full.json()["limit"]), (409, "API_KEY_LIMIT_REACHED", &json!(1)));
    assert_eq!(desk.passed(&secret), 200);
    desk.done("PUT", place, json!({"licence": "viewer"}), 200);
    assert_eq!(desk.passed(&secret), 401);
}

#[test]
fn methods_are_told_and_head_is_get_without_a_body() {
    let desk = desk();
    let head = desk.send("HEAD", "/v1/keys", &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length").unwrap(), desk.get("/v1/keys").body.len().to_string());
    let options = desk.send("OPTIONS", "/v1/keys", &[], "");
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, POST, HEAD, OPTIONS")));
    let other = desk.send("DELETE", "/v1/keys", &[], "");
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, POST, HEAD, OPTIONS")));
    assert_eq!(desk.get("/v1/nothing").code(), "ROUTE_NOT_FOUND");
    // Not on the clients' listener, and an operator key opens nothing there.
    assert_eq!(desk.keyward.get("/v1/keys", &desk.operator).status, 403);
    assert_eq!(desk.get("/v1/openapi.json").json()["openapi"], "3.1.0");
}

#[test]
fn a_reset_replaces_the_operator_at_once() {
    let desk = desk();
    let new = text(&desk.keyward.json(&["operator", "reset"])["secret"]);
    let refused = desk.get("/v1/whoami");
    assert_eq!((refused.status, refused.code().as_str()), (401, "API_KEY_INVALID"));
    assert_eq!(refused.all("www-authenticate").len(), 2);
    let desk = Desk { operator: new, ..desk };
    assert_eq!(desk.get("/v1/whoami").json()["key"]["kind"], "operator");
}

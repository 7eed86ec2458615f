//! dbt Cloud's API about tokens: every exchange of the fixtures, who may ask what, and what goes on to the origin.

use serde_json::{Value, json};

use super::exchange::{Known, know, play};
use crate::support::http::head;
use crate::support::keyward::Setup;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, keyward};

/// A keyward that speaks the dialect, the accounts, users and tokens of the fixtures, and its origin.
pub(super) struct World {
    pub(super) keyward: Keyward,
    pub(super) origin: Origin,
    known: Known,
}

/// `more` is what else the dialect's settings say.
fn world(more: &str) -> World {
    world_of(keyward(), Origin::plain(), more)
}

pub(super) fn world_of(setup: Setup, origin: Origin, more: &str) -> World {
    let keyward = setup.config(settings(&origin.url(), more)).start();
    for (account, name) in [("101", "Spice Harvesting Account"), ("102", "Guild Navigator Account")] {
        keyward.cli(&["account", "create", account, "--name", name]);
    }
    keyward.cli(&["user", "create", "7", "--email", "paul.atreides@example.com"]);
    keyward.cli(&["user", "create", "8"]);
    let anna = ["keys:manage", "job_admin", "job_viewer", "job_viewer:*"];
    for (user, account, permissions) in
        [("7", "101", &["jobs:*"][..]), ("7", "102", &["jobs:*"]), ("8", "101", &anna[..])]
    {
        let place = ["member", "add", "--account", account, "--user", user];
        let permissions: Vec<_> = permissions.iter().flat_map(|permission| ["--permission", permission]).collect();
        keyward.cli(&[&place[..], &permissions].concat());
    }
    let mut world = World { keyward, origin, known: Known::new() };
    world.key("legacy", &["--kind", "user", "--user", "7"]);
    world.key("paul", &["--kind", "personal", "--account", "101", "--user", "7"]);
    world.key("anna", &["--kind", "personal", "--account", "101", "--user", "8"]);
    world.key("robot", &["--kind", "service", "--account", "101", "--permission", "jobs:read"]);
    world
}

/// Routes as an API of this kind has them, and nothing else.
fn settings(origin: &str, more: &str) -> String {
    format!(
        "[dialects.dbt]\nenabled = true\n{more}\n[services.api]\nurl = {origin:?}\n\
         [[routes]]\npath = \"/api/v2/accounts/{{account}}/**\"\nmethods = [\"GET\"]\nservice = \"api\"\n\
         [[routes]]\npath = \"/api/v2/accounts/{{account}}/**\"\nservice = \"api\"\npermission = \"jobs:write\"\n\
         [[routes]]\npath = \"/api/v3/accounts/{{account}}/**\"\nservice = \"api\"\n\
         [[routes]]\npath = \"/api/v2/users/**\"\nservice = \"api\"\n\
         [[routes]]\npath = \"/api/v3/accounts/\"\nservice = \"api\"\n"
    )
}

impl World {
    fn key(&mut self, name: &str, arguments: &[&str]) -> Minted {
        let minted = self.keyward.mint(arguments);
        know(&mut self.known, name, &minted.secret);
        minted
    }

    pub(super) fn secret(&self, name: &str) -> &str {
        &self.known[&format!("{name}.secret")]
    }

    fn ask(&self, authorization: &str, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len().to_string();
        let mut headers = vec![("Authorization", authorization)];
        headers.retain(|(_, value)| !value.is_empty());
        if !body.is_empty() {
            headers.extend([("Content-Type", "application/json"), ("Content-Length", length.as_str())]);
        }
        let mut wire = Wire::connect(self.keyward.address());
        wire.send(head(method, path, &headers) + &body);
        wire.answer(method)
    }

    fn token(&self, name: &str, method: &str, path: &str, body: Value) -> Answer {
        self.ask(&format!("Token {}", self.secret(name)), method, path, body)
    }
}

/// The message of a refusal, in the one form that they all have.
fn refused(answer: &Answer) -> (u16, String) {
    let said = answer.json();
    let members: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["data", "status"], "{said}");
    assert_eq!(said["status"]["code"], answer.status, "{said}");
    assert_eq!(said["status"]["is_success"], false, "{said}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.status, said["status"]["user_message"].as_str().unwrap().to_owned())
}

const NOT_YOURS: &str = "The requested resource was not found. Please check that you have the proper permissions.";

#[test]
fn every_exchange_happens_as_it_was_written_down() {
    for (name, text, count) in [
        ("legacy-rotate", include_str!("../../fixtures/dialects/dbt/legacy-rotate.http"), 6),
        ("personal-tokens", include_str!("../../fixtures/dialects/dbt/personal-tokens.http"), 15),
        ("service-tokens", include_str!("../../fixtures/dialects/dbt/service-tokens.http"), 13),
        ("accounts", include_str!("../../fixtures/dialects/dbt/accounts.http"), 6),
        ("errors", include_str!("../../fixtures/dialects/dbt/errors.http"), 11),
    ] {
        let mut world = world("");
        if name == "errors" {
            let away = ["--account", "101", "--allow-ip", "10.0.0.0/8"];
            world.key("away", &[&["--kind", "personal", "--user", "7"], &away[..]].concat());
            world.key("abroad", &[&["--kind", "service"], &away[..]].concat());
            let off = world.key("off", &["--kind", "service", "--account", "101"]);
            world.keyward.cli(&["key", "suspend", &off.id]);
        }
        let address = world.keyward.address();
        assert_eq!(play(name, text, address, &mut world.known), count, "{name}");
        assert!(world.origin.seen().heads.is_empty(), "{name}: nothing of it is the origin's");
    }
}

#[test]
fn every_row_refuses_no_caller_a_wrong_caller_and_a_weak_caller() {
    let mut world = world("");
    let operator = world.keyward.stderr.expect("kw_live_").trim().to_owned();
    let wrong = format!("dbtu_{}", "a".repeat(50));
    let stranger = ["--kind", "service", "--account", "102"];
    world.key("stranger", &stranger);
    let made = world.token("anna", "POST", "/api/v3/accounts/101/service-tokens/", json!({"name": "nightly"})).json();
    let service = made["data"]["id"].to_string();
    let made = world.token("paul", "POST", "/api/v3/accounts/101/users/7/account-apikeys/", json!({"name": "x"}));
    let personal = made.json()["data"]["id"].to_string();
    let own = "/api/v3/accounts/101/users/7/account-apikeys";
    let services = "/api/v3/accounts/101/service-tokens";
    let rows = [
        ("GET", "/api/v2/accounts".to_owned(), None),
        ("GET", "/api/v3/accounts".into(), None),
        ("GET", "/api/v2/whoami".into(), None),
        ("POST", "/api/v2/users/7/apikey".into(), Some(["robot", "anna", "stranger"])),
        ("POST", "/api/v3/accounts/101/users/7/apikey".into(), Some(["robot", "anna", "stranger"])),
        ("GET", own.to_owned(), Some(["robot", "stranger", "stranger"])),
        ("POST", own.into(), Some(["robot", "stranger", "stranger"])),
        ("GET", format!("{own}/{personal}"), Some(["robot", "stranger", "stranger"])),
        ("POST", format!("{own}/{personal}"), Some(["robot", "anna", "stranger"])),
        ("DELETE", format!("{own}/{personal}"), Some(["robot", "stranger", "stranger"])),
        ("GET", services.into(), Some(["robot", "paul", "stranger"])),
        ("POST", services.into(), Some(["robot", "paul", "legacy"])),
        ("GET", format!("{services}/{service}"), Some(["robot", "paul", "legacy"])),
        ("PUT", format!("{services}/{service}"), Some(["robot", "paul", "stranger"])),
        ("DELETE", format!("{services}/{service}"), Some(["robot", "paul", "stranger"])),
        ("GET", format!("{services}/{service}/permissions"), Some(["robot", "paul", "stranger"])),
        ("POST", format!("{services}/{service}/permissions"), Some(["robot", "paul", "stranger"])),
    ];
    for (method, path, weak) in &rows {
        for path in [path.clone(), format!("{path}/")] {
            let body = match *method {
                "POST" | "PUT" => json!({"name": "x", "permission_grants": []}),
                _ => Value::Null,
            };
            let none = world.ask("", method, &path, body.clone());
            assert_eq!(refused(&none), (401, "Authentication credentials were not provided.".into()), "{path}");
            assert_eq!(none.all("www-authenticate"), ["Bearer realm=\"keyward\"", "Token realm=\"keyward\""]);
            let wrong = world.ask(&format!("Token {wrong}"), method, &path, body.clone());
            assert_eq!(refused(&wrong), (401, "Invalid token.".into()), "{path}");
            let operator = world.ask(&format!("Bearer {operator}"), method, &path, body.clone());
            assert_eq!(refused(&operator), (404, NOT_YOURS.into()), "{path}");
            for weak in weak.iter().flatten() {
                let weak = world.token(weak, method, &path, body.clone());
                assert_eq!(refused(&weak), (404, NOT_YOURS.into()), "{method} {path}");
            }
        }
    }
    // What was asked for so often is as it was.
    assert_eq!(world.token("paul", "GET", &format!("{own}/{personal}"), Value::Null).json()["data"]["state"], 1);
    assert_eq!(world.token("anna", "GET", &format!("{services}/{service}"), Value::Null).json()["data"]["state"], 1);
    assert!(world.origin.seen().heads.is_empty());
}

#[test]
fn a_superseded_secret_reads_the_api_and_is_an_invalid_token_to_who_asks_about_tokens() {
    let mut world = world("");
    let key = world.key("rotating", &["--kind", "personal", "--account", "101", "--user", "8"]);
    world.keyward.cli(&["key", "rotate", &key.id, "--grace", "1h"]);
    // What clients ask beside their work, to find their account or themselves, is no asking about tokens.
    for path in ["/api/v2/accounts/101/jobs/", "/api/v2/accounts/", "/api/v3/accounts/", "/api/v2/whoami/"] {
        assert_eq!(world.token("rotating", "GET", path, Value::Null).status, 200, "{path}");
    }
    let listed = world.token("rotating", "GET", "/api/v3/accounts/101/users/8/account-apikeys/", Value::Null);
    assert_eq!(refused(&listed), (401, "Invalid token.".into()));
}

#[test]
fn whoever_manages_an_accounts_tokens_sees_and_ends_those_of_others() {
    let world = world("");
    let path = "/api/v3/accounts/101/users/7/account-apikeys/";
    let listed = world.token("anna", "GET", path, Value::Null).json();
    let id = listed["data"][0]["id"].to_string();
    assert_eq!(world.token("anna", "DELETE", &format!("{path}{id}/"), Value::Null).status, 204);
    assert_eq!(refused(&world.token("paul", "GET", "/api/v2/whoami/", Value::Null)), (401, "Invalid token.".into()));
    // A token is in one drawer: its id opens no other.
    for other in ["/api/v3/accounts/101/users/8/account-apikeys/", "/api/v3/accounts/101/service-tokens/"] {
        let other = world.token("anna", "GET", &format!("{other}{id}/"), Value::Null);
        assert_eq!(refused(&other), (404, NOT_YOURS.into()));
    }
}

#[test]
fn the_list_of_accounts_may_be_gone_or_the_origins() {
    let world = self::world("accounts = \"gone\"");
    for path in ["/api/v2/accounts/", "/api/v3/accounts"] {
        let answer = world.token("paul", "GET", path, Value::Null);
        assert_eq!(refused(&answer), (410, "This endpoint is gone: a token belongs to one account.".into()));
        assert_eq!(answer.header("link"), Some("</api/v3/accounts/101/>; rel=\"successor-version\""));
        assert_eq!(world.token("legacy", "GET", path, Value::Null).header("link"), None);
    }
    let world = self::world("accounts = \"forwarded\"");
    assert_eq!(world.token("paul", "GET", "/api/v3/accounts/", Value::Null).text(), "ok");
    assert_eq!(refused(&world.token("paul", "GET", "/api/v2/whoami/", Value::Null)).0, 404, "no route names it");
}

#[test]
fn holders_of_legacy_tokens_are_told_that_these_and_the_old_endpoints_end() {
    let ends = "deprecated = \"2026-01-01T00:00:00Z\"\nsunset = \"2036-01-01T00:00:00Z\"\n";
    let world = world(&format!(
        "[gateway.user_keys]\n{ends}[services.none]\nurl = \"echo\"\n[[routes]]\npath = \"/api/v2/accounts/\"\n\
         service = \"none\"\n{ends}successor = \"/api/v3/accounts/{{account}}/\"\n"
    ));
    let ask = |name: &str, path: &str| world.token(name, "GET", path, Value::Null);
    let answer = ask("legacy", "/api/v2/accounts/");
    assert_eq!(answer.json()["extra"]["pagination"]["total_count"], 2);
    assert_eq!(answer.header("deprecation"), Some("@1767225600"));
    assert_eq!(answer.header("sunset"), Some("Tue, 01 Jan 2036 00:00:00 GMT"));
    let status = Some("deprecated; sunset=\"2036-01-01T00:00:00.000Z\"");
    assert_eq!((answer.header("keyward-key-status"), answer.header("link")), (status, None));
    // The token is told of wherever it is used, the endpoint to whoever uses it.
    let answer = ask("legacy", "/api/v2/whoami/");
    assert_eq!((answer.header("keyward-key-status"), answer.header("deprecation")), (status, None));
    let answer = ask("paul", "/api/v2/accounts/");
    assert_eq!((answer.header("keyward-key-status"), answer.header("deprecation")), (None, Some("@1767225600")));
    assert_eq!(answer.header("link"), Some("</api/v3/accounts/101/>; rel=\"successor-version\""));
}

#[test]
fn what_is_not_about_tokens_goes_on_to_the_origin() {
    let world = world("");
    for path in [
        "/api/v3/accounts/101/scim-config/tokens/",
        "/api/v3/accounts/101/ip-restrictions/",
        "/api/v2/accounts/101/jobs/5/",
        "/api/v2/accounts/101/",
        "/api/v2/users/7/",
    ] {
        assert_eq!(world.token("paul", "GET", path, Value::Null).text(), "ok", "{path}");
        assert!(world.origin.last().starts_with(&format!("GET {path} HTTP/1.1\r\n")));
    }
}

#[test]
fn a_body_that_makes_no_sense_is_refused_in_the_envelope() {
    let world = world("");
    let path = "/api/v3/accounts/101/service-tokens/";
    let authorization = format!("Token {}", world.secret("anna"));
    let send = |kind: &str, body: &str| {
        let length = body.len().to_string();
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", kind), ("Content-Length", &length)];
        let mut wire = world.keyward.wire();
        wire.send(head("POST", path, &headers) + body);
        refused(&wire.answer("POST"))
    };
    let form = "application/x-www-form-urlencoded";
    for (kind, body, status, message) in [
        ("application/json", "", 400, "missing field `name`"),
        ("application/json", "[]", 400, "Send one JSON object."),
        ("application/json", "{\"name\":", 400, "It cannot be read at line 1, column 8."),
        ("application/json; charset=utf-8", "{\"name\":7}", 400, "name: expected a string"),
        (
            "application/json",
            "{\"name\":\"a\",\"account_id\":\"102\"}",
            400,
            "account_id: it is another than in the path",
        ),
        (form, "name=a&name=b", 400, "name: stands more than once"),
        (form, "name=a&permission_grants=job_admin", 400, "permission_grants: write it as JSON"),
        (form, "name=a&metadata_only=yes", 400, "metadata_only: write it as JSON"),
        ("multipart/form-data", "name=a", 400, "The multipart body cannot be read."),
        ("multipart/form-data; boundary=b", "--b\r\nname", 400, "The multipart body cannot be read."),
        ("multipart/form-data; boundary=b", "--b\r\n\r\na\r\n--b--\r\n", 400, "The multipart body cannot be read."),
        ("text/plain", "a", 415, "Send JSON, a form or multipart."),
        (form, &format!("name={}", "a".repeat(64 * 1024)), 413, "At most 64 KiB are taken."),
        (form, &format!("name={}", "a".repeat(300)), 400, "a key's name is one line of at most 200 characters"),
    ] {
        assert_eq!(send(kind, body), (status, message.to_owned()), "{kind}: {}", &body[..body.len().min(40)]);
    }
}

#[test]
fn the_sets_that_stand_alone_are_granted_by_their_own_members() {
    let world = world("");
    world.keyward.cli(&["member", "add", "--account", "102", "--user", "7", "--permission", "*"]);
    let key = world.keyward.mint(&["--kind", "personal", "--account", "102", "--user", "7"]);
    let wanted = json!({"name": "metadata", "metadata_only": true, "state": 1, "id": null});
    let made =
        world.ask(&format!("Token {}", key.secret), "POST", "/api/v3/accounts/102/service-tokens", wanted).json();
    assert_eq!((&made["data"]["metadata_only"], &made["data"]["webhooks_only"]), (&json!(true), &json!(false)));
    assert_eq!(made["data"]["service_token_permissions"][0]["permission_set"], "metadata_only");
}

#[test]
fn at_another_host_nothing_of_it_is_spoken() {
    let world = world("hosts = [\"dbt.test\"]");
    let ask = |host: &str, path: &str| {
        let authorization = format!("Token {}", world.secret("paul"));
        let headers = [("Authorization", authorization.as_str()), ("Host", host)];
        world.keyward.wire().ask("GET", path, &headers)
    };
    assert_eq!(ask("dbt.test", "/api/v3/accounts/").json()["data"][0]["id"], 101);
    assert_eq!(ask("api.test", "/api/v3/accounts/").text(), "ok");
    assert_eq!(refused(&ask("dbt.test", "/api/v2/nothing")).0, 404);
    assert_eq!(ask("api.test", "/api/v2/nothing").code(), "ROUTE_NOT_FOUND");
}

#[test]
fn accounts_and_users_that_are_no_numbers_have_the_directorys() {
    let world = world("");
    world.keyward.account("acme");
    for (user, permission) in [("paul", "jobs:*"), ("anna", "*")] {
        world.keyward.cli(&["user", "create", user]);
        let place = ["member", "add", "--account", "acme", "--user", user, "--permission", permission];
        world.keyward.cli(&place);
    }
    let mint = |user: &str| world.keyward.mint(&["--kind", "personal", "--account", "acme", "--user", user]);
    let (paul, anna) = (mint("paul"), mint("anna"));
    let ask = |key: &Minted, path: &str| world.ask(&format!("Token {}", key.secret), "GET", path, Value::Null);
    let account = ask(&paul, "/api/v3/accounts/").json()["extra"]["filters"]["pk__in"][0].as_i64().unwrap();
    let user = ask(&paul, "/api/v2/whoami/").json()["data"]["user"]["id"].as_i64().unwrap();
    // By number or by id, and by who manages the account as well.
    for (account_named, user_named) in
        [(account.to_string(), user.to_string()), ("acme".into(), user.to_string()), ("acme".into(), "paul".into())]
    {
        let path = format!("/api/v3/accounts/{account_named}/users/{user_named}/account-apikeys/");
        for key in [&paul, &anna] {
            let listed = ask(key, &path).json();
            assert_eq!(
                (&listed["data"][0]["account_id"], &listed["data"][0]["user_id"]),
                (&json!(account), &json!(user))
            );
        }
    }
    // A user elsewhere is nobody here, and no other spelling is a number.
    for other in ["7".to_owned(), "999".to_owned(), format!("0{user}"), format!("+{user}")] {
        let answer = ask(&anna, &format!("/api/v3/accounts/acme/users/{other}/account-apikeys/"));
        assert_eq!(refused(&answer), (404, NOT_YOURS.into()), "{other}");
    }
}

#[test]
fn tokens_last_as_long_as_the_settings_say() {
    let world = world("expires_in = \"30d\"");
    let path = "/api/v3/accounts/101/users/7/account-apikeys/";
    let made = world.token("paul", "POST", path, json!({"name": "laptop"})).json();
    let days = |text: &Value| text.as_str().unwrap()[..10].parse::<jiff::civil::Date>().unwrap();
    let (made_at, expires_at) = (days(&made["data"]["created_at"]), days(&made["data"]["expires_at"]));
    assert_eq!((expires_at - made_at).get_days(), 30);
}

#[test]
fn a_user_has_as_many_tokens_as_they_may_and_no_more() {
    let world = world("");
    let path = "/api/v3/accounts/101/users/7/account-apikeys/";
    for name in ["second", "third"] {
        assert_eq!(world.token("paul", "POST", path, json!({"name": name})).status, 200);
    }
    let (status, message) = refused(&world.token("paul", "POST", path, json!({"name": "fourth"})));
    assert_eq!(status, 400);
    assert!(message.contains("may have 3"), "{message}");
}

#[test]
fn of_two_rotations_of_the_same_token_one_finds_its_own_dead() {
    let world = world("");
    let authorization = format!("Token {}", world.secret("legacy"));
    let mut wires: Vec<Wire> = (0..8).map(|_| world.keyward.wire()).collect();
    for wire in &mut wires {
        wire.send(head("POST", "/api/v2/users/7/apikey/", &[("Authorization", &authorization)]));
    }
    let answers: Vec<Answer> = wires.iter_mut().map(|wire| wire.answer("POST")).collect();
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused(lost), (401, "Invalid token.".into()));
    }
    let newest = won[0].json()["data"]["api_key"].as_str().unwrap().to_owned();
    assert_eq!(world.ask(&format!("Token {newest}"), "GET", "/api/v2/whoami/", Value::Null).status, 200);
}

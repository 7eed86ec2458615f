//! Userplane's form, held to what the vendor says, byte for byte (tests/fixtures/userplane).

use std::process::Command;

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

/// The vendor's API behind a keyward, with two workspaces; paul is in the first.
struct Desk {
    keyward: Keyward,
    origin: Origin,
}

const KEYS: &str = "/api/v1/public/me/api-keys";
const ME: &str = "/api/v1/public/me";

fn desk() -> Desk {
    let origin = Origin::plain();
    let config = format!(
        "[dialects.userplane]\nenabled = true\n[services.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/api/v1/public/workspace/{{workspace}}/**\"\nservice = \"api\"\naccount = {{ path = \"workspace\" }}\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    for account in ["first", "second"] {
        keyward.account(account);
    }
    for (user, account) in [("paul", "first"), ("anna", "second")] {
        keyward.cli(&["user", "create", user]);
        keyward.cli(&["member", "add", "--account", account, "--user", user]);
    }
    Desk { keyward, origin }
}

impl Desk {
    /// A key of a user, as one who runs keyward makes it.
    fn key_of(&self, user: &str, more: &[&str]) -> Minted {
        self.keyward.mint(&[&["--kind", "user", "--user", user, "--prefix", "uspl"], more].concat())
    }

    fn ask(&self, secret: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.send(&[("Authorization", &format!("Bearer {secret}"))], method, path, "application/json", body)
    }

    fn send(&self, headers: &[(&str, &str)], method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.extend([("Content-Type", kind), ("Content-Length", &length)]);
        }
        let mut wire = Wire::connect(self.keyward.address());
        wire.send(head(method, path, &headers) + &body);
        let answer = wire.answer(method);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
        answer
    }

    fn made(&self, secret: &str, body: &Value) -> Minted {
        let answer = self.ask(secret, "POST", KEYS, body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let data = &answer.json()["data"];
        Minted { id: text(&data["key"]["id"]), secret: text(&data["secret"]) }
    }

    fn passed(&self, secret: &str) -> u16 {
        self.keyward.get(ME, secret).status
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// A file of `tests/fixtures/userplane`: what it says, and its body's bytes.
struct Fixture {
    said: Value,
    body: String,
}

fn fixture(name: &str) -> Fixture {
    let path = format!("{}/tests/fixtures/userplane/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let body = file.lines().find_map(|line| line.strip_prefix(" \"body\": ")).unwrap_or_default();
    Fixture { said: serde_json::from_str(&file).unwrap(), body: body.to_owned() }
}

/// The status and the body's bytes of a case in `refusals.json`.
fn refusal(case: &str) -> (u16, String) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/userplane/refusals.json");
    let file = std::fs::read_to_string(path).unwrap();
    let mark = format!("  \"{case}\": {{\"status\": ");
    let line = file.lines().find_map(|line| line.strip_prefix(&mark)).unwrap_or_else(|| panic!("no case {case}"));
    let (status, body) = line.trim_end_matches(',').split_once(", \"body\": ").unwrap();
    (status.parse().unwrap(), body.strip_suffix('}').unwrap().to_owned())
}

/// A body with names in place of what is another one each time.
fn named(body: &str, names: &[(&str, &Minted)]) -> String {
    let mut body = body.to_owned();
    for (name, key) in names {
        let hint = &key.secret[key.secret.len() - 4..];
        body = body.replace(&key.secret, &format!("<{name}-secret>")).replace(&key.id, &format!("<{name}>"));
        body = body.replace(&format!("...{hint}\""), &format!("...<{name}-hint>\""));
    }
    let mut rest = body.as_str();
    let mut text = String::new();
    while let Some(at) = rest.find("At\":\"2") {
        let (before, time) = rest.split_at(at + 5);
        let end = time.find('"').unwrap();
        assert!(time[..end].ends_with('Z') && end == 24, "{}", &time[..end]);
        text.push_str(before);
        text.push_str("<time>");
        rest = &time[end..];
    }
    text + rest
}

impl Desk {
    /// Asks what a fixture says, and gives the answer, which has to be as the fixture says.
    fn holds(
        &self,
        name: &str,
        secret: &str,
        keys: &[(&str, &Minted)],
        learnt: impl Fn(&Answer) -> Option<Minted>,
    ) -> Answer {
        let Fixture { said, body } = fixture(name);
        let path =
            keys.iter().fold(text(&said["path"]), |path, (name, key)| path.replace(&format!("<{name}>"), &key.id));
        let answer = self.ask(secret, said["method"].as_str().unwrap(), &path, &said["send"]);
        let new = learnt(&answer);
        let mut names = keys.to_vec();
        if let Some(new) = &new {
            names.retain(|(name, _)| *name != "second");
            names.push(("second", new));
        }
        assert_eq!((u64::from(answer.status), named(&answer.text(), &names)), (said["status"].as_u64().unwrap(), body));
        answer
    }
}

fn key_in(answer: &Answer) -> Option<Minted> {
    let data = &answer.json()["data"];
    Some(Minted { id: text(&data["key"]["id"]), secret: text(&data["secret"]) })
}

#[test]
fn answers_are_as_the_vendor_says_byte_for_byte() {
    let desk = desk();
    let first = desk.key_of("paul", &["--name", "laptop", "--expires-in", "7d"]);
    let made = desk.holds("mint", &first.secret, &[], key_in);
    let second = key_in(&made).unwrap();
    let both = [("first", &first), ("second", &second)];
    desk.holds("list", &first.secret, &both, |_| None);
    desk.keyward.cli(&["key", "suspend", &second.id]);
    desk.holds("list_disabled", &first.secret, &both, |_| None);
    desk.keyward.cli(&["key", "resume", &second.id]);
    let rotated = desk.holds("rotate", &first.secret, &both, key_in);
    let second = key_in(&rotated).unwrap();
    assert_eq!(desk.passed(&second.secret), 200);
    desk.holds("revoke", &first.secret, &[("first", &first), ("second", &second)], |_| None);
    assert_eq!(desk.passed(&second.secret), 401);
    // Trailing slashes come and go; what is revoked is listed no more.
    for path in [KEYS.to_owned(), format!("{KEYS}/")] {
        assert_eq!(desk.ask(&first.secret, "GET", &path, &Value::Null).json()["data"]["total"], 1, "{path}");
    }
    // The user's own page is the origin's, and so is all else.
    for path in [ME, "/api/v1/public/workspaces", "/api/v1/public/workspace/first/links"] {
        assert_eq!(desk.keyward.get(path, &first.secret).text(), "ok", "{path}");
    }
    assert!(desk.origin.seen().heads.iter().all(|head| !head.contains("api-keys") && !head.contains("uspl_")));
}

#[test]
fn refusals_are_as_the_vendor_says_byte_for_byte() {
    let desk = desk();
    let key = desk.key_of("paul", &[]);
    let other = desk.key_of("anna", &[]);
    let said = |case: &str, answer: Answer| {
        assert_eq!((answer.status, answer.text()), refusal(case), "{case}");
        answer
    };
    let none = Value::Null;
    let workspace = "/api/v1/public/workspace/second/links";
    let (unknown, nowhere) = (format!("uspl_{}", "a".repeat(50)), format!("{KEYS}/{}/copies", key.id));
    // Its own calls, what it forwards, and what nobody has below its path.
    for path in [KEYS, ME, workspace, "/api/v1/public/nothing"] {
        let unasked = said("no key", desk.send(&[], "GET", path, "", &none));
        assert_eq!(unasked.all("www-authenticate"), ["Bearer realm=\"keyward\"", "Token realm=\"keyward\""]);
        said("an unknown key", desk.ask(&unknown, "GET", path, &none));
        for text in ["None", "undefined"] {
            said("an unknown key", desk.ask(text, "GET", path, &none));
        }
        let two = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")];
        said("two keys", desk.send(&two, "GET", path, "", &none));
    }
    let bound = desk.key_of("paul", &["--allow-ip", "10.0.0.0/8"]);
    assert_eq!(desk.ask(&bound.secret, "GET", ME, &none).json()["error"], "IP_NOT_ALLOWED");
    let rotated = desk.keyward.json(&["key", "rotate", &bound.id]);
    assert!(rotated["secret"].as_str().unwrap().starts_with("uspl_"));
    said("a key that was rotated away", desk.ask(&bound.secret, "GET", ME, &none));
    let short = desk.key_of("paul", &["--expires-in", "1s"]);
    eventually("it has expired", || desk.passed(&short.secret) == 401);
    let disabled = desk.key_of("paul", &[]);
    desk.keyward.cli(&["key", "suspend", &disabled.id]);
    for path in [KEYS, ME] {
        said("an expired key", desk.ask(&short.secret, "GET", path, &none));
        said("a disabled key", desk.ask(&disabled.secret, "GET", path, &none));
    }
    said("another workspace", desk.ask(&key.secret, "GET", workspace, &none));
    let foreign = format!("{KEYS}/{}", other.id);
    for (method, path) in [("DELETE", &foreign), ("POST", &format!("{foreign}/rotate"))] {
        said("another's key", desk.ask(&key.secret, method, path, &none));
    }
    said("no such call", desk.ask(&key.secret, "GET", &nowhere, &none));
    let put = said("another method", desk.ask(&key.secret, "PUT", KEYS, &none));
    assert_eq!(put.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    let bearer = format!("Bearer {}", key.secret);
    let plain = desk.send(&[("Authorization", &bearer)], "POST", KEYS, "text/plain", &json!({}));
    said("a body that is no JSON", plain);
    for seconds in [json!(0), json!(86_400), json!(604_801), json!(2_592_000_000_u64)] {
        said("another expiration", desk.ask(&key.secret, "POST", KEYS, &json!({"expiresIn": seconds})));
    }
    for size in ["0", "21", "x", ""] {
        said("a page that is none", desk.ask(&key.secret, "GET", &format!("{KEYS}?per_page={size}"), &none));
    }
}

#[test]
fn every_row_refuses_no_caller_a_wrong_caller_and_a_weak_caller() {
    let desk = desk();
    let operator = desk.keyward.stderr.expect("kw_live_").trim().to_owned();
    let wrong = format!("uspl_{}", "a".repeat(50));
    let superseded = desk.key_of("paul", &[]);
    desk.keyward.cli(&["key", "rotate", &superseded.id, "--grace", "1h"]);
    let service = desk.keyward.service_key("first", &[]);
    let other = desk.key_of("anna", &[]);
    let rotate = format!("{KEYS}/{}/rotate", other.id);
    let rows = [("GET", KEYS), ("POST", KEYS), ("DELETE", &rotate[..rotate.len() - 7]), ("POST", &rotate)];
    for (method, path) in rows {
        let said = |headers: &[(&str, &str)]| {
            let answer = desk.send(headers, method, path, "", &Value::Null);
            (answer.status, answer.text())
        };
        let with = |secret: &str| said(&[("Authorization", &format!("Bearer {secret}"))]);
        assert_eq!(said(&[]), refusal("no key"), "{method} {path}");
        assert_eq!(with(&wrong), refusal("an unknown key"), "{method} {path}");
        assert_eq!(with(&operator), refusal("an operator's key"), "{method} {path}");
        // It still reads the API, and manages nothing.
        assert_eq!(with(&superseded.secret), refusal("an unknown key"), "{method} {path}");
        let foreign = desk.ask(&service.secret, method, path, &Value::Null);
        match (method, path) {
            ("GET", _) => assert_eq!(foreign.json()["data"]["total"], 1),
            ("POST", KEYS) => {
                assert_eq!((foreign.status, text(&foreign.json()["error"])), (403, "SCOPE_ESCALATION".into()))
            }
            _ => assert_eq!((foreign.status, foreign.text()), refusal("another's key")),
        }
    }
    assert_eq!(desk.passed(&superseded.secret), 200);
    assert_eq!(desk.passed(&other.secret), 200);
}

#[test]
fn a_key_that_is_made_is_like_the_one_that_asked() {
    let desk = desk();
    let bound = ["--kind", "personal", "--account", "first", "--user", "paul", "--permission", "links:read"];
    let personal = desk.keyward.mint(&[&bound[..], &["--allow-ip", "127.0.0.0/8"]].concat());
    let user = desk.key_of("paul", &["--permission", "links:read"]);
    for key in [&personal, &user] {
        let made = desk.made(&key.secret, &json!({"expiresIn": null}));
        let shown = |id: &str| desk.keyward.json(&["key", "show", id]);
        let (own, new) = (shown(&key.id), shown(&made.id));
        for member in ["kind", "account", "user", "permissions", "allowed_ips", "expires_at"] {
            assert!(own.get(member).is_some() && own[member] == new[member], "{member}: {own} {new}");
        }
        assert!(made.secret.starts_with("uspl_"));
    }
}

#[test]
fn rule_8_a_lost_answer_is_given_again_also_to_the_secret_that_was_rotated_away() {
    let desk = desk();
    let first = desk.key_of("paul", &[]);
    let bearer = format!("Bearer {}", first.secret);
    let again = |path: &str, name: &str, body: &Value| {
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", name)];
        desk.send(&headers, "POST", path, "application/json", body)
    };
    let made = [(); 2].map(|()| again(KEYS, "\"one\"", &json!({"name": "ci"})).text());
    assert_eq!(made[0], made[1]);
    assert_eq!(desk.ask(&first.secret, "GET", KEYS, &Value::Null).json()["data"]["total"], 2);
    assert_eq!(again(KEYS, "one", &json!({"name": "other"})).status, 400, "another request under its name");
    let rotate = format!("{KEYS}/{}/rotate", first.id);
    let rotated =
        [rotate.clone(), format!("{rotate}/")].map(|path| again(&path, "two", &json!({"name": "new"})).text());
    assert_eq!(rotated[0], rotated[1]);
    let secret = serde_json::from_str::<Value>(&rotated[0]).unwrap()["data"]["secret"].clone();
    assert_eq!((desk.passed(&first.secret), desk.passed(secret.as_str().unwrap())), (401, 200));
    // For that, and for nothing else.
    for (path, name, body) in
        [(&*rotate, "two", json!({})), (&rotate, "three", json!({"name": "new"})), (KEYS, "two", json!({}))]
    {
        let answer = again(path, name, &body);
        assert_eq!((answer.status, answer.text()), refusal("a key that was rotated away"), "{path} {name}");
    }
}

/// What curl is answered: the status, and the body.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl").args(["-sS", "-w", "\n%{http_code}"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// The vendor's page on rotating a key, step by step.
#[test]
fn flow_of_the_vendor_rotate_at_the_limit_of_three_with_a_name_and_30_days() {
    let desk = desk();
    let api = format!("http://{}", desk.keyward.address());
    let (keys, me) = (format!("{api}{KEYS}"), format!("{api}{ME}"));
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
    let json_body = ["-H", "Content-Type: application/json", "-d"];
    let read = |body: &str| -> Value { serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")) };
    let first = desk.key_of("paul", &[]);
    let auth = bearer(&first.secret);
    // Up to the limit, and no further.
    for name in ["two", "three"] {
        let (status, body) =
            curl(&[&["-H", &auth, &keys], &json_body[..], &[&format!("{{\"name\": \"{name}\"}}")]].concat());
        assert_eq!(status, 201, "{body}");
    }
    let fourth = |auth: &str| curl(&[&["-H", auth, &keys], &json_body[..], &["{}"]].concat());
    let full = |(status, body): (u16, String)| (status, text(&read(&body)["error"]));
    assert_eq!(full(fourth(&auth)), (409, "API_KEY_LIMIT_REACHED".into()));
    // The key to rotate, found in the list.
    let (_, listed) = curl(&["-H", &auth, &format!("{keys}?per_page=20")]);
    let listed = &read(&listed)["data"];
    let chosen = listed["keys"].as_array().unwrap().iter().find(|key| key["name"] == "").unwrap();
    assert_eq!((&listed["total"], &chosen["id"]), (&json!(3), &json!(first.id)));
    // A new name, and 30 days.
    let rotate = format!("{keys}/{}/rotate", text(&chosen["id"]));
    let wanted = "{\"name\": \"build server\", \"expiresIn\": 2592000}";
    let (status, rotated) = curl(&[&["-H", &auth, &rotate], &json_body[..], &[wanted]].concat());
    let rotated = read(&rotated);
    let (key, new) = (&rotated["data"]["key"], text(&rotated["data"]["secret"]));
    assert_eq!((status, &key["name"]), (200, &json!("build server")));
    assert!(new.starts_with("uspl_") && new != first.secret);
    let moment = |value: &Value| text(value).parse::<jiff::Timestamp>().unwrap().as_second();
    let shown = desk.keyward.json(&["key", "show", &first.id]);
    let seconds = moment(&key["expiresAt"]) - moment(&shown["rotated_at"]);
    assert!((2_591_990..=2_592_010).contains(&seconds), "{seconds}");
    // The old key is invalid at once, everywhere; the new one is good.
    for url in [&me, &keys, &rotate] {
        let post = if *url == rotate { &["-X", "POST"][..] } else { &[] };
        assert_eq!(curl(&[&["-H", &auth, url], post].concat()), refusal("a key that was rotated away"));
    }
    let auth = bearer(&new);
    assert_eq!(curl(&["-H", &auth, &me]), (200, "ok".into()));
    // It has the place of the old one: there are three, and still no fourth.
    assert_eq!(read(&curl(&["-H", &auth, &keys]).1)["data"]["total"], 3);
    assert_eq!(full(fourth(&auth)), (409, "API_KEY_LIMIT_REACHED".into()));
}

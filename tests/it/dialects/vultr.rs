//! Vultr's API v2: the vendor's own way of rotating a key, byte for byte what is known of its answers, and a client of it that
//! nobody here wrote.

use std::process::Command;

use serde_json::Value;

use super::fixture::{ask, fixture};
use crate::support::pki::Root;
use crate::support::python::python;
use crate::support::{Answer, Keyward, Minted, Origin, keyward};

/// A keyward that speaks it, with a user who holds keys and one who manages those of everybody.
struct Cloud {
    keyward: Keyward,
    origin: Origin,
}

fn cloud() -> Cloud {
    cloud_with("", "")
}

/// With more settings: of the dialect, and in tables of their own.
fn cloud_with(dialect: &str, tables: &str) -> Cloud {
    let body = r#"{"regions":[{"id":"ewr"}],"meta":{"total":1,"links":{"next":"","prev":""}}}"#;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            line.send(&answer);
        }
    });
    let tables = if tables.is_empty() { "[keys]\nper_holder = 0\n" } else { tables };
    let config = format!("[dialects.vultr]\nenabled = true\n{dialect}\n{tables}");
    let keyward = keyward().upstream(origin.url()).config(config).start();
    people(&keyward);
    Cloud { keyward, origin }
}

fn people(keyward: &Keyward) {
    keyward.account("101");
    for (user, permissions) in [("paul", ["jobs:*", "users:read"]), ("anna", ["*", "keys:manage"])] {
        keyward.cli(&["user", "create", user, "--email", &format!("{user}@example.com")]);
        let place = ["member", "add", "--account", "101", "--user", user];
        let permissions = permissions.map(|permission| ["--permission", permission]);
        keyward.cli(&[&place[..], permissions.as_flattened()].concat());
    }
}

fn personal_key(keyward: &Keyward, user: &str, more: &[&str]) -> Minted {
    keyward.mint(&[&["--kind", "personal", "--account", "101", "--user", user], more].concat())
}

impl Cloud {
    fn key(&self, user: &str, more: &[&str]) -> Minted {
        personal_key(&self.keyward, user, more)
    }

    fn ask(&self, secret: &str, method: &str, path: &str, body: &str) -> Answer {
        ask(&self.keyward, Some(secret), method, path, body)
    }

    fn listed(&self, secret: &str, path: &str) -> Vec<String> {
        let answer = self.ask(secret, "GET", path, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["api_keys"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect()
    }

    /// A shell's line, with the vendor's host replaced and the variable that the vendor names; the status and the body.
    fn shell(&self, secret: &str, line: &str) -> (u16, String) {
        let folder = self.keyward.folder();
        std::fs::write(folder.join(".curlrc"), "silent\nshow-error\nwrite-out = \"\\n%{http_code}\"\n").unwrap();
        let line = line.replace("https://api.vultr.com", &format!("http://{}", self.keyward.address()));
        let output = Command::new("sh")
            .args(["-c", &line])
            .envs([("VULTR_API_KEY", secret.as_ref()), ("CURL_HOME", folder.as_os_str())])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.as_bytes()[14] == b'8'
}

#[test]
fn the_vendors_own_curl_lines_create_verify_list_and_delete() {
    let cloud = cloud();
    let old = cloud.key("paul", &[]);
    let (status, body) = cloud.shell(
        &old.secret,
        r#"curl "https://api.vultr.com/v2/apikeys" \
            -X POST \
            -H "Authorization: Bearer ${VULTR_API_KEY}" \
            -H "Content-Type: application/json" \
            -d '{
                "name": "<api-key-name>",
                "expire": true,
                "date_expire": "2030-01-01T00:00:00Z"
            }'"#,
    );
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let (new, new_id) = (text(&made["api_key"]["api_key"]), text(&made["api_key"]["id"]));
    // Both work until the old one is deleted.
    let use_it = r#"curl "https://api.vultr.com/v2/regions" -H "Authorization: Bearer ${VULTR_API_KEY}""#;
    for secret in [&old.secret, &new] {
        assert_eq!(cloud.shell(secret, use_it).0, 200);
    }
    let list = r#"curl "https://api.vultr.com/v2/apikeys" \
            -X GET \
            -H "Authorization: Bearer ${VULTR_API_KEY}""#;
    let (status, body) = cloud.shell(&new, list);
    let listed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &listed["meta"]["total"]), (200, &2.into()));
    assert!(!body.contains(&new) && !body.contains(&old.secret), "a secret is shown once");
    let ids: Vec<String> = listed["api_keys"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect();
    assert_eq!(ids[1], new_id);
    let delete = r#"curl "https://api.vultr.com/v2/apikeys/{apikey-id}" \
            -X DELETE \
            -H "Authorization: Bearer ${VULTR_API_KEY}""#;
    assert_eq!(cloud.shell(&new, &delete.replace("{apikey-id}", &ids[0])), (204, String::new()));
    assert_eq!(cloud.shell(&old.secret, use_it), (401, r#"{"error":"Invalid API token.","status":401}"#.to_owned()));
    assert_eq!(cloud.shell(&new, use_it).0, 200);
    assert_eq!(cloud.listed(&new, "/v2/apikeys"), [new_id]);
    assert_eq!(cloud.shell(&new, &delete.replace("{apikey-id}", &ids[0])).0, 404, "it is gone");
    assert!(cloud.origin.seen().heads.iter().all(|head| !head.contains("apikeys") && !head.contains("kw_live")));
}

#[test]
fn every_answer_is_the_fixtures_byte_for_byte() {
    let cloud = cloud();
    let fixture = |name| fixture("vultr", name);
    let first = cloud.key("paul", &[]);
    let keyward = &cloud.keyward;
    let secret = Some(first.secret.as_str());
    let mut known = Vec::new();
    let create = fixture("create");
    let answer = create.ask(keyward, secret, &[]);
    let made = answer.json()["api_key"].clone();
    for (name, member) in [("id", "id"), ("secret", "api_key"), ("created", "date_created")] {
        known.push((name, text(&made[member])));
    }
    assert!(is_uuid(&known[0].1), "{known:?}");
    assert!(known[1].1.starts_with("kw_live_") && known[2].1.ends_with('Z') && known[2].1.len() == 20, "{known:?}");
    let listed = cloud.ask(&first.secret, "GET", "/v2/apikeys", "").json()["api_keys"][0].clone();
    known.extend([("first", text(&listed["id"])), ("began", text(&listed["date_created"]))]);
    known.extend([("name", "paul".to_owned()), ("email", "paul@example.com".to_owned())]);
    let known: Vec<(&str, &str)> = known.iter().map(|(name, value)| (*name, value.as_str())).collect();
    create.expect(&answer, &known);
    for name in ["list", "get", "account", "missing", "nowhere", "not_allowed", "bad_request", "delete"] {
        let fixture = fixture(name);
        fixture.expect(&fixture.ask(keyward, secret, &known), &known);
    }
    let plain = fixture("create_plain");
    let answer = plain.ask(keyward, secret, &[]);
    let made = ["id", "api_key", "date_created"].map(|member| text(&answer.json()["api_key"][member]));
    plain.expect(&answer, &[("id", &made[0]), ("secret", &made[1]), ("created", &made[2])]);
    let invalid = fixture("invalid");
    let wrong = format!("kw_live_{}", "a".repeat(50));
    for secret in [None, Some(wrong.as_str()), Some("None"), Some(known[1].1)] {
        let answer = invalid.ask(keyward, secret, &[]);
        invalid.expect(&answer, &[]);
        assert!(answer.all("www-authenticate")[0].starts_with("Bearer realm=\"keyward\""), "{secret:?}");
    }
    let bound = cloud.key("paul", &["--allow-ip", "10.0.0.0/8"]);
    let address = fixture("address");
    address.expect(&address.ask(keyward, Some(&bound.secret), &[]), &[]);
}

#[test]
fn every_row_refuses_no_caller_a_wrong_caller_and_a_weak_one() {
    let cloud = cloud();
    let [paul, anna] = ["paul", "anna"].map(|user| cloud.key(user, &[]));
    let operator = cloud.keyward.stderr.expect("kw_live_").trim().to_owned();
    let wrong = format!("kw_live_{}", "a".repeat(50));
    let rows = [
        ("GET", "/v2/apikeys".to_owned(), 200),
        ("POST", "/v2/apikeys".to_owned(), 201),
        ("GET", format!("/v2/apikeys/{}", anna.id), 404),
        ("DELETE", format!("/v2/apikeys/{}", anna.id), 404),
        ("GET", "/v2/users/anna/apikeys".to_owned(), 403),
        ("POST", "/v2/users/anna/apikeys".to_owned(), 403),
        ("GET", format!("/v2/users/anna/apikeys/{}", anna.id), 403),
        ("DELETE", format!("/v2/users/anna/apikeys/{}", anna.id), 403),
        ("GET", "/v2/users/nobody/apikeys".to_owned(), 403),
        ("GET", "/v2/account".to_owned(), 200),
        ("GET", "/v2/apikeys/x/y".to_owned(), 404),
        ("PATCH", format!("/v2/apikeys/{}", paul.id), 405),
        ("PUT", "/v2/apikeys".to_owned(), 405),
    ];
    let grace = cloud.key("paul", &[]);
    cloud.keyward.cli(&["key", "rotate", &grace.id, "--grace", "1h"]);
    for (method, path, status) in &rows {
        let refused = |secret: Option<&str>| {
            let answer = ask(&cloud.keyward, secret, method, path, "");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
            let said = answer.json();
            assert_eq!(said.as_object().unwrap().keys().collect::<Vec<_>>(), ["error", "status"], "{method} {path}");
            assert_eq!(said["status"], answer.status, "{method} {path}");
            answer.status
        };
        assert_eq!((refused(None), refused(Some(&wrong))), (401, 401), "{method} {path}");
        assert_eq!(refused(Some(&operator)), 403, "{method} {path}");
        // What is nothing about keys a secret in its grace may ask too, as it may ask the API.
        if path == "/v2/account" {
            assert_eq!(ask(&cloud.keyward, Some(&grace.secret), method, path, "").status, 200);
        } else {
            assert_eq!(refused(Some(&grace.secret)), 403, "{method} {path}");
        }
        if *status >= 400 {
            assert_eq!(refused(Some(&paul.secret)), *status, "{method} {path}");
        } else {
            assert_eq!(cloud.ask(&paul.secret, method, path, "").status, *status, "{method} {path}");
        }
    }
    let answer = cloud.ask(&paul.secret, "PATCH", "/v2/apikeys", "");
    assert_eq!(answer.header("allow"), Some("GET, POST, HEAD, OPTIONS"));
    assert_eq!(cloud.ask(&anna.secret, "GET", "/v2/regions", "").status, 200, "nothing was done to her keys");
}

#[test]
fn who_manages_the_accounts_keys_creates_lists_and_deletes_those_of_others() {
    let cloud = cloud();
    let [paul, anna] = ["paul", "anna"].map(|user| cloud.key(user, &[]));
    let theirs = cloud.ask(&anna.secret, "POST", "/v2/users/paul/apikeys", r#"{"name": "for paul"}"#);
    assert_eq!(theirs.status, 201, "{}", theirs.text());
    let made = theirs.json()["api_key"].clone();
    assert_eq!(cloud.listed(&anna.secret, "/v2/users/paul/apikeys").len(), 2);
    assert_eq!(cloud.listed(&text(&made["api_key"]), "/v2/apikeys").len(), 2, "it is his");
    assert_eq!(cloud.listed(&paul.secret, "/v2/users/paul/apikeys").len(), 2, "his own, under his name");
    assert_eq!(cloud.listed(&anna.secret, "/v2/apikeys").len(), 1);
    let id = text(&made["id"]);
    assert_eq!(cloud.ask(&anna.secret, "GET", &format!("/v2/users/anna/apikeys/{}", anna.id), "").status, 200);
    assert_eq!(cloud.ask(&anna.secret, "GET", &format!("/v2/users/paul/apikeys/{}", anna.id), "").status, 404);
    assert_eq!(cloud.ask(&anna.secret, "DELETE", &format!("/v2/users/paul/apikeys/{id}"), "").status, 204);
    assert_eq!(cloud.ask(&text(&made["api_key"]), "GET", "/v2/regions", "").status, 401);
    assert_eq!(cloud.listed(&anna.secret, "/v2/users/paul/apikeys").len(), 1);
    // A key bound to less than its user may do makes none that may do more, for nobody.
    let narrow = cloud.key("anna", &["--permission", "keys:manage"]);
    assert_eq!(cloud.ask(&narrow.secret, "POST", "/v2/users/paul/apikeys", "{}").status, 403);
}

#[test]
fn a_slash_at_the_end_is_the_same_and_nothing_is_redirected() {
    let cloud = cloud();
    let key = cloud.key("paul", &[]);
    let made = cloud.ask(&key.secret, "POST", "/v2/apikeys/", "{}");
    assert_eq!(made.status, 201, "{}", made.text());
    let id = text(&made.json()["api_key"]["id"]);
    for path in ["/v2/apikeys".to_owned(), format!("/v2/apikeys/{id}"), "/v2/account".to_owned()] {
        let answers = [&path, &format!("{path}/")].map(|path| cloud.ask(&key.secret, "GET", path, "").text());
        assert_eq!(answers[0], answers[1]);
    }
    let head = cloud.ask(&key.secret, "HEAD", "/v2/apikeys/", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(cloud.ask(&key.secret, "DELETE", &format!("/v2/apikeys/{id}/"), "").status, 204);
}

#[test]
fn lists_come_by_pages_that_lead_forth_and_back() {
    let cloud = cloud();
    let key = cloud.key("paul", &[]);
    for _ in 0..2 {
        cloud.key("paul", &[]);
    }
    let all = cloud.listed(&key.secret, "/v2/apikeys");
    let page = |cursor: &str| cloud.ask(&key.secret, "GET", &format!("/v2/apikeys?per_page=2&cursor={cursor}"), "");
    let first = page("").json();
    let next = text(&first["meta"]["links"]["next"]);
    let second = page(&next).json();
    assert_eq!((&first["meta"]["total"], &second["meta"]["total"]), (&3.into(), &3.into()));
    let ids =
        |page: &Value| page["api_keys"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&second)].concat(), all);
    assert_eq!(second["meta"]["links"]["next"], "");
    assert_eq!(page(&text(&second["meta"]["links"]["prev"])).json(), first);
    assert_eq!(cloud.ask(&key.secret, "GET", "/v2/apikeys?per_page=501", "").status, 400);
}

#[test]
fn create_and_delete_needs_a_free_slot() {
    let cloud = cloud_with("", "[keys]\nper_holder = 2\nexpiry_max = \"90d\"\n");
    let key = cloud.key("paul", &["--expires-in", "1d"]);
    let create = |body: &str| cloud.ask(&key.secret, "POST", "/v2/apikeys", body);
    assert_eq!(create("{}").status, 400, "a key that never expires");
    let made = create(&until("30 days"));
    assert_eq!(made.status, 201, "{}", made.text());
    let full = create(&until("30 days"));
    assert_eq!((full.status, &full.json()["status"]), (400, &400.into()), "{}", full.text());
    let id = text(&made.json()["api_key"]["id"]);
    assert_eq!(cloud.ask(&key.secret, "DELETE", &format!("/v2/apikeys/{id}"), "").status, 204);
    assert_eq!(create(&until("30 days")).status, 201);
}

/// The body of a key that expires so long from now.
fn until(span: &str) -> String {
    let output = Command::new("date").args(["-u", "-d", span, "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    assert!(output.status.success());
    format!(r#"{{"date_expire": "{}"}}"#, String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn a_legacy_key_makes_keys_where_its_user_is_and_not_where_nobody_said() {
    let cloud = cloud();
    let legacy = cloud.keyward.mint(&["--kind", "user", "--user", "paul"]);
    assert_eq!(cloud.ask(&legacy.secret, "POST", "/v2/apikeys", "{}").status, 201);
    cloud.keyward.account("102");
    cloud.keyward.cli(&["member", "add", "--account", "102", "--user", "paul"]);
    assert_eq!(cloud.ask(&legacy.secret, "POST", "/v2/apikeys", "{}").status, 403, "in which account is not said");
    let service = cloud.keyward.service_key("101", &["--permission", "jobs:run"]);
    assert_eq!(cloud.listed(&service.secret, "/v2/apikeys").len(), 1);
    assert_eq!(cloud.ask(&service.secret, "POST", "/v2/apikeys", "{}").status, 403);
}

#[test]
fn what_else_is_below_v2_is_forwarded_and_refused_in_the_same_words() {
    let cloud = cloud_with("hosts = [\"api.test\"]", "");
    let key = cloud.key("paul", &[]);
    for path in ["/v2/regions", "/v2/users", "/v2/users/paul", "/v2/account/bgp", "/v2/apikeysx", "/v2/ssh-keys/x"] {
        assert_eq!(cloud.ask(&key.secret, "GET", path, "").status, 200, "{path}");
        assert!(cloud.origin.last().contains(path));
        let refused = ask(&cloud.keyward, None, "GET", path, "");
        fixture("vultr", "invalid").expect(&refused, &[]);
    }
    assert_eq!(ask(&cloud.keyward, None, "GET", "/v1/regions", "").code(), "API_KEY_REQUIRED");
    let mut wire = cloud.keyward.wire();
    let elsewhere = wire.ask("GET", "/v2/apikeys", &[("Host", "other.test")]);
    assert_eq!(elsewhere.code(), "API_KEY_REQUIRED", "at another host it is the origin's");
    let bound = cloud.key("paul", &["--allow-ip", "10.0.0.0/8"]);
    let answer = cloud.ask(&bound.secret, "GET", "/v2/regions", "");
    fixture("vultr", "address").expect(&answer, &[]);
    let logged = cloud.keyward.logged("/v2/account/bgp", 2);
    assert!(logged.iter().any(|line| line["reason"] == "key_required"), "{logged:?}");
}

#[test]
fn vultr_python_works_unchanged() {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let cloud = cloud();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n[dialects.vultr]\nenabled = true\n",
        files.chain, files.key
    );
    let keyward = setup.config(config).upstream(cloud.origin.url()).start();
    people(&keyward);
    let key = personal_key(&keyward, "paul", &[]);
    let output = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/vultr_client.py"))
        .env("ADDRESS", format!("https://localhost:{}/v2", keyward.tls_address().port()))
        .env("REQUESTS_CA_BUNDLE", &root.file)
        .env("VULTR_API_KEY", &key.secret)
        .env_remove("HTTPS_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "vultr-python ok");
    assert!(cloud.origin.last().starts_with("GET /v2/regions "));
}

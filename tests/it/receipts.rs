//! When a change became true, and where: what the command line, the API and the gateway say of it.

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::postgres::Server;
use crate::support::{Answer, Keyward, Minted, Origin, Replica, Wire, eventually, keyward};

/// A keyward with self-service below `/keyward`, an account and a user, and its origin.
fn started() -> (Keyward, Origin) {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).config("[self_service]\npath = \"/keyward\"\n").start();
    keyward.account("101");
    keyward.cli(&["user", "create", "paul"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "paul", "--permission", "jobs:*"]);
    (keyward, origin)
}

/// What a command that must succeed says beside what was asked for.
fn said(keyward: &Keyward, arguments: &[&str]) -> String {
    let output = keyward.run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// The revision of which a line says that it is in force here.
fn in_force(said: &str) -> u64 {
    let line = said.lines().find(|line| line.starts_with("revision ")).unwrap_or_else(|| panic!("{said}"));
    let (revision, rest) = line["revision ".len()..].split_once(": in force on 1 of 1 replicas after ").unwrap();
    assert!(rest.ends_with(" ms") || rest.ends_with(" s"), "{line}");
    revision.parse().unwrap()
}

fn ask(address: std::net::SocketAddr, secret: &str, method: &str, path: &str, more: &[(&str, &str)]) -> Answer {
    let authorization = format!("Bearer {secret}");
    let mut wire = Wire::connect(address);
    wire.send(head(method, path, &[&[("Authorization", authorization.as_str())], more].concat()));
    wire.answer(method)
}

/// What is said of an account by name, as each of its changes is.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn the_command_line_says_in_one_line_when_a_change_is_in_force() {
    let (keyward, _origin) = started();
    let Minted { id, secret } = keyward.service_key("101", &[]);
    let mut last = 0;
    for arguments in [
        &["key", "rotate", &id][..],
        &["key", "rotate", &id, "--grace", "1h", "--wait", "2s"],
        &["key", "complete", &id],
        &["key", "rotate", &id, "--first-use"],
        &["key", "cancel", &id],
        &["key", "update", &id, "--permission", "jobs:run", "--wait", "0s"],
        &["key", "suspend", &id],
        &["member", "add", "--account", "101", "--user", "paul"],
        &["member", "remove", "--account", "101", "--user", "paul"],
        &["account", "suspend", "101"],
        &["key", "revoke", &id, "--wait", "500ms"],
        &["operator", "reset"],
    ] {
        let revision = in_force(&said(&keyward, arguments));
        assert!(revision > last, "{arguments:?}");
        last = revision;
    }
    for arguments in [&["account", "resume", "101"][..], &["account", "create", "102"], &["user", "list"]] {
        assert_eq!(said(&keyward, arguments), "", "what takes nothing away waits for nobody");
    }
    assert_eq!(keyward.get("/", &secret).status, 401);
    let name = keyward.json(&["account", "suspend", "102"]);
    let receipt = &name["receipt"];
    assert_eq!((&name["id"], &receipt["complete"]), (&json!("102"), &json!(true)), "{name}");
    let all = keyward.json(&["replicas"]);
    assert_eq!(receipt["replicas"][0]["id"], all["replicas"][0]["id"]);
    assert_eq!(receipt["replicas"][0]["state"], "acknowledged");
}

#[test]
fn the_command_line_looks_a_revision_up_and_waits_at_a_barrier() {
    let (mut keyward, _origin) = started();
    let key = keyward.service_key("101", &[]);
    let revision = in_force(&said(&keyward, &["key", "revoke", &key.id]));
    let rev = revision.to_string();
    assert_eq!(in_force(&said(&keyward, &["revision", &rev])), revision);
    assert_eq!(in_force(&said(&keyward, &["barrier"])), revision);
    assert_eq!(in_force(&said(&keyward, &["barrier", "1", "--wait", "10s"])), 1);
    let told = keyward.json(&["revision", &rev, "--wait", "0s"]);
    assert_eq!((&told["rev"], &told["complete"]), (&json!(revision), &json!(true)));
    assert!(keyward.fails(&["revision", "1000000"]).contains("no revision \"1000000\""));
    let table = keyward.cli(&["replicas"]);
    let (header, row) = table.split_once('\n').unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(header), ["ID", "NODE", "VERSION", "STATE", "POSITION", "LAG", "LEASE", "HEARD"]);
    let row = words(row);
    assert_eq!((row[0].as_str(), row[4].as_str(), row[5].as_str(), row[6].as_str()), ("*", "live", rev.as_str(), "0"));
    let evicted = keyward.fails(&["replicas", "evict", &row[1], "--i-know-it-is-dead"]);
    assert!(evicted.contains("the store is one process's alone"), "{evicted}");
    // Where nobody serves, nobody has to be told.
    assert!(keyward.stop().success());
    let alone = said(&keyward, &["account", "suspend", "101"]);
    assert!(alone.ends_with(": in force; no keyward serves from this store\n"), "{alone}");
    assert_eq!(keyward.json(&["barrier"])["replicas"], json!([]));
}

#[test]
fn a_holder_is_told_when_and_not_on_which_machines() {
    let (keyward, _origin) = started();
    let key = keyward.mint(&["--kind", "personal", "--account", "101", "--user", "paul"]);
    let address = keyward.address();
    let made = ask(address, &key.secret, "POST", "/keyward/v1/keys", &[]);
    assert_eq!((made.status, made.json().get("receipt")), (201, None), "{}", made.text());
    let (second, secret) = (made.json()["key"]["id"].clone(), made.json()["secret"].clone());
    let path = format!("/keyward/v1/keys/{}?wait=1s", text(&second));
    let ended = ask(address, &key.secret, "DELETE", &path, &[]);
    assert_eq!((ended.status, &ended.json()["key"]["status"]), (200, &json!("revoked")), "{}", ended.text());
    let receipt = ended.json()["receipt"].clone();
    assert_eq!(ended.header("keyward-revision"), Some(receipt["rev"].to_string().as_str()));
    let replica = receipt["replicas"][0].as_object().unwrap();
    assert_eq!((replica.len(), &replica["state"]), (2, &json!("acknowledged")), "{receipt}");
    assert_eq!(keyward.get("/", text(&secret)).status, 401);
    let looked_up = ask(address, &key.secret, "GET", &format!("/keyward/v1/revisions/{}", receipt["rev"]), &[]);
    assert_eq!((looked_up.status, looked_up.json()), (200, receipt.clone()));
    let passed = ask(address, &key.secret, "POST", "/keyward/v1/barrier", &[]);
    assert_eq!((passed.status, &passed.json()["rev"]), (200, &receipt["rev"]));
    assert_eq!(ask(address, &key.secret, "GET", "/keyward/v1/replicas", &[]).status, 404);
    let unread = ask(address, &key.secret, "POST", "/keyward/v1/keys/self/rotate?wait=soon", &[]);
    assert_eq!((unread.status, unread.code().as_str()), (400, "VALIDATION_FAILED"), "{}", unread.text());
}

#[test]
fn a_lost_answer_to_a_rotation_comes_again_with_its_receipt_also_to_the_secret_that_it_retired() {
    let (keyward, _origin) = started();
    let key = keyward.mint(&["--kind", "personal", "--account", "101", "--user", "paul"]);
    let rotate = |query: &str| {
        let path = format!("/keyward/v1/keys/self/rotate{query}");
        ask(keyward.address(), &key.secret, "POST", &path, &[("Idempotency-Key", "a")])
    };
    let (first, again) = (rotate(""), rotate("?wait=1s"));
    assert_eq!((first.status, again.status), (201, 201), "{}{}", first.text(), again.text());
    assert_eq!((first.text(), first.header("keyward-revision")), (again.text(), again.header("keyward-revision")));
    assert_eq!(again.json()["receipt"]["complete"], true);
    assert_eq!(rotate("?wait=soon").status, 401, "a dead secret is told nothing else");
}

#[test]
fn who_was_told_of_a_revision_is_judged_as_of_that_and_the_origin_never_hears_of_it() {
    let (keyward, origin) = started();
    let key = keyward.service_key("101", &[]);
    let head = keyward.json(&["barrier"])["rev"].as_u64().unwrap();
    let at_least = |value: &str| ask(keyward.address(), &key.secret, "GET", "/a", &[("Keyward-At-Least", value)]);
    for revision in [0, 1, head] {
        assert_eq!(at_least(&revision.to_string()).status, 200, "{revision}");
        assert!(!origin.last().to_ascii_lowercase().contains("at-least"), "{}", origin.last());
    }
    let asked = origin.seen().heads.len();
    let ahead = at_least(&(head + 1).to_string());
    assert_eq!((ahead.status, ahead.code().as_str()), (503, "AUTH_UNAVAILABLE"), "{}", ahead.text());
    assert_eq!(ahead.header("retry-after"), Some("1"));
    for value in ["-1", "one", "1,2", "18446744073709551616"] {
        let bad = at_least(value);
        assert_eq!((bad.status, bad.code().as_str()), (400, "REQUEST_MALFORMED"), "{value}");
    }
    assert_eq!(origin.seen().heads.len(), asked, "none of these went on");
    // What it asks for becomes true, and then it is answered.
    let revision = in_force(&said(&keyward, &["member", "remove", "--account", "101", "--user", "paul"]));
    assert!(revision > head);
    assert_eq!(at_least(&(head + 1).to_string()).status, 200);
}

/// Two replicas of one database, the first of which has printed an operator's key.
struct Two {
    one: Replica,
    other: Replica,
    operator: String,
    _origin: Origin,
}

impl Two {
    fn started(url: &str) -> Self {
        let origin = Origin::plain();
        let start = || {
            let (store, origin) = (url.to_owned(), origin.url());
            let fence = "[store]\nfence = \"2s\"\n[dialects.vultr]\nenabled = true\n";
            let setup =
                move |_, setup: crate::support::keyward::Setup| setup.store(&store).upstream(&origin).config(fence);
            Replica::start(1, setup).remove(0)
        };
        let one = start();
        let operator = one.now().stderr.expect("kw_live_").trim().to_owned();
        let two = Self { one, other: start(), operator, _origin: origin };
        for replica in [&two.one, &two.other] {
            eventually("both are listed", || two.listed(replica).len() == 2);
        }
        assert_eq!(two.ask("POST", "/v1/accounts", &json!({"id": "101"})).status, 201);
        two
    }

    /// Asks the first one as an operator.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (authorization, body) = (format!("Bearer {}", self.operator), body.to_string());
        let length = body.len().to_string();
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", length.as_str()),
        ];
        let mut wire = Wire::connect(self.one.now().admin());
        wire.send(head(method, path, &headers) + &body);
        wire.answer(method)
    }

    fn listed(&self, replica: &Replica) -> Vec<Value> {
        let answer = ask(replica.now().admin(), &self.operator, "GET", "/v1/replicas", &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all = answer.json();
        assert_eq!(all["fence_ms"], 2000);
        let all = all["replicas"].as_array().unwrap().clone();
        assert!(all.iter().filter(|one| one["asked"] == true).count() == 1, "{all:?}");
        all
    }

    fn minted(&self) -> Minted {
        let made = self.ask("POST", "/v1/keys", &json!({"account_id": "101"}));
        assert_eq!(made.status, 201, "{}", made.text());
        Minted { id: text(&made.json()["key"]["id"]).to_owned(), secret: text(&made.json()["secret"]).to_owned() }
    }

    /// Revokes a key that both have served, and gives the answer.
    fn revoked(&self, query: &str) -> (Minted, Answer) {
        let key = self.minted();
        for replica in [&self.one, &self.other] {
            eventually("the key is served", || replica.now().get("/", &key.secret).status == 200);
        }
        let ended = self.ask("DELETE", &format!("/v1/keys/{}{query}", key.id), &json!({}));
        (key, ended)
    }
}

/// What a receipt says of its replicas.
fn states(receipt: &Value) -> Vec<&str> {
    let mut states: Vec<_> = receipt["replicas"].as_array().unwrap().iter().map(|one| text(&one["state"])).collect();
    states.sort_unstable();
    states
}

#[test]
fn of_two_replicas_each_change_says_how_far_it_came_and_a_silent_one_only_delays_it() {
    let database = Server::shared().database();
    let mut two = Two::started(&database.url());
    // Acknowledgements count once the first has looked at the database for long enough.
    eventually("a change is complete by acknowledgement", || {
        let (key, ended) = two.revoked("?wait=30s");
        assert_eq!((ended.status, &ended.json()["receipt"]["complete"]), (200, &json!(true)), "{}", ended.text());
        assert_eq!(two.other.now().get("/", &key.secret).status, 401, "{}", ended.text());
        states(&ended.json()["receipt"]) == ["acknowledged", "acknowledged"]
    });

    let key = two.minted();
    eventually("the key is served", || two.other.now().get("/", &key.secret).status == 200);
    two.other.pause();
    let accepted = two.ask("DELETE", &format!("/v1/keys/{}?wait=0s", key.id), &json!({}));
    let receipt = accepted.json()["receipt"].clone();
    assert_eq!((accepted.status, &receipt["complete"]), (202, &json!(false)), "{}", accepted.text());
    assert!(receipt["complete_within_ms"].as_u64().unwrap() <= 2020, "{receipt}");
    let rev = receipt["rev"].to_string();
    let complete = two.ask("GET", &format!("/v1/revisions/{rev}?wait=30s"), &json!(null));
    assert_eq!(
        (complete.status, states(&complete.json())),
        (200, vec!["acknowledged", "lapsed"]),
        "{}",
        complete.text()
    );
    two.other.resume();
    let told = ask(two.other.now().address(), &key.secret, "GET", "/", &[("Keyward-At-Least", &rev)]);
    assert_eq!(told.status, 401, "{}", told.text());
    eventually("the other one is back", || two.listed(&two.one).iter().all(|one| one["state"] == "live"));

    // One that was killed is waited for until somebody says that it is dead.
    two.other.kill();
    let one = two.listed(&two.one).into_iter().find(|one| one["asked"] == false).unwrap();
    let evict = ["replicas", "evict", text(&one["id"]), "--i-know-it-is-dead"];
    assert!(two.one.now().cli(&evict).ends_with("is dead: no change waits for it any longer\n"));
    assert_eq!(two.listed(&two.one).len(), 1);
    let key = two.minted();
    let ended = two.ask("DELETE", &format!("/v1/keys/{}", key.id), &json!({}));
    assert_eq!((ended.status, states(&ended.json()["receipt"])), (200, vec!["acknowledged"]), "{}", ended.text());
    let audit = two.ask("GET", "/v1/audit?action=replica.evict", &json!(null));
    assert_eq!(audit.json()["entries"][0]["details"]["replica"], one["id"], "{}", audit.text());
}

#[test]
fn a_dialect_that_knows_no_202_answers_once_a_silent_replica_can_serve_nothing_from_before() {
    let database = Server::shared().database();
    let two = Two::started(&database.url());
    let key = two.minted();
    let address = two.one.now().address();
    eventually("the key is served", || two.one.now().get("/", &key.secret).status == 200);
    let keys = ask(address, &key.secret, "GET", "/v2/apikeys", &[]).json();
    two.other.pause();
    let path = format!("/v2/apikeys/{}", text(&keys["api_keys"][0]["id"]));
    assert_eq!(ask(address, &key.secret, "DELETE", &path, &[]).status, 204);
    let passed = two.ask("POST", "/v1/barrier?wait=0s", &json!({}));
    assert_eq!((passed.status, states(&passed.json())), (200, vec!["acknowledged", "lapsed"]), "{}", passed.text());
    two.other.resume();
    assert_eq!(two.other.now().get("/", &key.secret).status, 401);
}

//! Rotations that meet: with each other, with a hundred clients, and with a request that is under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::draw::Draw;
use crate::support::http::head;
use crate::support::origin::value;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

/// A keyward where holders manage keys too, in the native form and in Userplane's.
struct Desk {
    keyward: Keyward,
    origin: Origin,
    operator: String,
}

fn desk() -> Desk {
    let origin = Origin::plain();
    let config = "[self_service]\npath = \"/keyward\"\nchanges_per_minute = 0\n[dialects.userplane]\nenabled = true\n";
    let keyward = keyward().upstream(origin.url()).config(config).start();
    keyward.account("101");
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    Desk { keyward, origin, operator }
}

/// POST with a JSON body, by `secret`.
fn post(path: &str, secret: &str, more: &[(&str, &str)], body: &Value) -> String {
    let (body, authorization) = (body.to_string(), format!("Bearer {secret}"));
    let length = body.len().to_string();
    let own = [("Authorization", &*authorization), ("Content-Type", "application/json"), ("Content-Length", &length)];
    head("POST", path, &[&own[..], more].concat()) + &body
}

/// Two connections that carry two requests at once.
struct Pair([Wire; 2]);

impl Pair {
    /// Sends both in an order that is drawn, and gives the answers, the winner's first.
    fn race(&mut self, request: &str, draw: &mut Draw) -> [Answer; 2] {
        let first = draw.below(2);
        for at in [first, 1 - first] {
            self.0[at].send(request);
        }
        let [one, other] = &mut self.0;
        let answers = [one.answer("POST"), other.answer("POST")];
        let [one, other] = answers;
        if one.status < 300 { [one, other] } else { [other, one] }
    }
}

fn modes() -> [Value; 3] {
    [
        json!({}),
        json!({"mode": "grace", "grace_seconds": 3600, "supersede": true}),
        json!({"mode": "first_use", "grace_seconds": 60, "supersede": true}),
    ]
}

const TRIES: usize = 500;

#[test]
fn rule_7_of_two_operators_who_rotate_what_both_have_seen_one_wins_in_500_tries() {
    let desk = desk();
    let key = desk.keyward.service_key("101", &[]);
    let mut wires = Pair([(); 2].map(|()| Wire::connect(desk.keyward.admin())));
    let path = format!("/v1/keys/{}/rotate", key.id);
    let bearer = format!("Bearer {}", desk.operator);
    let shown = |wire: &mut Wire| {
        let answer = wire.ask("GET", &format!("/v1/keys/{}", key.id), &[("Authorization", &bearer)]);
        (answer.json()["key"]["generation"].as_u64().unwrap(), answer.header("etag").unwrap().to_owned())
    };
    let mut draw = Draw::new();
    let seed = draw.seed();
    for turn in 0..TRIES {
        let (before, tag) = shown(&mut wires.0[0]);
        let body = &modes()[draw.below(3)];
        let [won, lost] = wires.race(&post(&path, &desk.operator, &[("If-Match", &tag)], body), &mut draw);
        assert_eq!(won.status, 201, "seed {seed}, try {turn}, {body}: {}", won.text());
        let told = (lost.status, lost.code());
        let known = [(409, "ROTATION_CONFLICT"), (412, "PRECONDITION_FAILED")];
        assert!(
            known.iter().any(|(status, code)| told == (*status, (*code).into())),
            "seed {seed}, try {turn}: {told:?}"
        );
        assert_eq!(shown(&mut wires.0[0]).0, before + 1, "seed {seed}, try {turn}, {body}");
        // Judged, and not used: a first use is a change of its own.
        let secret = json!({"secret": won.json()["secret"]});
        wires.0[0].send(post("/v1/verify", &desk.operator, &[], &secret));
        assert_eq!(wires.0[0].answer("POST").json()["valid"], true, "seed {seed}, try {turn}, {body}");
    }
}

#[test]
fn rule_7_of_two_who_rotate_themselves_with_one_secret_one_wins_in_500_tries() {
    let desk = desk();
    let mut key = desk.keyward.service_key("101", &["--prefix", "uspl"]);
    let mut wires = Pair([(); 2].map(|()| desk.keyward.wire()));
    let mut draw = Draw::new();
    let seed = draw.seed();
    for turn in 0..TRIES {
        // What is not immediate leaves the secret alive, so that only what was seen tells the two apart.
        let ways = draw.below(4);
        let bearer = format!("Bearer {}", key.secret);
        let seen = wires.0[0].ask("GET", "/keyward/v1/whoami", &[("Authorization", &bearer)]);
        let tag = seen.header("etag").unwrap_or_else(|| panic!("{}", seen.text())).to_owned();
        let request = match ways {
            0 => post(&format!("/api/v1/public/me/api-keys/{}/rotate", key.id), &key.secret, &[], &json!({})),
            1 => post("/keyward/v1/keys/self/rotate", &key.secret, &[], &json!({})),
            way => post("/keyward/v1/keys/self/rotate", &key.secret, &[("If-Match", &tag)], &modes()[way - 1]),
        };
        let [won, lost] = wires.race(&request, &mut draw);
        let place = format!("seed {seed}, try {turn}, {}", request.lines().last().unwrap_or_default());
        let told = (lost.status, lost.json()[if ways == 0 { "error" } else { "code" }].as_str().unwrap().to_owned());
        let known: &[(u16, &str)] = match ways {
            // There is no other word for it in that form: its credential is dead.
            0 => &[(401, "API_KEY_INVALID")],
            1 => &[(401, "API_KEY_INVALID"), (409, "ROTATION_CONFLICT")],
            2 => &[(403, "API_KEY_SUPERSEDED"), (409, "ROTATION_CONFLICT"), (412, "PRECONDITION_FAILED")],
            _ => &[(409, "ROTATION_CONFLICT"), (412, "PRECONDITION_FAILED")],
        };
        assert!(known.iter().any(|(status, code)| told == (*status, (*code).into())), "{place}: {told:?}");
        let secret = match ways {
            0 => won.json()["data"]["secret"].clone(),
            _ => won.json()["secret"].clone(),
        };
        let secret = secret.as_str().unwrap_or_else(|| panic!("{place}: {} {}", won.status, won.text())).to_owned();
        assert_eq!(desk.keyward.get("/", &secret).status, 200, "{place}");
        if ways < 2 {
            assert_eq!(desk.keyward.get("/", &key.secret).status, 401, "{place}");
        }
        if ways == 3 {
            // The first use has been written when the key is seen to rotate no more into the new secret.
            let bearer = format!("Bearer {secret}");
            let mut state = || wires.0[0].ask("GET", "/keyward/v1/whoami", &[("Authorization", &bearer)]).json();
            eventually("the new secret is the current one", || state()["key"]["rotation"]["state"] != "pending");
        }
        key = Minted { secret, ..key };
    }
}

#[test]
fn rule_1_no_request_of_a_hundred_clients_passes_that_began_after_a_rotation_was_answered() {
    let desk = desk();
    let key = desk.keyward.service_key("101", &[]);
    let (answered, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..100 {
            let (desk, key, answered, ended, before, refused) = (&desk, &key, &answered, &ended, &before, &refused);
            scope.spawn(move || {
                let mut wire = desk.keyward.wire();
                while !ended.load(Ordering::SeqCst) {
                    // Some come anew each time, some keep their connection.
                    if client % 4 == 0 {
                        wire = desk.keyward.wire();
                    }
                    let late = answered.load(Ordering::SeqCst);
                    let answer = wire.get("/", &key.secret);
                    match (late, answer.status) {
                        (false, 200) => _ = before.fetch_add(1, Ordering::SeqCst),
                        (true, 401) => _ = refused.fetch_add(1, Ordering::SeqCst),
                        (false, 401) => {}
                        other => panic!("client {client}: {other:?}"),
                    }
                }
            });
        }
        eventually("all clients are at it", || before.load(Ordering::SeqCst) >= 500);
        let mut operator = Wire::connect(desk.keyward.admin());
        operator.send(post(&format!("/v1/keys/{}/rotate", key.id), &desk.operator, &[], &json!({})));
        assert_eq!(operator.answer("POST").status, 201);
        answered.store(true, Ordering::SeqCst);
        // A client that panicked ends the wait by its own end.
        eventually("they went on", || refused.load(Ordering::SeqCst) >= 500);
        ended.store(true, Ordering::SeqCst);
    });
}

#[test]
fn rule_2_a_request_whose_check_was_passed_finishes_and_none_may_begin() {
    let desk = desk();
    let key = desk.keyward.service_key("101", &[]);
    let authorization = format!("Token {}", key.secret);
    let mut upload = desk.keyward.wire();
    upload.send(head("POST", "/upload", &[("Authorization", &authorization), ("Content-Length", "10")]) + "first");
    eventually("the origin was asked", || desk.origin.seen().heads.len() == 1);
    assert_eq!(value(&desk.origin.last(), "content-length"), Some("10"));
    for way in [&["key", "rotate", &key.id][..], &["key", "revoke", &key.id]] {
        desk.keyward.cli(way);
        assert_eq!(desk.keyward.get("/", &key.secret).status, 401, "{way:?}");
    }
    upload.send("other");
    let answer = upload.answer("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    // The same connection brings nothing else.
    assert_eq!(upload.get("/", &key.secret).code(), "API_KEY_INVALID");
    assert_eq!(desk.origin.seen().heads.len(), 1);
}

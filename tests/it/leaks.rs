//! Secrets that somebody found: reported by GitHub with its signature, or by anybody without a name.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::http::head;
use crate::support::keyward::binary;
use crate::support::postgres::Server;
use crate::support::{Answer, Keyward, Minted, Origin, eventually, keyward};

/// A keyward with reports below `/keyward`, under this policy and these settings more.
fn watchful(policy: &str, more: &str) -> (Keyward, Origin) {
    let origin = Origin::plain();
    let config = format!("[leaks]\npath = \"/keyward\"\npolicy = {policy:?}\n{more}");
    let keyward = keyward().upstream(origin.url()).config(config).start();
    keyward.account("101");
    (keyward, origin)
}

fn post(keyward: &Keyward, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let length = body.len().to_string();
    let mut wire = keyward.wire();
    wire.send(head("POST", path, &[headers, &[("Content-Length", length.as_str())]].concat()) + body);
    wire.answer("POST")
}

fn report(keyward: &Keyward, text: &str) -> Answer {
    post(keyward, "/keyward/v1/leaks/found", &[], text)
}

fn reported(keyward: &Keyward, result: &str) -> u64 {
    keyward.metric(&format!("keyward_leak_reports_total{{result=\"{result}\"}}"))
}

fn works(keyward: &Keyward, secret: &str) -> bool {
    keyward.get("/", secret).status == 200
}

/// Whoever signs as GitHub does, and what it publishes of its key.
struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap() }
    }

    fn publish(&self, file: &Path) {
        let der =
            aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(self.pair.public_key())
                .unwrap();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()));
        let key = json!({"key_identifier": self.id, "key": pem, "is_current": true});
        std::fs::write(file, json!({"public_keys": [key]}).to_string()).unwrap();
    }

    fn report(&self, keyward: &Keyward, body: &str) -> Answer {
        self.report_signed(keyward, body, body)
    }

    fn report_signed(&self, keyward: &Keyward, body: &str, signed: &str) -> Answer {
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let signature = STANDARD.encode(signature.as_ref());
        let headers = [
            ("Content-Type", "application/json"),
            ("GITHUB-PUBLIC-KEY-IDENTIFIER", self.id.as_str()),
            ("GITHUB-PUBLIC-KEY-SIGNATURE", &signature),
        ];
        post(keyward, "/keyward/v1/leaks/github", &headers, body)
    }
}

/// A keyward that believes a signer.
fn believing(policy: &str, more: &str) -> (Keyward, TempDir, Signer) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("github-keys.json");
    let signer = Signer::new("one");
    signer.publish(&file);
    let (keyward, _) = watchful(policy, &format!("github_keys_file = {file:?}\n{more}"));
    (keyward, folder, signer)
}

fn matches(tokens: &[&str]) -> String {
    let one =
        |token: &&str| json!({"token": token, "type": "keyward", "url": "https://example.com/x", "source": "commit"});
    json!(tokens.iter().map(one).collect::<Vec<_>>()).to_string()
}

fn labels(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_reports_a_secret_is_told_the_same_whatever_it_is_worth() {
    let (keyward, origin) = watchful("alert", "reports_per_second = 1000\n");
    let live = keyward.service_key("101", &[]);
    let dead = keyward.service_key("101", &[]);
    keyward.cli(&["key", "revoke", &dead.id]);
    let invented = format!("kw_live_{}{}4AlRon", "0".repeat(12), "a".repeat(32));
    let told = |text: &str| {
        let answer = report(&keyward, text);
        let plain = |(name, _): &(String, String)| !["x-request-id", "date"].contains(&name.as_str());
        (answer.status, answer.headers.into_iter().filter(plain).collect::<Vec<_>>(), answer.body)
    };
    let first = told(&live.secret);
    assert_eq!((first.0, first.2.len()), (202, 0));
    for text in [dead.secret.as_str(), &invented, "", "nothing", &format!("in a text: {}!", live.secret)] {
        assert_eq!(told(text), first, "{text}");
    }
    eventually("all are looked into", || (reported(&keyward, "alerted"), reported(&keyward, "dead")) == (2, 1));
    eventually("the invented one too", || reported(&keyward, "unknown") == 1);
    let line = keyward.stderr.expect("a secret was found in the open");
    assert!(line.contains(&live.id) && line.contains("WARN") && line.contains("127.0.0.1"), "{line}");
    assert!(works(&keyward, &live.secret), "the policy is to tell, and no more");
    let all = [keyward.stderr.all(), keyward.stdout.all()].concat().join("\n");
    for secret in [&live.secret, &dead.secret, &invented] {
        assert!(!all.contains(secret.as_str()));
    }
    assert!(origin.seen().heads.iter().all(|head| !head.contains("leaks")));
}

#[test]
fn by_policy_a_found_key_is_revoked_and_one_that_was_rotated_since_is_not() {
    let (keyward, _origin) = watchful("revoke", "");
    let key = keyward.service_key("101", &[]);
    let newer: Value = keyward.json(&["key", "rotate", &key.id]);
    let newer = newer["secret"].as_str().unwrap();
    assert_eq!(report(&keyward, &key.secret).status, 202);
    eventually("the old secret is looked into", || reported(&keyward, "dead") == 1);
    assert!(works(&keyward, newer), "nobody found the new one");
    let newest: Value = keyward.json(&["key", "rotate", &key.id, "--grace", "1h"]);
    let newest = newest["secret"].as_str().unwrap();
    assert_eq!(report(&keyward, &format!("export KEY={newer}")).status, 202);
    eventually("the key is revoked", || !works(&keyward, newer) && !works(&keyward, newest));
    eventually("it is counted", || reported(&keyward, "revoked") == 1);
    assert_eq!(keyward.json(&["key", "show", &key.id])["state"], "revoked");
}

#[test]
fn beside_a_silent_replica_no_found_key_waits_for_another_to_be_revoked_everywhere() {
    let database = Server::shared().database();
    let start = |more: &str| {
        let config = format!("store.fence = \"20s\"\n{more}");
        keyward().store(database.url()).upstream("echo").config(config).start()
    };
    let watchful = start("[leaks]\npath = \"/keyward\"\npolicy = \"revoke\"\n");
    let silent = start("");
    watchful.account("101");
    let keys: Vec<_> = (0..3).map(|_| watchful.service_key("101", &[])).collect();
    eventually("they are known", || keys.iter().all(|key| works(&watchful, &key.secret)));
    silent.signal("STOP");
    let text: Vec<_> = keys.iter().map(|key| key.secret.as_str()).collect();
    assert_eq!(report(&watchful, &text.join("\n")).status, 202);
    eventually("none is accepted any more", || !keys.iter().any(|key| works(&watchful, &key.secret)));
    assert_eq!(watchful.metric("keyward_changes_in_force_total"), 0, "nobody waited for the silent one");
}

#[test]
fn github_is_believed_by_its_signature_and_told_which_are_ours() {
    let (keyward, _folder, github) = believing("revoke", "");
    let key = keyward.service_key("101", &[]);
    let body = matches(&[&key.secret, "some_token", &key.secret]);
    let wrong = Signer::new("one");
    let stranger = Signer::new("two");
    let refused = [
        wrong.report(&keyward, &body),
        stranger.report(&keyward, &body),
        github.report_signed(&keyward, &body, &body.replace("commit", "content")),
        github.report_signed(&keyward, &format!("{body} "), &body),
        post(&keyward, "/keyward/v1/leaks/github", &[("Content-Type", "application/json")], &body),
    ];
    for answer in refused {
        assert_eq!((answer.status, answer.code().as_str()), (403, "SIGNATURE_INVALID"));
    }
    assert!(works(&keyward, &key.secret));
    assert_eq!(reported(&keyward, "unsigned"), 5);
    let answer = github.report(&keyward, &body);
    assert_eq!(labels(&answer), ["true_positive", "false_positive", "true_positive"]);
    assert!(!works(&keyward, &key.secret), "the answer waits for it");
    let hash: String = Sha256::digest(&key.secret).iter().map(|byte| format!("{byte:02x}")).collect();
    let first = json!({"token_hash": hash, "token_type": "keyward", "label": "true_positive"});
    assert_eq!(answer.json()[0], first);
    let noted = keyward.json(&["audit", "--action", "key.leak"]);
    let entry = &noted["entries"][0];
    assert_eq!((&entry["key"], &entry["details"]["source"]), (&json!(key.id), &json!("github")), "{noted}");
    let line = keyward.stderr.expect("a secret was found in the open");
    assert!(line.contains("https://example.com/x") && line.contains("revoked"), "{line}");
    let results = ["revoked", "dead", "unknown"].map(|result| reported(&keyward, result));
    assert_eq!(results, [1, 1, 1]);
    assert_eq!(github.report(&keyward, "{}").code(), "VALIDATION_FAILED");
    assert_eq!(labels(&github.report(&keyward, "[]")), [""; 0]);
}

#[test]
fn githubs_keys_are_read_again_when_their_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("github-keys.json");
    let [old, new] = ["old", "new"].map(Signer::new);
    old.publish(&file);
    let (keyward, _origin) = watchful("alert", &format!("github_keys_file = {file:?}\n"));
    assert_eq!(old.report(&keyward, "[]").status, 200);
    assert_eq!(new.report(&keyward, "[]").status, 403);
    new.publish(&file);
    eventually("the new key is believed", || new.report(&keyward, "[]").status == 200);
    assert_eq!(old.report(&keyward, "[]").status, 403);
    std::fs::write(&file, "{}").unwrap();
    keyward.stderr.expect("leaks.github_keys_file");
    assert_eq!(new.report(&keyward, "[]").status, 200, "what has a flaw changes nothing");
}

#[test]
fn reports_of_strangers_come_at_a_rate_and_hold_up_nobody_else() {
    let (keyward, _folder, github) = believing("alert", "reports_per_second = 1\n");
    let answers: Vec<Answer> = (0..30).map(|_| report(&keyward, "nothing")).collect();
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!limited.is_empty() && limited.len() < 30);
    assert_eq!((limited[0].code().as_str(), limited[0].header("retry-after")), ("RATE_LIMITED", Some("1")));
    assert_eq!(github.report(&keyward, "[]").status, 200);
    assert_eq!(reported(&keyward, "limited"), limited.len() as u64);
    let long = "x".repeat(64 * 1024 + 1);
    eventually("one is let in again, and is too long", || report(&keyward, &long).status == 413);
}

#[test]
fn without_the_setting_there_is_no_such_door_and_without_githubs_keys_only_one() {
    let origin = Origin::plain();
    let plain = keyward().upstream(origin.url()).start();
    assert_eq!(report(&plain, "nothing").code(), "API_KEY_REQUIRED");
    let (keyward, _origin) = watchful("alert", "");
    let answer = Signer::new("one").report(&keyward, "[]");
    assert_eq!((answer.status, answer.code().as_str()), (404, "ROUTE_NOT_FOUND"));
    let mut wire = keyward.wire();
    let answer = wire.ask("GET", "/keyward/v1/leaks/found", &[]);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    // Whoever asks with a key is no one else here, and elsewhere the path is the API's.
    let key = keyward.service_key("101", &[]);
    let bearer = format!("Bearer {}", key.secret);
    assert_eq!(post(&keyward, "/keyward/v1/leaks/found", &[("Authorization", &bearer)], "nothing").status, 202);
    assert_eq!(post(&keyward, "/keyward/v1/leaks", &[], "").status, 404);
    assert_eq!(post(&keyward, "/keyward/v1/leaksx", &[], "").status, 401);
}

/// `keyward key found` beside this server, with this text; what it printed, and how it ended.
fn found(keyward: &Keyward, text: &str, more: &[&str]) -> (bool, String) {
    let store = format!("sqlite://{}", keyward.database().display());
    let mut command = binary();
    command.args(["key", "found", "--store", &store]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_command_line_tells_whose_secrets_are_in_a_text() {
    let (mut keyward, _origin) = watchful("alert", "");
    let key: Minted = keyward.service_key("101", &["--name", "ci"]);
    let invented = format!("kw_live_{}{}4AlRon", "0".repeat(12), "a".repeat(32));
    keyward.cli(&["key", "rotate", &key.id, "--grace", "1h"]);
    let text = format!("a log\nAuthorization: Token {}\nand {invented} too\n", key.secret);
    let (done, said) = found(&keyward, &text, &[]);
    assert!(done && !said.contains(&key.secret) && !said.contains(&invented), "{said}");
    let line = said.lines().find(|line| line.contains(&key.id)).unwrap();
    for word in ["grace", "active", "service", "101", "ci"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(said.lines().any(|line| line.contains("unknown") && line.contains("kw_live_000000000000")), "{said}");
    keyward.stop();
    let (done, said) = found(&keyward, &text, &["--json"]);
    let rows: Value = serde_json::from_str(&said).unwrap();
    assert!(done && rows["found"].as_array().unwrap().len() == 2, "{said}");
    let ours = rows["found"].as_array().unwrap().iter().find(|row| !row["key"].is_null()).unwrap();
    assert_eq!((&ours["key"]["id"], &ours["secret_state"]), (&json!(key.id), &json!("grace")));
    let (done, said) = found(&keyward, "no key in here", &[]);
    assert!(!done && said.contains("there is no key in that text"), "{said}");
    let (done, said) = found(&keyward, "one-word-of-somebody-else\n", &[]);
    assert!(done && said.contains("unknown") && !said.contains("one-word"), "{said}");
}

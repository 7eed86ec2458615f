//! Accounts beyond the path: query, header and JSON body have to agree with it, where a route says so.

use std::sync::mpsc::{self, Receiver};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::http::head;
use crate::support::origin::value;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

const AGREE: &str = "agree = [{ query = \"account_id\" }, { header = \"X-Account\" }, { body = \"/account_id\" }]\n";

/// A keyward before an origin that tells every body it was sent, with a key of account 101.
fn started(more: &str, route: &str) -> (Keyward, Origin, Receiver<Vec<u8>>, Minted) {
    let (sent, bodies) = mpsc::channel();
    let origin = Origin::scripted(move |line| {
        while let Some((_, body)) = line.request() {
            let _ = sent.send(body);
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let routes = format!(
        "[[routes]]\npath = \"/api/accounts/{{account}}/**\"\nservice = \"api\"\n{AGREE}{route}\
         [[routes]]\npath = \"/jobs\"\nservice = \"api\"\n{AGREE}\
         [[routes]]\npath = \"/plain/{{account}}\"\nservice = \"api\"\n"
    );
    let keyward = keyward().config(format!("{more}[services.api]\nurl = \"{}\"\n{routes}", origin.url())).start();
    keyward.account("101");
    keyward.account("102");
    let key = keyward.service_key("101", &[]);
    (keyward, origin, bodies, key)
}

fn post(wire: &mut Wire, path: &str, key: &Minted, lines: &[(&str, &str)], body: &str) -> Answer {
    let (token, length) = (format!("Token {}", key.secret), body.len().to_string());
    let mut headers = vec![("Authorization", token.as_str()), ("Content-Length", length.as_str())];
    headers.extend(lines);
    wire.send(head("POST", path, &headers) + body);
    wire.answer("POST")
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn json(keyward: &Keyward, path: &str, key: &Minted, body: &str) -> Answer {
    post(&mut keyward.wire(), path, key, &[JSON], body)
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[test]
fn a_query_or_a_header_that_names_another_account_is_refused_as_its_path_is() {
    let (keyward, origin, _bodies, key) = started("", "");
    let token = format!("Token {}", key.secret);
    let ask = |target: &str, lines: &[(&str, &str)]| {
        let mut headers = vec![("Authorization", token.as_str())];
        headers.extend(lines);
        keyward.wire().ask("GET", target, &headers)
    };
    for (target, lines) in [
        ("/api/accounts/101/jobs", &[][..]),
        ("/api/accounts/101/jobs?account_id=101", &[]),
        ("/api/accounts/101/jobs?account_id=101", &[("X-Account", "101")]),
    ] {
        assert_eq!(ask(target, lines).status, 200, "{target} {lines:?}");
    }
    let sent = origin.seen().heads.len();
    let path = refusal(&ask("/api/accounts/102/jobs", &[]));
    assert_eq!(path, (404, "ACCOUNT_NOT_FOUND".into()));
    for (target, lines) in [
        ("/api/accounts/101/jobs?account_id=102", &[][..]),
        ("/api/accounts/101/jobs?account%5Fid=%3102", &[]),
        ("/api/accounts/101/jobs?account_id=101&account_id=102", &[]),
        ("/api/accounts/101/jobs?account_id=", &[]),
        ("/api/accounts/101/jobs", &[("X-Account", "102")]),
        ("/api/accounts/101/jobs", &[("X-Account", "101"), ("x-account", "102")]),
        ("/api/accounts/102/jobs?account_id=101", &[]),
    ] {
        assert_eq!(refusal(&ask(target, lines)), path, "{target} {lines:?}");
    }
    assert_eq!(origin.seen().heads.len(), sent);
    assert_eq!(keyward.logged("/api/accounts/102/jobs", 1)[0]["reason"], "account_mismatch");
}

#[test]
fn a_body_that_names_another_account_is_refused_and_one_that_does_not_goes_on_byte_for_byte() {
    let (keyward, _origin, bodies, key) = started("", "");
    let path = "/api/accounts/101/jobs";
    for body in [
        "{ \"account_id\" : 101, \"n\": 1.10 }\n",
        "{\"account_id\":\"101\"}",
        "{\"name\":\"x\"}",
        "{\"account_id\":null}",
    ] {
        assert_eq!(json(&keyward, path, &key, body).status, 200, "{body}");
        assert_eq!(bodies.recv().unwrap(), body.as_bytes());
    }
    for body in
        ["{\"account_id\":102}", "{\"Account_Id\":102}", "{\"account\\u005fid\":\"102\"}", "{\"account_id\":[101]}"]
    {
        let refused = json(&keyward, path, &key, body);
        assert_eq!(refusal(&refused), (404, "ACCOUNT_NOT_FOUND".into()), "{body}");
    }
    assert!(bodies.try_recv().is_err());
}

#[test]
fn a_body_without_an_account_in_the_path_has_to_name_the_keys_own() {
    let (keyward, origin, _bodies, key) = started("", "");
    assert_eq!(json(&keyward, "/jobs", &key, "{\"account_id\":101}").status, 200);
    assert_eq!(json(&keyward, "/jobs", &key, "{}").status, 200);
    assert_eq!(json(&keyward, "/jobs", &key, "{\"account_id\":102}").code(), "ACCOUNT_NOT_FOUND");
    // A user key acts where the body says.
    keyward.cli(&["user", "create", "u1"]);
    keyward.cli(&["member", "add", "--account", "102", "--user", "u1", "--permission", "jobs:run"]);
    let user = keyward.mint(&["--kind", "user", "--user", "u1"]);
    assert_eq!(json(&keyward, "/jobs", &user, "{\"account_id\":102}").status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-account"), Some("102"));
    assert_eq!(value(&origin.last(), "x-keyward-permissions"), Some("jobs:run"));
    assert_eq!(json(&keyward, "/jobs?account_id=102", &user, "{\"account_id\":101}").code(), "ACCOUNT_NOT_FOUND");
}

#[test]
fn a_body_that_reads_in_two_ways_or_in_none_is_a_400() {
    let (keyward, origin, _bodies, key) = started("", "");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    for body in [
        "{\"account_id\":101,\"account_id\":101}",
        "{\"a\":{\"b\":1,\"b\":2}}",
        "{",
        "[]",
        "nonsense",
        "\u{feff}{}",
        &deep,
    ] {
        let answer = json(&keyward, "/api/accounts/101/jobs", &key, body);
        assert_eq!(refusal(&answer), (400, "REQUEST_MALFORMED".into()), "{body}");
    }
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn a_body_of_another_type_or_in_a_coding_is_a_415() {
    let (keyward, origin, _bodies, key) = started("", "");
    for lines in [
        &[][..],
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &[("Content-Type", "application/json; charset=utf-16")],
        &[JSON, JSON],
        &[JSON, ("Content-Encoding", "gzip")],
        &[JSON, ("Content-Encoding", "identity")],
    ] {
        let answer = post(&mut keyward.wire(), "/api/accounts/101/jobs", &key, lines, "account_id=102");
        assert_eq!(refusal(&answer), (415, "UNSUPPORTED_MEDIA_TYPE".into()), "{lines:?}");
    }
    assert!(origin.seen().heads.is_empty());
    assert_eq!(keyward.logged("/api/accounts/101/jobs", 6)[0]["reason"], "body_unsupported");
    assert_eq!(keyward.metric("keyward_auth_decisions_total{result=\"refused\",reason=\"body_unsupported\"}"), 6);
    // Where there is none, there is nothing to look into.
    assert_eq!(keyward.get("/api/accounts/101/jobs", &key.secret).status, 200);
}

#[test]
fn a_body_above_the_limit_is_a_413_and_one_in_chunks_is_forwarded_whole() {
    let (keyward, origin, bodies, key) = started("[gateway]\njson_body_limit = \"1KiB\"\n", "");
    let path = "/api/accounts/101/jobs";
    let long = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    assert_eq!(refusal(&json(&keyward, path, &key, &long(1025))), (413, "PAYLOAD_TOO_LARGE".into()));
    assert_eq!(json(&keyward, path, &key, &long(1024)).status, 200);
    assert_eq!(bodies.recv().unwrap(), long(1024).as_bytes());
    let token = format!("Token {}", key.secret);
    let headers = [("Authorization", token.as_str()), JSON, ("Transfer-Encoding", "chunked")];
    let in_chunks = |chunks: &str| {
        let mut wire = keyward.wire();
        wire.send(head("POST", path, &headers) + chunks);
        wire.answer("POST")
    };
    let body = "{\"account_id\":101}";
    assert_eq!(in_chunks("9\r\n{\"account\r\n9\r\n_id\":101}\r\n0\r\n\r\n").status, 200);
    assert_eq!(bodies.recv().unwrap(), body.as_bytes());
    assert_eq!(value(&origin.last(), "content-length"), Some("18"));
    assert_eq!(value(&origin.last(), "transfer-encoding"), None);
    assert_eq!(in_chunks("0\r\n\r\n").status, 200);
    assert_eq!(bodies.recv().unwrap(), b"");
    assert_eq!(in_chunks("9\r\n{\"account\r\n9\r\n_id\":102}\r\n0\r\n\r\n").code(), "ACCOUNT_NOT_FOUND");
    let tail = format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025));
    assert_eq!(in_chunks(&tail).status, 413);
    assert_eq!(in_chunks("zz\r\n").code(), "REQUEST_MALFORMED");
}

#[test]
fn a_body_is_asked_for_only_of_a_key_that_may_and_read_only_where_a_route_says_so() {
    let (keyward, _origin, bodies, key) = started("", "permission = \"jobs:run\"\n");
    let ask = |path: &str, secret: &str| {
        let token = format!("Token {secret}");
        let headers = [("Authorization", token.as_str()), JSON, ("Content-Length", "18"), ("Expect", "100-continue")];
        let mut wire = keyward.wire();
        wire.send(head("POST", path, &headers));
        (wire.head().0, wire)
    };
    assert_eq!(ask("/api/accounts/101/jobs", "nobodys-secret-at-all").0, 401);
    assert_eq!(ask("/api/accounts/102/jobs", &key.secret).0, 404);
    assert_eq!(ask("/api/accounts/101/jobs", &key.secret).0, 403);
    let able = keyward.service_key("101", &["--permission", "jobs:run"]);
    let (status, mut wire) = ask("/api/accounts/101/jobs", &able.secret);
    assert_eq!(status, 100);
    wire.send("{\"account_id\":101}");
    assert_eq!(wire.answer("POST").status, 200);
    assert_eq!(bodies.recv().unwrap(), b"{\"account_id\":101}");
    // Whatever it is, it is nobody's business here.
    let other = post(&mut keyward.wire(), "/plain/101", &key, &[], "{\"account_id\":102,\"account_id\":");
    assert_eq!(other.status, 200);
}

#[test]
fn a_connection_goes_on_after_a_body_that_was_read_and_refused() {
    let (keyward, _origin, bodies, key) = started("", "");
    let mut wire = keyward.wire();
    for (body, status) in [("{\"account_id\":102}", 404), ("{\"account_id\":101}", 200), ("{", 400), ("{}", 200)] {
        assert_eq!(post(&mut wire, "/api/accounts/101/jobs", &key, &[JSON], body).status, status, "{body}");
    }
    assert_eq!(bodies.try_iter().count(), 2);
}

/// Requests over one HTTP/2 connection, one after the other: method, path and body of JSON; status and body of each answer.
pub(super) fn over_http2(keyward: &Keyward, key: &Minted, requests: &[(&str, &str, String)]) -> Vec<(u16, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TokioIo::new(TcpStream::connect(keyward.http2_address()).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for (method, path, body) in requests {
            let request = http::Request::builder().method(*method).uri(format!("http://api.test{path}"));
            let request = request.header("authorization", format!("Token {}", key.secret));
            let request = request.header(JSON.0, JSON.1).body(Full::new(Bytes::from(body.clone()))).unwrap();
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            answers.push((head.status.as_u16(), body.collect().await.unwrap().to_bytes()));
        }
        answers
    })
}

#[test]
fn over_http2_bodies_are_judged_alike_and_the_connection_goes_on() {
    let listen = "[server]\nlisten = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\n";
    let (keyward, _origin, bodies, key) = started(listen, "");
    let path = "/api/accounts/101/jobs";
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100 * 1024));
    let requests: Vec<(&str, &str, String)> = vec![
        ("POST", path, "{\"account_id\":102}".into()),
        ("POST", path, "{\"account_id\":101}".into()),
        ("POST", path, long),
        ("POST", path, "{".into()),
        ("POST", path, "{}".into()),
    ];
    let statuses: Vec<u16> = over_http2(&keyward, &key, &requests).into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses, [404, 200, 413, 400, 200]);
    assert_eq!(bodies.try_iter().collect::<Vec<_>>(), [&b"{\"account_id\":101}"[..], b"{}"]);
}

#[test]
fn a_body_that_stops_coming_is_a_408() {
    let (keyward, origin, _bodies, key) = started("[server.timeouts]\nbody_idle = \"200ms\"\n", "");
    let token = format!("Token {}", key.secret);
    let mut wire = keyward.wire();
    let headers = [("Authorization", token.as_str()), JSON, ("Content-Length", "18")];
    wire.send(head("POST", "/api/accounts/101/jobs", &headers) + "{");
    assert_eq!(refusal(&wire.answer("POST")), (408, "REQUEST_TIMEOUT".into()));
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn where_the_account_is_only_reported_so_is_what_does_not_agree() {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/accounts/{{account}}/**\"\nservice = \"api\"\n\
             agree = [{{ query = \"account_id\" }}]\nreport = {{ account = {{ path = \"account\" }} }}\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    assert_eq!(keyward.get("/accounts/101/?account_id=102", &key.secret).status, 200);
    assert_eq!(value(&origin.last(), "x-keyward-account"), Some("101"));
    assert_eq!(keyward.logged("/accounts/101/", 1)[0]["would_refuse"], "account_mismatch");
}

#[test]
fn a_superseded_secret_is_seen_to_be_used_before_the_body_that_is_judged_has_come() {
    let (keyward, _origin, _bodies, key) = started("", "");
    keyward.cli(&["key", "rotate", &key.id, "--grace", "1h"]);
    let uses = || {
        let shown = keyward.json(&["key", "show", &key.id]);
        shown["secrets"][1]["callers"].as_array().unwrap().iter().map(|caller| caller["count"].as_u64().unwrap()).sum()
    };
    let (token, body) = (format!("Token {}", key.secret), "{\"account_id\": 101}");
    let length = body.len().to_string();
    let lines = [("Authorization", token.as_str()), ("Content-Length", length.as_str()), JSON];
    let mut wire = keyward.wire();
    wire.send(head("POST", "/api/accounts/101/jobs", &lines) + &body[..5]);
    eventually("its use is known", || {
        let uses: u64 = uses();
        uses == 1
    });
    wire.send(&body[5..]);
    assert_eq!(wire.answer("POST").status, 200);
    let uses: u64 = uses();
    assert_eq!(uses, 1, "it is one use");
}

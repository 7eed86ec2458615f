//! What meets a limit of the request path: its own answer, its own word in the log, its own number in the metrics.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::pki::Root;
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

fn before(url: &str, more: &str) -> (Keyward, Minted) {
    let config = format!(
        "server.workers = 1\n{more}\n[services.api]\nurl = \"{url}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n"
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

/// An origin that answers each request once it is told to.
fn gated() -> (Origin, Sender<()>) {
    let (open, gate): (_, Receiver<()>) = channel();
    let gate = Mutex::new(gate);
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            if gate.lock().unwrap().recv().is_err() {
                return;
            }
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (origin, open)
}

fn ask(keyward: &Keyward, key: &Minted, path: &str) -> Wire {
    let mut wire = keyward.wire();
    wire.send(get(key, path));
    wire
}

fn get(key: &Minted, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret)
}

fn post(key: &Minted, framing: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{framing}\r\n\r\n", key.secret)
}

/// Waits until the metrics have this line.
fn expect_line(keyward: &Keyward, line: &str) {
    eventually(line, || keyward.metrics().lines().any(|have| have == line));
}

/// How many decisions ended so.
fn expect_decision(keyward: &Keyward, result: &str, reason: &str, count: usize) {
    expect_line(keyward, &format!("keyward_auth_decisions_total{{result=\"{result}\",reason=\"{reason}\"}} {count}"));
}

fn status_and_code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[test]
fn a_request_too_many_is_told_to_come_back_before_anything_is_done_for_it() {
    let (origin, open) = gated();
    let (keyward, key) = before(&origin.url(), "server.limits.requests = 2");
    let mut held: Vec<_> = ["/one", "/two"].iter().map(|path| ask(&keyward, &key, path)).collect();
    eventually("both are asked", || origin.seen().heads.len() == 2);
    expect_line(&keyward, "keyward_requests_in_flight 2.0");
    // A wrong key is not told so either: it was not looked at.
    for secret in [key.secret.as_str(), "an-opaque-secret-that-nobody-has"] {
        let answer = keyward.get("/three", secret);
        assert_eq!(status_and_code(&answer), (503, "OVERLOADED".to_owned()));
        assert_eq!((answer.header("retry-after"), answer.header("www-authenticate")), (Some("1"), None));
    }
    let line = keyward.logged("/three", 2).remove(0);
    assert_eq!((line["decision"].as_str(), line["reason"].as_str()), (Some("failed"), Some("overloaded")));
    expect_decision(&keyward, "failed", "overloaded", 2);
    (0..2).for_each(|_| open.send(()).unwrap());
    assert!(held.iter_mut().all(|wire| wire.answer("GET").status == 200));
    expect_line(&keyward, "keyward_requests_in_flight 0.0");
    open.send(()).unwrap();
    assert_eq!(keyward.get("/four", &key.secret).status, 200);
    assert_eq!(origin.seen().heads.len(), 3);
}

#[test]
fn the_streams_of_http_2_count_among_the_requests_in_flight() {
    let (origin, open) = gated();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let keyward = setup
        .config(format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\nlimits.requests = 2\n\
             [[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n",
            files.chain, files.key
        ))
        .upstream(origin.url())
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let url = format!("https://localhost:{}/", keyward.tls_address().port());
    let token = format!("Authorization: Token {}", key.secret);
    let load = ["-n", "10", "-c", "1", "-m", "10", "-H", &token, &url];
    let mut load = Command::new("h2load").args(load).stdout(std::process::Stdio::piped()).spawn().unwrap();
    expect_decision(&keyward, "failed", "overloaded", 8);
    expect_line(&keyward, "keyward_requests_in_flight 2.0");
    (0..2).for_each(|_| open.send(()).unwrap());
    assert!(load.wait().unwrap().success());
    expect_line(&keyward, "keyward_requests_in_flight 0.0");
}

#[test]
fn a_body_that_comes_a_byte_at_a_time_is_broken_off() {
    let origin = Origin::plain();
    let limits = "server.timeouts.body_idle = \"3s\"\nserver.limits.body_rate = \"10KiB\"";
    let (keyward, key) = before(&origin.url(), limits);
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 1000000"));
    let mut drip = wire.another();
    let dripping = std::thread::spawn(move || {
        // Never so long a pause that the body would count as stalled.
        while drip.try_send(b"x") {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(status_and_code(&wire.answer("POST")), (408, "REQUEST_TIMEOUT".to_owned()));
    drop(wire);
    expect_decision(&keyward, "allowed", "body_too_slow", 1);
    dripping.join().unwrap();
}

#[test]
fn a_body_that_stops_or_is_too_long_is_counted_as_such() {
    let origin = Origin::plain();
    let limits = "server.timeouts.body_idle = \"200ms\"\ngateway.body_limit = \"10B\"";
    let (keyward, key) = before(&origin.url(), limits);
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 10") + "half");
    assert_eq!(status_and_code(&wire.answer("POST")), (408, "REQUEST_TIMEOUT".to_owned()));
    expect_decision(&keyward, "allowed", "body_stalled", 1);
    for (sent, count) in
        [("Content-Length: 11\r\n\r\nhello world", 1), ("Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n", 2)]
    {
        let mut wire = keyward.wire();
        wire.send(format!("POST /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{sent}", key.secret));
        assert_eq!(status_and_code(&wire.answer("POST")), (413, "PAYLOAD_TOO_LARGE".to_owned()));
        expect_decision(&keyward, "allowed", "body_too_large", count);
    }
}

#[test]
fn a_head_that_is_too_large_is_counted_whoever_refuses_it() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin.url(), "server.limits.header_bytes = \"8KiB\"");
    let ask = |bytes: usize| {
        keyward.wire().ask(
            "GET",
            "/",
            &[("Authorization", &format!("Token {}", key.secret)), ("X", &"x".repeat(bytes))],
        )
    };
    assert_eq!(ask(7 * 1024).status, 200);
    assert_eq!(status_and_code(&ask(9 * 1024)), (431, "HEADERS_TOO_LARGE".to_owned()));
    expect_decision(&keyward, "refused", "head_too_large", 1);
    // Above twice the limit it is not even parsed.
    assert_eq!(ask(40 * 1024).status, 431);
    expect_line(&keyward, "keyward_parse_errors_total{reason=\"too_large\"} 1");
}

#[test]
fn an_origin_that_does_not_let_us_connect_is_given_up() {
    // It accepts, and is silent where TLS is to begin.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (keyward, key) = before(&url, "origin.connect = \"200ms\"");
    let answer = keyward.get("/", &key.secret);
    assert_eq!(status_and_code(&answer), (504, "UPSTREAM_TIMEOUT".to_owned()));
    expect_decision(&keyward, "allowed", "origin_connect_timed_out", 1);
    expect_line(&keyward, "keyward_origin_connections_total{service=\"api\",result=\"timed_out\"} 1");
    expect_line(&keyward, "keyward_origin_connections_open{service=\"api\"} 0");
}

#[test]
fn an_origin_that_is_silent_is_given_up() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.until_ended();
    });
    let (keyward, key) = before(&origin.url(), "origin.response_header = \"200ms\"");
    let answer = keyward.get("/", &key.secret);
    assert_eq!(status_and_code(&answer), (504, "UPSTREAM_TIMEOUT".to_owned()));
    expect_decision(&keyward, "allowed", "origin_answer_timed_out", 1);
    expect_line(&keyward, "keyward_origin_connections_open{service=\"api\"} 0");
}

#[test]
fn an_answer_that_stops_coming_is_counted() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        line.until_ended();
    });
    let (keyward, key) = before(&origin.url(), "origin.body_idle = \"200ms\"");
    let mut wire = ask(&keyward, &key, "/");
    assert_eq!(wire.head().0, 200);
    assert_eq!(wire.chunk().unwrap(), b"half");
    assert!(wire.is_ended());
    expect_decision(&keyward, "allowed", "origin_stalled", 1);
}

#[test]
fn an_answers_head_that_is_too_large_is_no_answer() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.send(format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(20 * 1024)));
        line.until_ended();
    });
    let (keyward, key) = before(&origin.url(), "origin.response_header_bytes = \"16KiB\"");
    let answer = keyward.get("/", &key.secret);
    assert_eq!(status_and_code(&answer), (502, "UPSTREAM_BROKEN".to_owned()));
    expect_decision(&keyward, "allowed", "origin_head_too_large", 1);
}

#[test]
fn who_waits_for_an_origin_is_bounded_in_number_and_in_time() {
    let (origin, open) = gated();
    let limits = "origin.connections = 1\norigin.waiting = 1\norigin.connect = \"5s\"";
    let (keyward, key) = before(&origin.url(), limits);
    let mut first = ask(&keyward, &key, "/first");
    eventually("the origin is asked", || origin.seen().heads.len() == 1);
    expect_line(&keyward, "keyward_origin_connections_open{service=\"api\"} 1");
    let mut second = ask(&keyward, &key, "/second");
    expect_line(&keyward, "keyward_origin_connections_total{service=\"api\",result=\"waited\"} 1");
    // There is no room to wait; it is told at once, while the other still waits.
    let third = keyward.get("/third", &key.secret);
    assert_eq!(status_and_code(&third), (503, "UPSTREAM_BUSY".to_owned()));
    assert_eq!(third.header("retry-after"), Some("1"));
    expect_decision(&keyward, "allowed", "origin_queue_full", 1);
    assert_eq!(status_and_code(&second.answer("GET")), (503, "UPSTREAM_BUSY".to_owned()));
    expect_decision(&keyward, "allowed", "origin_busy", 1);
    open.send(()).unwrap();
    assert_eq!(first.answer("GET").status, 200);
}

#[test]
fn a_connection_to_an_origin_that_nobody_uses_ends_and_is_counted() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin.url(), "origin.keepalive_idle = \"100ms\"");
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    origin.expect_ended(1);
    expect_line(&keyward, "keyward_origin_connections_total{service=\"api\",result=\"closed\"} 1");
    expect_line(&keyward, "keyward_origin_connections_open{service=\"api\"} 0");
}

#[test]
fn this_machine_is_not_held_to_the_connections_of_an_address() {
    let (keyward, key) = before(&Origin::plain().url(), "server.limits.connections_per_address = 1");
    let mut held: Vec<_> = (0..5).map(|_| keyward.wire()).collect();
    assert!(held.iter_mut().all(|wire| wire.get("/", &key.secret).status == 200));
    expect_line(&keyward, "keyward_client_connections_limited_total{limit=\"connections_per_address\"} 0");
}

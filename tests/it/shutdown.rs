//! SIGTERM: what is in flight finishes, nothing new is taken, the end is a success.

use std::sync::mpsc;

use crate::support::{Keyward, Origin, Wire, eventually, keyward};

#[test]
fn a_request_in_flight_is_answered_and_then_keyward_ends_with_success() {
    let (go_on, asked) = mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            asked.lock().unwrap().recv().unwrap();
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut idle = keyward.wire();
    go_on.send(()).unwrap();
    assert_eq!(idle.get("/", &key.secret).status, 200);
    let mut busy = keyward.wire();
    busy.send(format!("GET /busy HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    eventually("the origin has both requests", || origin.seen().heads.len() == 2);
    let admin = keyward.admin();
    let address = keyward.address();
    keyward.signal("TERM");
    // Probes are told first; the idle connection ends; nobody else is let in.
    assert!(idle.is_ended());
    eventually("no new connection is taken", || std::net::TcpStream::connect(address).is_err());
    assert_eq!(Wire::connect(admin).ask("GET", "/readyz", &[]).status, 503);
    assert_eq!(Wire::connect(admin).ask("GET", "/livez", &[]).status, 200);
    go_on.send(()).unwrap();
    let answer = busy.answer("GET");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(keyward.ended().code(), Some(0));
    // The log was handed over to the last line, and the socket beside the store is gone.
    assert_eq!(keyward.logged("/busy", 1)[0]["status"], 200);
    assert!(!keyward.database().with_extension("db.sock").exists());
}

/// A keyward with this much patience, an origin that never answers, and a client that waits for it.
fn with_one_in_flight(drain_max: &str) -> (Keyward, Origin, Wire) {
    let origin = Origin::scripted(|line| {
        line.request();
        line.until_ended();
    });
    let config = format!("[server.timeouts]\ndrain_max = \"{drain_max}\"\n");
    let keyward = keyward().config(config).upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut busy = keyward.wire();
    busy.send(format!("GET /busy HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    eventually("the origin has the request", || !origin.seen().heads.is_empty());
    (keyward, origin, busy)
}

#[test]
fn what_does_not_finish_in_time_is_cut_and_the_end_is_a_success() {
    let (mut keyward, _origin, _busy) = with_one_in_flight("200ms");
    assert_eq!(keyward.stop().code(), Some(0));
    keyward.stderr.expect("connections.cut=1");
}

#[test]
fn who_waits_to_be_let_in_is_still_answered() {
    let (go_on, asked) = mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            asked.lock().unwrap().recv().unwrap();
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let one_at_a_time = "[server]\nworkers = 1\n[server.limits]\nconnections = 1\n";
    let mut keyward = keyward().config(one_at_a_time).upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut wires: Vec<_> = (0..4).map(|_| keyward.wire()).collect();
    for wire in &mut wires {
        wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    }
    eventually("one of them is in", || origin.seen().heads.len() == 1);
    keyward.signal("TERM");
    keyward.stderr.expect("stopping");
    for (number, wire) in wires.iter_mut().enumerate() {
        go_on.send(()).unwrap();
        let answer = wire.answer("GET");
        // The first may have been answered before its worker knew.
        assert_eq!((answer.status, number == 0 || answer.header("connection") == Some("close")), (200, true));
    }
    assert_eq!(keyward.ended().code(), Some(0));
    keyward.stderr.expect("stopped connections.cut=0");
}

#[test]
fn a_second_word_to_stop_ends_what_is_in_flight() {
    let (mut keyward, _origin, _busy) = with_one_in_flight("1h");
    keyward.signal("TERM");
    keyward.signal("INT");
    // Those two came together, as from a terminal and a supervisor, and are one word.
    keyward.stderr.expect("stopping");
    eventually("keyward ends", || {
        keyward.signal("TERM");
        keyward.has_ended()
    });
    assert_eq!(keyward.ended().code(), Some(0));
    keyward.stderr.expect("asked to stop again");
    keyward.stderr.expect("stopped connections.cut=1");
}

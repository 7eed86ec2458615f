//! SIGTERM: what is in flight finishes, nothing new is taken, the end is a success.

use std::sync::mpsc;

use crate::support::{Origin, Wire, eventually, keyward};

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

#[test]
fn what_does_not_finish_in_time_is_cut_and_the_end_is_a_success() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.until_ended();
    });
    let mut keyward = keyward().config("[server.timeouts]\ndrain_max = \"200ms\"\n").upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut busy = keyward.wire();
    busy.send(format!("GET /busy HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    eventually("the origin has the request", || !origin.seen().heads.is_empty());
    assert_eq!(keyward.stop().code(), Some(0));
    keyward.stderr.expect("connections.cut=1");
}

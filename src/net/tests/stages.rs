//! A client may be silent or slow at every stage, and is freed at each.

use super::*;
use crate::clock::{ManualClock, Timestamp};

fn with(change: impl FnOnce(&mut Timeouts)) -> Face {
    let mut case = Case::default();
    change(&mut case.timeouts);
    case.start()
}

#[test]
fn a_silent_client_is_freed() {
    let face = with(|timeouts| timeouts.first_byte = SHORT);
    assert!(read_to_close(&mut face.connect()).is_empty());
    face.wait_for_closed("first_byte_timeout");
}

#[test]
fn a_head_that_never_ends_is_freed_however_often_a_byte_comes() {
    let face = with(|timeouts| timeouts.header = SHORT);
    let mut client = face.connect();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut drip = client.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        while drip.write_all(b"a: b\r\n").is_ok() {
            thread::sleep(PAUSE);
        }
    });
    read_to_close(&mut client);
    face.wait_for_closed("header_timeout");
    dripping.join().unwrap();
}

#[test]
fn a_second_head_is_held_to_the_same_limit_as_the_first() {
    let face = with(|timeouts| timeouts.header = SHORT);
    let mut client = face.connect();
    ask(&mut client, "/");
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    read_to_close(&mut client);
    face.wait_for_closed("header_timeout");
}

#[test]
fn an_idle_connection_is_freed() {
    let face = with(|timeouts| timeouts.idle = SHORT);
    let mut client = face.connect();
    assert!(ask(&mut client, "/").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(read_to_close(&mut client).is_empty());
    face.wait_for_closed("idle_timeout");
}

#[test]
fn a_client_that_takes_nothing_is_freed() {
    let face = with(|timeouts| timeouts.write_stall = SHORT);
    let mut client = face.connect();
    client.write_all(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_closed("write_stall");
}

#[test]
fn a_request_in_flight_is_under_none_of_these_limits() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let mut case = Case { clock: Clock::Manual(clock.clone()), ..Case::default() };
    // Sets the pace of the sweep; the clock stands unless it is moved.
    case.timeouts.tls_handshake = SHORT;
    let face = case.start();
    let (mut busy, mut silent) = (face.connect(), face.connect());
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_begun(1);
    face.wait_for_line("keyward_client_connections 2");
    clock.advance(Duration::from_secs(100_000));
    assert!(read_to_close(&mut silent).is_empty());
    face.gate.add_permits(1);
    assert!(read_answer(&mut busy).contains("waited"));
}

#[test]
fn what_is_no_http_is_answered_and_counted() {
    let face = Case::default().start();
    let mut client = face.connect();
    client.write_all(b"HELO keyward\r\n\r\n").unwrap();
    assert!(read_to_close(&mut client).starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    face.wait_for_line(r#"keyward_parse_errors_total{reason="malformed"} 1"#);
    let mut client = face.connect();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    read_to_close(&mut client);
    face.wait_for_line(r#"keyward_parse_errors_total{reason="clear_http2"} 1"#);
}

#[test]
fn a_head_above_its_limit_gets_its_431_though_more_is_on_the_way() {
    let face = Case::default().start();
    let mut client = face.connect();
    client.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
    // Twice the limit; what the server does not read must not cost the client its answer.
    client.write_all(&[b'x'; 700 * 1024]).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    face.wait_for_line(r#"keyward_parse_errors_total{reason="too_large"} 1"#);
}

#[test]
fn a_refused_upload_may_go_on_for_a_while_and_meets_no_reset() {
    // The clock stands, so the while does not end early on a loaded machine.
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_millis(0)));
    let face = Case { clock, ..Case::default() }.start();
    let mut client = face.connect();
    client.write_all(b"POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    // Most clients send it all before they look. A reset would break this off, and may take the answer with it.
    for _ in 0..40 {
        client.write_all(&[b'x'; 10 * 1024]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    drop(client);
    face.wait_for_closed("done");
}

#[test]
fn two_workers_serve_one_port() {
    let face = Case { workers: 2, ..Case::default() }.start();
    let mut seen = [false; 2];
    // The kernel chooses by the client's port, which differs each time.
    for _ in 0..200 {
        let answer = ask(&mut face.connect(), "/worker");
        seen[usize::from(answer.contains("\r\n\r\n1\r\n1\r\n"))] = true;
    }
    assert_eq!(seen, [true, true]);
}

#[test]
fn a_handler_may_end_its_connection() {
    let face = Case::default().start();
    let mut client = face.connect();
    assert!(ask(&mut client, "/last").contains("last"));
    assert!(read_to_close(&mut client).is_empty());
    face.wait_for_closed("done");
}

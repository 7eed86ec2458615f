//! How much of anything a client may have, and what meets it above that.

use std::net::IpAddr;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::clock::{ManualClock, Timestamp};

/// A client from this address of the loopback network.
fn connect_from(face: &Face, address: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&face.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn with(change: impl FnOnce(&mut Case)) -> Face {
    let mut case = Case::default();
    change(&mut case);
    case.start()
}

const ME: [u8; 4] = [127, 0, 0, 1];
const ANOTHER: [u8; 4] = [127, 0, 0, 2];

#[test]
fn above_the_cap_a_connection_waits_until_another_ends() {
    let face = with(|case| (case.limits.connections, case.workers) = (1, 2));
    let mut first = face.connect();
    ask(&mut first, "/");
    let mut second = face.connect();
    second.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_line(r#"keyward_client_connections_limited_total{limit="connections"} 1"#);
    // Still the first one's turn, request after request.
    for requests in 2..20 {
        ask(&mut first, "/");
        assert_eq!(face.begun.load(Ordering::SeqCst), requests);
    }
    drop(first);
    assert!(read_answer(&mut second).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn an_address_with_all_its_connections_gets_no_more_and_another_is_served() {
    let face = with(|case| (case.limits.connections_per_address, case.workers) = (2, 2));
    let mut held: Vec<_> = (0..2).map(|_| connect_from(&face, ME)).collect();
    held.iter_mut().for_each(|client| assert!(ask(client, "/").starts_with("HTTP/1.1 200 ")));
    for refused in 1..=5 {
        assert!(read_to_close(&mut connect_from(&face, ME)).is_empty());
        face.wait_for_line(&format!(
            r#"keyward_client_connections_limited_total{{limit="connections_per_address"}} {refused}"#
        ));
    }
    assert!(ask(&mut connect_from(&face, ANOTHER), "/").starts_with("HTTP/1.1 200 "));
    assert!(held.iter_mut().all(|client| ask(client, "/").starts_with("HTTP/1.1 200 ")));
    // Once one is gone there is room for one.
    held.pop();
    wait_until("the place is free", || {
        let mut client = connect_from(&face, ME);
        write!(client, "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200 ")
    });
}

#[test]
fn a_trusted_proxy_may_have_as_many_connections_as_it_likes() {
    let face = with(|case| {
        case.limits.connections_per_address = 1;
        case.exempt = vec![ipnet::IpNet::from(IpAddr::from(ME))];
    });
    let mut held: Vec<_> = (0..20).map(|_| connect_from(&face, ME)).collect();
    assert!(held.iter_mut().all(|client| ask(client, "/").starts_with("HTTP/1.1 200 ")));
    assert!(ask(&mut connect_from(&face, ANOTHER), "/").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_ends_after_as_many_requests_as_it_may_have() {
    let face = with(|case| case.limits.connection_requests = 3);
    let mut client = face.connect();
    for _ in 0..2 {
        assert!(!ask(&mut client, "/").contains("connection: close"));
    }
    assert!(ask(&mut client, "/").contains("connection: close"));
    assert!(read_to_close(&mut client).is_empty());
    face.wait_for_closed("requests");
}

#[test]
fn an_old_connection_ends_once_its_answer_is_given() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let face = with(|case| {
        case.timeouts.connection_age = SHORT;
        case.clock = Clock::Manual(clock.clone());
    });
    let mut idle = face.connect();
    ask(&mut idle, "/");
    let mut busy = face.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_begun(2);
    clock.advance(SHORT.0);
    assert!(read_to_close(&mut idle).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="age"} 1"#);
    face.gate.add_permits(1);
    let answer = read_answer(&mut busy);
    assert!(answer.contains("connection: close") && answer.contains("waited"), "{answer}");
    assert!(read_to_close(&mut busy).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="age"} 2"#);
}

#[test]
fn an_old_connection_ends_only_once_a_request_that_has_begun_is_answered() {
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let face = with(|case| {
        case.timeouts.connection_age = SHORT;
        case.clock = Clock::Manual(clock.clone());
    });
    let (mut begun, mut idle) = (face.connect(), face.connect());
    ask(&mut begun, "/");
    begun.write_all(b"GET / HTTP/1.1\r\nho").unwrap();
    // Once this is answered, the worker has seen what was sent before it.
    ask(&mut idle, "/");
    clock.advance(SHORT.0);
    assert!(read_to_close(&mut idle).is_empty());
    begun.write_all(b"st: test\r\n\r\n").unwrap();
    assert!(read_answer(&mut begun).contains("connection: close"));
    assert!(read_to_close(&mut begun).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="age"} 2"#);
}

//! Idle connections rest, and nobody notices.

use super::*;

/// Sweeps often, and ends nothing for being idle.
fn face() -> Face {
    let mut case = Case::default();
    case.timeouts.tls_handshake = SHORT;
    case.start()
}

#[test]
fn a_connection_that_rests_answers_as_before() {
    let face = face();
    let mut client = face.connect();
    for rests in 1..4 {
        assert!(ask(&mut client, "/").starts_with("HTTP/1.1 200 OK\r\n"));
        face.wait_for_line(&format!("keyward_client_connection_rests_total {rests}"));
    }
    drop(client);
    face.wait_for_closed("done");
}

#[test]
fn what_was_read_before_the_rest_is_not_lost() {
    let face = face();
    let mut client = face.connect();
    // The second head begins in the same segment, so that hyper reads it with the first.
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\nGET /worker HTTP/1.1\r\nho").unwrap();
    read_answer(&mut client);
    let mut other = face.connect();
    ask(&mut other, "/");
    face.wait_for_line("keyward_client_connection_rests_total 1");
    client.write_all(b"st: test\r\n\r\n").unwrap();
    assert!(read_answer(&mut client).contains("\r\n0\r\n"));
}

#[test]
fn a_head_that_begins_behind_another_is_held_to_the_limit_of_heads() {
    let mut case = Case::default();
    case.timeouts.header = SHORT;
    let face = case.start();
    let mut client = face.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\nGET / HT").unwrap();
    read_answer(&mut client);
    assert!(read_to_close(&mut client).is_empty());
    face.wait_for_closed("header_timeout");
}

#[test]
fn a_connection_that_rests_leaves_with_the_others() {
    let face = face();
    let mut client = face.connect();
    ask(&mut client, "/");
    face.wait_for_line("keyward_client_connection_rests_total 1");
    assert_eq!(face.drain(BOUND).cut, 0);
    assert!(read_to_close(&mut client).is_empty());
}

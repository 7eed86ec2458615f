//! Answers and uploads that have been under way for 5 s.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{before, breaks_off, cut, silent, stream, streaming, two_streams, upload, watched};
use crate::support::keyward::Lines;
use crate::support::{Origin, eventually};

#[test]
fn curl_is_told_that_its_event_stream_is_not_whole() {
    let origin = streaming();
    let (keyward, key) = before(&origin, "", "");
    let token = format!("Authorization: Bearer {}", key.secret);
    let url = format!("http://{}/events", keyward.address());
    let mut curl = Command::new("curl").args(["-sSN", "-H", &token, &url]).stdout(Stdio::piped()).spawn().unwrap();
    let said = Lines::of(curl.stdout.take().unwrap());
    said.expect("data: .");
    watched(&keyward, 1);
    keyward.cli(&["key", "revoke", &key.id]);
    // 18 is a partial file.
    assert_eq!(curl.wait().unwrap().code(), Some(18));
    watched(&keyward, 0);
    assert_eq!(
        (cut(&keyward, "answer"), keyward.metric("keyward_client_connections_closed_total{reason=\"key_ended\"}")),
        (1, 1)
    );
    let line = keyward.logged("/events", 1).remove(0);
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(200), Some("key_ended")));
    origin.expect_ended(1);
}

#[test]
fn a_stream_that_says_nothing_is_cut_as_well_and_one_of_another_key_is_not() {
    let origin = silent();
    let (keyward, key) = before(&origin, "", "");
    let other = keyward.service_key("101", &[]);
    let (wire, mut bystander) = (stream(&keyward, &key), stream(&keyward, &other));
    watched(&keyward, 2);
    keyward.cli(&["key", "revoke", &key.id]);
    assert!(breaks_off(wire));
    assert_eq!(cut(&keyward, "answer"), 1);
    // Nothing but its own end comes to the other.
    keyward.cli(&["key", "revoke", &other.id]);
    assert_eq!(bystander.rest(), b"");
}

#[test]
fn a_download_whose_client_takes_nothing_is_cut_at_the_socket() {
    const WHOLE: usize = 1 << 30;
    let origin = Origin::scripted(|line| {
        line.head();
        line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n"));
        while line.try_send(&[b'.'; 64 * 1024]) {}
    });
    let (keyward, key) = before(&origin, "", "");
    let mut wire = keyward.wire();
    wire.send(format!("GET /file HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    // Of the answer it takes nothing.
    watched(&keyward, 1);
    keyward.cli(&["key", "revoke", &key.id]);
    let closed = "keyward_client_connections_closed_total{reason=\"key_ended\"}";
    eventually("the connection is closed, though nothing is taken", || keyward.metric(closed) == 1);
    assert!(wire.rest().len() < WHOLE);
}

#[test]
fn over_http_2_one_stream_is_reset_and_the_others_of_its_connection_go_on() {
    let origin = streaming();
    let (keyward, first) = before(&origin, "", "");
    let second = keyward.service_key("101", &[]);
    let (mut client, said) = two_streams(&keyward, &first, &second);
    watched(&keyward, 2);
    keyward.cli(&["key", "revoke", &first.id]);
    let ended = said.expect("first ended");
    assert!(ended.contains("StreamReset") && ended.contains("error_code:8"), "{ended}");
    said.expect("goes on");
    assert!(client.wait().unwrap().success());
    assert_eq!(keyward.metric("keyward_client_streams_reset_total{reason=\"key_ended\"}"), 1);
    assert_eq!(keyward.metric("keyward_client_connections_closed_total{reason=\"key_ended\"}"), 0);
}

#[test]
fn an_upload_is_cut_and_a_request_that_only_waits_for_its_answer_is_finished() {
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::scripted(move |line| {
        let head = line.head().unwrap();
        if head.starts_with("POST") {
            line.until_ended();
            return;
        }
        told.lock().unwrap().recv().unwrap();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let (keyward, key) = before(&origin, "", "");
    let mut waits = keyward.wire();
    waits.send(format!("GET /waits HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    let mut upload = upload(&keyward, &key);
    eventually("it is watched", || {
        upload.send("1\r\n.\r\n");
        keyward.metric("keyward_open_watched") == 1
    });
    keyward.cli(&["key", "revoke", &key.id]);
    assert!(upload.is_closed_unanswered());
    origin.expect_ended(1);
    assert_eq!((cut(&keyward, "upload"), keyward.logged("/upload", 1)[0]["reason"].as_str()), (1, Some("key_ended")));
    go_on.send(()).unwrap();
    assert_eq!(waits.answer("GET").status, 200);
}

#[test]
fn a_short_answer_is_not_watched_and_what_may_finish_finishes() {
    let origin = Origin::scripted(|line| {
        while let Some(head) = line.head() {
            if head.starts_with("GET /short") {
                line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            }
            line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..70 {
                line.send("1\r\n.\r\n");
                std::thread::sleep(Duration::from_millis(100));
            }
            line.send("0\r\n\r\n");
        }
    });
    let (keyward, key) = before(&origin, "", "on_key_end = \"finish\"");
    let mut wire = keyward.wire();
    wire.send(format!("GET /long HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    for _ in 0..60 {
        assert_eq!(wire.chunk().unwrap(), b".");
    }
    assert_eq!(keyward.get("/short", &key.secret).status, 200);
    assert_eq!(keyward.metric("keyward_open_watched"), 0);
    keyward.cli(&["key", "revoke", &key.id]);
    // It comes to its end.
    while wire.chunk().is_some() {}
}

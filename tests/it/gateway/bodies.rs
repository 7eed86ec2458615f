//! Bodies: they stream both ways, in bounds, and what is wrong with one is said of who sent it.

use std::io::{ErrorKind, Write};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Keyward, Minted, Origin, keyward};

fn before(origin: &Origin, more: &str) -> (Keyward, Minted) {
    let config =
        format!("{more}\n[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n", origin.url());
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

fn post(key: &Minted, framing: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{framing}\r\n\r\n", key.secret)
}

#[test]
fn an_events_first_line_arrives_before_its_second_is_sent() {
    let (go_on, asked) = mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let origin = Origin::scripted(move |line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: first\n\n\r\n");
        // Nothing more is sent until the client has the first.
        asked.lock().unwrap().recv().unwrap();
        line.send("e\r\ndata: second\n\n\r\n0\r\n\r\n");
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    assert_eq!(wire.chunk().unwrap(), b"data: first\n\n");
    go_on.send(()).unwrap();
    assert_eq!(wire.chunk().unwrap(), b"data: second\n\n");
    assert_eq!(wire.chunk(), None);
}

#[test]
fn an_upload_reaches_the_origin_before_it_is_whole() {
    let (first, got) = mpsc::channel::<String>();
    let first = std::sync::Mutex::new(first);
    let origin = Origin::scripted(move |line| {
        let head = line.head().unwrap();
        first.lock().unwrap().send(head).unwrap();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.until_ended();
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Transfer-Encoding: chunked"));
    wire.send("5\r\nhello\r\n");
    assert!(got.recv().unwrap().to_lowercase().contains("transfer-encoding: chunked"));
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer("POST").status, 200);
}

#[test]
fn a_body_over_the_limit_is_a_413_whether_announced_or_not() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin, "[gateway]\nbody_limit = \"1KiB\"\n");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 1025"));
    let answer = wire.answer("POST");
    assert_eq!((answer.status, answer.code().as_str()), (413, "PAYLOAD_TOO_LARGE"));
    assert!(origin.seen().heads.is_empty());
    let mut wire = keyward.wire();
    wire.send(post(&key, "Transfer-Encoding: chunked"));
    wire.send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)));
    assert_eq!(wire.answer("POST").status, 413);
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 1024") + &"x".repeat(1024));
    assert_eq!(wire.answer("POST").status, 200);
}

#[test]
fn a_broken_body_is_the_clients_matter() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Transfer-Encoding: chunked"));
    wire.send("zz\r\nnonsense");
    let answer = wire.answer("POST");
    assert_eq!((answer.status, answer.code().as_str()), (400, "REQUEST_MALFORMED"));
}

#[test]
fn a_body_that_stops_coming_is_a_408() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin, "[server.timeouts]\nbody_idle = \"200ms\"\n");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 10") + "half");
    let answer = wire.answer("POST");
    assert_eq!((answer.status, answer.code().as_str()), (408, "REQUEST_TIMEOUT"));
}

#[test]
fn continue_is_said_only_to_a_valid_key() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 5\r\nExpect: 100-continue"));
    assert_eq!(wire.head().0, 100);
    wire.send("hello");
    assert_eq!(wire.answer("POST").status, 200);
    assert!(!origin.last().to_lowercase().contains("expect"));
    let mut wire = keyward.wire();
    wire.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(wire.head().0, 401);
}

#[test]
fn an_answer_the_origin_breaks_off_is_broken_off() {
    let (go_on, arrived) = mpsc::channel::<()>();
    let arrived = std::sync::Mutex::new(arrived);
    let origin = Origin::scripted(move |line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        arrived.lock().unwrap().recv().unwrap();
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(format!("GET /half HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    assert_eq!(wire.chunk().unwrap(), b"half");
    go_on.send(()).unwrap();
    // No last chunk: the client can tell that this is not the whole answer.
    assert!(wire.is_ended());
    assert_eq!(keyward.logged("/half", 1)[0]["reason"], "origin_broke_off");
}

#[test]
fn trailers_are_dropped_both_ways() {
    let origin = Origin::scripted(|line| {
        while line.request().is_some() {
            line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nok\r\n0\r\nX-Late: origin\r\n\r\n");
        }
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(post(&key, "TE: trailers\r\nTrailer: X-Keyward-Account\r\nTransfer-Encoding: chunked"));
    wire.send("2\r\nhi\r\n0\r\nX-Keyward-Account: spoofed\r\n\r\n");
    let (status, headers) = wire.head();
    assert_eq!(status, 200);
    assert!(headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("trailer")));
    assert_eq!(wire.chunk().unwrap(), b"ok");
    assert_eq!(wire.chunk(), None);
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.answer("GET").status, 401);
    assert!(!origin.last().contains("spoofed"));
}

#[test]
fn a_client_that_stops_sending_is_not_the_origins_fault() {
    let origin = Origin::plain();
    let settings = "[server.timeouts]\nbody_idle = \"500ms\"\n[origin]\nresponse_header = \"100ms\"\n";
    let (keyward, key) = before(&origin, settings);
    let mut wire = keyward.wire();
    wire.send(post(&key, "Content-Length: 10") + "half");
    let answer = wire.answer("POST");
    assert_eq!((answer.status, answer.code().as_str()), (408, "REQUEST_TIMEOUT"));
}

#[test]
fn the_body_of_any_method_arrives_whole_and_an_empty_one_stays_empty() {
    let origin = Origin::scripted(|line| {
        while let Some((_, body)) = line.request() {
            line.send(format!(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            line.send(body);
        }
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        for (framing, body) in [
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
            ("Content-Length: 5\r\n\r\nhello", "hello"),
            ("Content-Length: 0\r\n\r\n", ""),
            ("\r\n", ""),
        ] {
            wire.send(format!("{method} /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{framing}", key.secret));
            assert_eq!(wire.answer(method).text(), body, "{method} {framing}");
        }
    }
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_it_can_read() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(format!("GET /a HTTP/1.0\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    let answer = wire.answer("GET");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("transfer-encoding")), (200, "ok", None));
}

#[test]
fn neither_side_is_blamed_for_the_others_slowness() {
    const LENGTH: usize = 20_000_000;
    // Far longer than either limit, while more is on its way than all buffers hold.
    let pause = std::time::Duration::from_secs(1);
    let origin = Origin::scripted(move |line| {
        while let Some(head) = line.head() {
            if head.starts_with("POST") {
                std::thread::sleep(pause);
                let body = line.body(&head).unwrap();
                line.send(format!("HTTP/1.1 200 OK\r\nX-Length: {}\r\nContent-Length: 0\r\n\r\n", body.len()));
            } else {
                line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
                line.send(vec![b'x'; LENGTH]);
            }
        }
    });
    let settings = "[server.timeouts]\nbody_idle = \"200ms\"\n[origin]\nbody_idle = \"200ms\"\n";
    let (keyward, key) = before(&origin, settings);
    let mut wire = keyward.wire();
    wire.send(format!("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    std::thread::sleep(pause);
    assert_eq!(wire.answer("GET").body.len(), LENGTH);
    wire.send(post(&key, &format!("Content-Length: {LENGTH}")));
    wire.send(vec![b'x'; LENGTH]);
    assert_eq!(wire.answer("POST").header("x-length"), Some(LENGTH.to_string().as_str()));
}

#[test]
fn an_answer_that_stops_coming_is_broken_off() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        line.until_ended();
    });
    let (keyward, key) = before(&origin, "[origin]\nbody_idle = \"200ms\"\n");
    let mut wire = keyward.wire();
    wire.send(format!("GET /stalled HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    assert_eq!(wire.chunk().unwrap(), b"half");
    assert!(wire.is_ended());
    origin.expect_ended(1);
    assert_eq!(keyward.logged("/stalled", 1)[0]["reason"], "origin_stalled");
}

#[test]
fn an_origin_that_reads_slowly_is_waited_for_as_long_as_it_reads() {
    const LENGTH: usize = 40_000_000;
    let origin = Origin::scripted(|line| {
        line.head();
        let mut left = LENGTH;
        for _ in 0..40 {
            std::thread::sleep(std::time::Duration::from_millis(25));
            left -= line.skip(400_000);
        }
        while left > 0 {
            let Some(read) = Some(line.skip(left.min(1_000_000))).filter(|read| *read > 0) else { return };
            left -= read;
        }
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.until_ended();
    });
    let (keyward, key) = before(&origin, "[origin]\nresponse_header = \"500ms\"\n");
    let mut wire = keyward.wire();
    wire.send(post(&key, &format!("Content-Length: {LENGTH}")));
    wire.send_meanwhile(vec![b'x'; LENGTH]);
    assert_eq!(wire.answer("POST").status, 200);
}

/// Small pieces go out together, and what the origin has no room for is left; none of it is lost or comes out of turn.
#[test]
fn an_upload_of_small_pieces_reaches_an_origin_that_reads_late_whole_and_in_order() {
    let (go_on, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<Vec<u8>>();
    let (asked, tell) = (std::sync::Mutex::new(asked), std::sync::Mutex::new(tell));
    let origin = Origin::scripted(move |line| {
        let head = line.head().unwrap();
        asked.lock().unwrap().recv().unwrap();
        tell.lock().unwrap().send(line.body(&head).unwrap()).unwrap();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(post(&key, "Transfer-Encoding: chunked"));
    let mut stream = wire.stream().try_clone().unwrap();
    // Where the machine is too busy to take any for so long, less is left than could be.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = Vec::new();
    let rest = 'full: loop {
        let piece = format!("{:010}{}", sent.len(), "x".repeat(sent.len() / 10 % 1500));
        sent.extend_from_slice(piece.as_bytes());
        let mut rest = format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes();
        while !rest.is_empty() {
            match stream.write(&rest) {
                Ok(written) => drop(rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 'full rest,
                Err(error) => panic!("{error}"),
            }
        }
    };
    stream.set_write_timeout(None).unwrap();
    go_on.send(()).unwrap();
    wire.send_meanwhile([&rest[..], b"0\r\n\r\n"].concat());
    assert_eq!(wire.answer("POST").status, 200);
    assert!(told.recv().unwrap() == sent, "{} bytes were sent", sent.len());
}

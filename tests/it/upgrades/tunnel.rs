//! What goes through a tunnel, and when.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{AGREED, ASKED, agreeing, ask, before, open};
use crate::support::http::head;
use crate::support::{Origin, eventually};

#[test]
fn nothing_a_client_sends_early_reaches_the_origin_before_its_101_and_all_of_it_after() {
    let (agree, told) = channel::<()>();
    let (tell, heard) = channel();
    let (told, tell) = (Mutex::new(told), Mutex::new(tell));
    let origin = Origin::scripted(move |line| {
        let head = line.head().unwrap();
        if !head.starts_with("GET /socket ") {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            return;
        }
        told.lock().unwrap().recv().unwrap();
        let early = line.came();
        line.send(AGREED);
        line.send("welcome");
        line.until_ended();
        tell.lock().unwrap().send((early, line.came())).unwrap();
    });
    let (keyward, key) = before(&origin.url(), "");
    let mut client = ask(&keyward, &key, "/socket");
    client.send("early");
    eventually("the origin is asked", || origin.seen().heads.len() == 1);
    // The one worker has had what came early: it comes to this one after that.
    assert_eq!(keyward.get("/other", &key.secret).status, 200);
    agree.send(()).unwrap();
    let (status, headers) = client.head();
    assert_eq!(status, 101);
    for line in
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]
    {
        assert!(headers.contains(&(line.0.into(), line.1.into())), "{headers:?}");
    }
    assert_eq!(client.take(7), b"welcome");
    client.send(" and late");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(heard.recv().unwrap(), (Vec::new(), b"early and late".to_vec()));
    let asked = &origin.seen().heads[0];
    assert!(
        asked.contains("connection: upgrade\r\nupgrade: websocket\r\n") && asked.contains("x-keyward-account: 101")
    );
}

#[test]
fn each_side_may_end_first_and_still_hear_the_other() {
    let origin = agreeing(|line| {
        line.send("first ");
        // Its client has ended, and hears the rest.
        line.until_ended();
        line.send("and last");
    });
    let (keyward, key) = before(&origin.url(), "");
    let mut client = open(&keyward, &key, "/client");
    client.send("all");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"first and last");
    let line = keyward.logged("/client", 1).remove(0);
    assert_eq!(
        (line["ended"].as_str(), line["received"].as_u64(), line["bytes"].as_u64()),
        (Some("client"), Some(3), Some(14))
    );

    let (go_on, told) = channel::<()>();
    let (tell, heard) = channel();
    let (told, tell) = (Mutex::new(told), Mutex::new(tell));
    let origin = agreeing(move |line| {
        line.shut();
        told.lock().unwrap().recv().unwrap();
        line.until_ended();
        tell.lock().unwrap().send(line.came()).unwrap();
    });
    let (keyward, key) = before(&origin.url(), "");
    let mut client = open(&keyward, &key, "/origin");
    assert_eq!(client.rest(), b"");
    client.send("still here");
    go_on.send(()).unwrap();
    drop(client);
    assert_eq!(heard.recv().unwrap(), b"still here");
    let line = keyward.logged("/origin", 1).remove(0);
    assert_eq!(
        (line["ended"].as_str(), line["upgrade"].as_str(), line["status"].as_u64()),
        (Some("origin"), Some("websocket"), Some(101))
    );
}

#[test]
fn megabytes_go_through_both_ways_at_once_to_a_client_that_reads_late() {
    const BYTES: usize = 8 << 20;
    let origin = agreeing(|line| {
        let mut left = BYTES;
        while left > 0 {
            let some = line.some(left);
            left -= some.len();
            line.send(some);
        }
    });
    let (keyward, key) = before(&origin.url(), "");
    let mut client = open(&keyward, &key, "/");
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    client.send_meanwhile(sent.clone());
    let got = client.take(BYTES);
    assert!(got == sent, "what came back is not what was sent");
}

#[test]
fn a_tunnels_connection_to_the_origin_never_serves_another_request() {
    let origin = Origin::scripted(|line| {
        while let Some(head) = line.head() {
            let upgrades = head.contains("upgrade: websocket");
            line.send(if upgrades { AGREED } else { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" });
            if upgrades {
                line.until_ended();
            }
        }
    });
    let (keyward, key) = before(&origin.url(), "");
    assert_eq!(keyward.get("/one", &key.secret).status, 200);
    let client = open(&keyward, &key, "/socket");
    // The connection that was kept is the tunnel's now.
    assert_eq!(origin.seen().connections, 1);
    assert_eq!(keyward.get("/two", &key.secret).status, 200);
    assert_eq!(origin.seen().connections, 2);
    drop(client);
    origin.expect_ended(1);
    assert_eq!(keyward.get("/three", &key.secret).status, 200);
    assert_eq!(origin.seen().connections, 2);
}

#[test]
fn another_protocol_than_a_websocket_goes_through_too_and_by_another_method() {
    let origin = Origin::scripted(|line| {
        line.head().unwrap();
        line.send("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 5\r\n\r\n$ ");
        line.until_ended();
    });
    let (keyward, key) = before(&origin.url(), "");
    let mut wire = keyward.wire();
    let token = format!("Token {}", key.secret);
    wire.send(head("POST", "/attach", &[("Connection", "Upgrade"), ("Upgrade", "tcp"), ("Authorization", &token)]));
    let (status, headers) = wire.head();
    assert_eq!((status, wire.take(2)), (101, b"$ ".to_vec()));
    assert!(!headers.iter().any(|(name, _)| name == "content-length"), "{headers:?}");
}

#[test]
fn an_upgrade_that_the_origin_does_not_answer_is_an_ordinary_request_and_the_connection_closes() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin.url(), "");
    let mut client = ask(&keyward, &key, "/");
    let answer = client.answer("GET");
    assert_eq!((answer.status, answer.header("connection"), answer.text()), (200, Some("close"), "ok".into()));
    assert!(client.is_ended());
    // A route that allows none treats it as it always did.
    let token = format!("Token {}", key.secret);
    let asks = [&ASKED[..], &[("Authorization", &token)]].concat();
    let plain = crate::support::keyward().upstream(origin.url()).start();
    plain.account("101");
    let key = plain.service_key("101", &[]);
    let mut client = plain.wire();
    let asks: Vec<_> = asks.into_iter().filter(|(name, _)| *name != "Authorization").collect();
    let token = format!("Token {}", key.secret);
    let answer = client.ask("GET", "/", &[&asks[..], &[("Authorization", &token)]].concat());
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert!(!origin.last().contains("upgrade"));
    assert_eq!(client.get("/", &key.secret).status, 200);
}

#[test]
fn a_client_that_leaves_before_the_101_leaves_nothing_behind() {
    let (agree, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::scripted(move |line| {
        line.head();
        told.lock().unwrap().recv().unwrap();
        line.send(AGREED);
        line.until_ended();
    });
    let (keyward, key) = before(&origin.url(), "");
    let client = ask(&keyward, &key, "/");
    eventually("the origin is asked", || origin.seen().heads.len() == 1);
    drop(client);
    eventually("keyward sees it", || keyward.metric("keyward_client_connections") == 0);
    agree.send(()).unwrap();
    origin.expect_ended(1);
    assert_eq!((keyward.metric("keyward_tunnels_open"), keyward.metric("keyward_tunnels_total")), (0, 0));
    assert_eq!(keyward.logged("/", 1)[0]["status"], 499);
}

#[test]
fn a_tunnel_goes_on_past_every_time_out_of_requests_and_connections() {
    let origin = agreeing(|line| {
        loop {
            match line.some(1) {
                beat if beat.is_empty() => break,
                beat => line.send(beat),
            }
        }
    });
    let timeouts = "[server.timeouts]\nfirst_byte = \"300ms\"\nheader = \"300ms\"\nidle = \"300ms\"\nbody_idle = \"300ms\"\n\
        write_stall = \"300ms\"\nconnection_age = \"300ms\"\n[server.limits]\nconnection_requests = 1\n\
        [origin]\nresponse_header = \"300ms\"\nbody_idle = \"300ms\"\nkeepalive_idle = \"300ms\"\n";
    let (keyward, key) = before(&origin.url(), timeouts);
    let mut client = open(&keyward, &key, "/");
    // Others come and go through every sweep meanwhile.
    for _ in 0..4 {
        let mut idle = keyward.wire();
        assert!(idle.is_ended());
        client.send(".");
        assert_eq!(client.take(1), b".");
    }
    let mut stream = client.stream();
    stream.write_all(b"!").unwrap();
    let mut last = [0; 1];
    stream.read_exact(&mut last).unwrap();
    assert_eq!((&last, keyward.metric("keyward_tunnels_open")), (b"!", 1));
}

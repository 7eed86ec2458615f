//! How many tunnels there may be, how long each lives, and what is told of its end.

use std::time::Duration;

use super::{AGREED, ASKED, agreeing, ask, before, open};
use crate::support::http::head;
use crate::support::{Keyward, Origin, eventually};

fn expect_end(keyward: &Keyward, reason: &str, count: u64) {
    let series = format!("keyward_tunnels_ended_total{{reason=\"{reason}\"}}");
    eventually(&format!("{count} end as {reason}"), || keyward.metric(&series) == count);
}

#[test]
fn a_tunnel_too_many_is_refused_before_its_origin_is_asked() {
    let origin = agreeing(|line| line.until_ended());
    let (keyward, key) = before(&origin.url(), "[gateway.tunnels]\nlimit = 3\nper_key = 2\n");
    let other = keyward.service_key("101", &[]);
    let first = open(&keyward, &key, "/");
    let _second = open(&keyward, &key, "/");
    let refused = ask(&keyward, &key, "/of-key").answer("GET");
    assert_eq!((refused.status, refused.code().as_str()), (429, "TUNNEL_LIMIT_REACHED"));
    let _third = open(&keyward, &other, "/");
    let refused = ask(&keyward, &other, "/in-all").answer("GET");
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.header("retry-after")),
        (503, "OVERLOADED", Some("1"))
    );
    assert_eq!(origin.seen().heads.len(), 3);
    for (path, decision, reason) in
        [("/of-key", "refused", "tunnels_of_key_full"), ("/in-all", "failed", "tunnels_full")]
    {
        let line = keyward.logged(path, 1).remove(0);
        assert_eq!((line["decision"].as_str(), line["reason"].as_str()), (Some(decision), Some(reason)));
    }
    for limit in ["limit", "per_key"] {
        assert_eq!(keyward.metric(&format!("keyward_tunnels_limited_total{{limit=\"{limit}\"}}")), 1);
    }
    assert_eq!(keyward.metric("keyward_tunnels_open"), 3);
    // Tunnels are no requests in flight.
    assert_eq!(keyward.metric("keyward_requests_in_flight"), 0);
    drop(first);
    expect_end(&keyward, "client", 1);
    let _fourth = open(&keyward, &key, "/");
    assert_eq!(keyward.metric("keyward_tunnels_total"), 4);
}

#[test]
fn a_tunnel_through_which_nothing_comes_is_ended_and_its_client_told() {
    let origin = agreeing(|line| line.until_ended());
    let (keyward, key) = before(&origin.url(), "gateway.tunnels.idle = \"1s\"");
    let mut client = open(&keyward, &key, "/idle");
    let told = client.rest();
    assert_eq!(
        (told[0], &told[2..4], &told[4..]),
        (0x88, &1001_u16.to_be_bytes()[..], &b"nothing came through for too long"[..])
    );
    origin.expect_ended(1);
    expect_end(&keyward, "idle", 1);
    assert_eq!(keyward.logged("/idle", 1)[0]["ended"], "idle");
}

#[test]
fn a_tunnel_is_ended_when_it_is_old_however_much_comes_through() {
    let origin = agreeing(|line| {
        while line.try_send(b"\x82\x01.") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (keyward, key) = before(&origin.url(), "gateway.tunnels.age = \"1s\"");
    let told = open(&keyward, &key, "/old").rest();
    let (frames, close) = told.split_at(told.len() - 4 - "as old as it may be".len());
    assert!(frames.chunks(3).all(|frame| frame == b"\x82\x01."), "the close frame stands between two others");
    assert_eq!((close[0], &close[4..]), (0x88, &b"as old as it may be"[..]));
    expect_end(&keyward, "age", 1);
}

#[test]
fn a_frame_that_has_begun_is_finished_or_nothing_is_put_into_it() {
    // A frame of ten bytes, of which three never come; then one that the origin closed by itself.
    for (sent, told) in [(&b"\x82\x0a1234567"[..], false), (b"\x82\x02ok", true), (b"\x88\x02\x03\xe8", false)] {
        let origin = agreeing(move |line| {
            line.send(sent);
            line.until_ended();
        });
        let (keyward, key) = before(&origin.url(), "gateway.tunnels.age = \"1s\"");
        let heard = open(&keyward, &key, "/").rest();
        assert_eq!(&heard[..sent.len()], sent);
        assert_eq!(heard.len() > sent.len(), told, "{heard:?}");
    }
}

#[test]
fn a_client_that_takes_nothing_is_closed_as_any_other() {
    let origin = agreeing(|line| while line.try_send(&[0; 64 * 1024]) {});
    let (keyward, key) = before(&origin.url(), "server.timeouts.write_stall = \"1s\"");
    let _client = open(&keyward, &key, "/stalled");
    expect_end(&keyward, "write_stall", 1);
    let closed = "keyward_client_connections_closed_total{reason=\"write_stall\"}";
    eventually("the connection is counted", || keyward.metric(closed) == 1);
    assert_eq!(keyward.logged("/stalled", 1)[0]["ended"], "write_stall");
}

#[test]
fn tunnels_are_told_that_keyward_stops_and_what_stays_is_cut() {
    let origin = agreeing(|line| line.until_ended());
    let (mut keyward, key) = before(&origin.url(), "gateway.tunnels.drain = \"1s\"");
    let mut clients: Vec<_> = (0..5).map(|_| open(&keyward, &key, "/")).collect();
    keyward.signal("TERM");
    for client in &mut clients {
        let told = client.rest();
        assert_eq!((told[0], &told[2..4], &told[4..]), (0x88, &1001_u16.to_be_bytes()[..], &b"going away"[..]));
    }
    drop(clients);
    assert_eq!(keyward.ended().code(), Some(0));
    keyward.stderr.expect("stopped connections.cut=0");
    let lines = keyward.logged("/", 5);
    assert!(lines.iter().all(|line| line["ended"] == "drained"), "{lines:?}");

    let more = "gateway.tunnels.drain = \"1h\"\nserver.timeouts.drain_max = \"200ms\"";
    let (mut keyward, key) = before(&origin.url(), more);
    // The first of them ends at once; of the others, whoever is left is cut.
    let mut clients: Vec<_> = (0..3).map(|_| open(&keyward, &key, "/")).collect();
    keyward.signal("TERM");
    assert_eq!(keyward.ended().code(), Some(0));
    assert!(clients.last_mut().unwrap().is_closed_unanswered());
}

#[test]
fn a_101_says_nothing_of_a_close_where_its_connection_takes_no_further_request() {
    let origin = Origin::scripted(|line| {
        while let Some(asked) = line.head() {
            if asked.contains("upgrade: websocket") {
                line.send(AGREED);
                return line.until_ended();
            }
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (keyward, key) = before(&origin.url(), "server.limits.connection_requests = 2");
    let token = format!("Token {}", key.secret);
    let authorization = ("Authorization", token.as_str());
    let mut wire = keyward.wire();
    assert_eq!(wire.get("/", &key.secret).header("connection"), None);
    wire.send(head("GET", "/", &[&ASKED[..], &[authorization]].concat()));
    let (status, headers) = wire.head();
    let said: Vec<_> = headers.iter().filter(|(name, _)| name == "connection").map(|(_, said)| said.as_str()).collect();
    // One word more, and some clients take it for no agreement.
    assert_eq!((status, &said[..]), (101, &["upgrade"][..]));
    // Who asks for what is not allowed here is told as anybody is.
    let mut other = keyward.wire();
    assert_eq!(other.get("/", &key.secret).status, 200);
    other.send(head("GET", "/", &[("Connection", "Upgrade"), ("Upgrade", "h2c"), authorization]));
    assert_eq!(other.answer("GET").header("connection"), Some("close"));
    assert!(other.is_ended());
}

//! Many clients that do little, and one that asks without end: memory is bounded, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http::head;
use crate::support::{Keyward, Minted, Origin, PATIENCE, Wire, eventually, keyward};

const IDLE: usize = 5000;
const PIPELINED: usize = 100_000;
/// One in so many goes to the origin; the others are refused.
const FORWARDED: usize = 100;

fn before(url: &str) -> (Keyward, Minted) {
    let config = format!(
        "server.timeouts.idle = \"10m\"\nserver.timeouts.write_stall = \"10m\"\n\
         [services.api]\nurl = \"{url}\"\n\
         [[routes]]\npath = \"/open\"\nservice = \"api\"\nopen = true\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\n"
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

/// Lets this process, and what it starts from now on, hold so many files.
fn allow_files(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    assert!(
        maximum.is_none_or(|most| most >= count),
        "{count} open files are needed: raise the hard limit of {maximum:?}"
    );
    if current.is_some_and(|now| now < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
    }
}

#[test]
fn five_thousand_idle_connections_cost_little_and_keep_nobody_out() {
    allow_files(IDLE as u64 + 2000);
    let origin = Origin::plain();
    let (keyward, key) = before(&origin.url());
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    let before = keyward.memory();
    let idle: Vec<Wire> = (0..IDLE)
        .map(|_| {
            let mut wire = keyward.wire();
            assert_eq!(wire.ask("GET", "/open", &[]).status, 200);
            wire
        })
        .collect();
    assert_eq!(keyward.metric("keyward_client_connections"), IDLE as u64);
    let each = keyward.memory().saturating_sub(before) / IDLE as u64;
    println!("{each} bytes for each idle connection");
    assert!(each < 64 * 1024, "{each} bytes each");
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    drop(idle);
    eventually("they are gone", || keyward.metric("keyward_client_connections") == 0);
}

#[test]
fn a_hundred_thousand_pipelined_requests_are_answered_in_order_and_others_beside() {
    let (keyward, key) = before("echo");
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    let before = keyward.memory();
    let mut wire = keyward.wire();
    let mut sender = wire.another();
    let forwarded = |number: usize| number.is_multiple_of(FORWARDED);
    let sent = std::thread::spawn(move || {
        let path = |number| if forwarded(number) { "/open" } else { "/closed" };
        let request = |number| format!("GET {}?{number} HTTP/1.1\r\nHost: a\r\n\r\n", path(number));
        (0..PIPELINED).step_by(1000).for_each(|first| {
            sender.send((first..first + 1000).map(request).collect::<String>());
        });
    });
    // Nobody reads yet, so the answers pile up until keyward stops to read.
    for _ in 0..20 {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    for number in 0..PIPELINED {
        let answer = wire.answer("GET");
        if forwarded(number) {
            assert_eq!((answer.status, &answer.json()["query"]), (200, &number.to_string().into()));
        } else {
            assert_eq!(answer.status, 401, "{number}");
        }
        if number.is_multiple_of(10_000) {
            assert_eq!(keyward.get("/", &key.secret).status, 200);
        }
    }
    sent.join().unwrap();
    let rise = keyward.peak() - before;
    println!("{rise} bytes for {PIPELINED} pipelined requests");
    assert!(rise < 32 << 20, "{rise}");
}

/// Has HTTP/2 connections open every stream they may, grant all the room there is, take so many bytes at once, which has
/// keyward read more at a time, and then none. Gives what each connection holds once nothing more comes.
fn held_by_streams(origin: &Origin, taken: usize) -> u64 {
    let config = format!(
        "server.listen = [\"127.0.0.1:0\"]\nserver.http2_listen = [\"127.0.0.1:0\"]\nserver.timeouts.write_stall = \"10m\"\n\
         [services.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    assert_eq!(keyward.wire().ask("HEAD", "/", &[]).status, 200);
    let before = keyward.memory();
    let clients: Vec<_> = (0..HTTP2)
        .map(|_| {
            let mut client = TcpStream::connect(keyward.http2_address()).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(&greedy()).unwrap();
            client.read_exact(&mut vec![0; taken]).unwrap();
            client
        })
        .collect();
    let in_flight = || keyward.metric("keyward_requests_in_flight");
    eventually("every stream is in flight at the origin", || {
        origin.seen().heads.len() > HTTP2 * STREAMS && in_flight() == (HTTP2 * STREAMS) as u64
    });
    let (mut most, mut same) = (0, 0);
    eventually("memory no longer rises", || {
        let now = keyward.peak();
        same = if now == most { same + 1 } else { 0 };
        most = now;
        same == 50
    });
    assert_eq!(in_flight(), (HTTP2 * STREAMS) as u64);
    drop(clients);
    eventually("they are gone", || keyward.metric("keyward_client_connections") == 0);
    (most - before) / HTTP2 as u64
}

/// What such a client sends (RFC 9113): the preface, windows of the largest size, and one request a stream.
fn greedy() -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE, then the connection's window, which begins at 65,535.
    all.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    all.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    // GET http a / (RFC 7541, appendix A), with END_STREAM and END_HEADERS.
    (0..STREAMS).for_each(|number| {
        all.extend(frame(1, 5, 2 * u32::try_from(number).unwrap() + 1, b"\x82\x86\x84\x41\x01a"));
    });
    all
}

#[test]
fn an_http2_connection_holds_no_more_than_its_streams_do() {
    let silent = Origin::scripted(|line| {
        while line.head().is_some_and(|head| head.starts_with("HEAD ")) {
            line.send("HTTP/1.1 200 OK\r\n\r\n");
        }
        line.until_ended();
    });
    let waiting = held_by_streams(&silent, 0);
    println!("{waiting} bytes for a connection whose {STREAMS} streams wait for an answer");
    let part = vec![b'.'; 1 << 20];
    let ready = Origin::scripted(move |line| {
        while let Some(head) = line.head() {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TAKEN}\r\n\r\n"));
            if head.starts_with("GET ") {
                (0..TAKEN / part.len()).for_each(|_| line.send(&part));
            }
        }
    });
    let unread = held_by_streams(&ready, TAKEN);
    println!("{unread} bytes for a connection whose {STREAMS} streams have answers that nobody takes");
    assert!(waiting < 8 << 20 && unread < 128 << 20, "{waiting} {unread}");
}

const HTTP2: usize = 2;
/// What a connection takes of its answers, and as much as each of them has: so none of them ends.
const TAKEN: usize = 64 << 20;
/// The default of `server.limits.streams`.
const STREAMS: usize = 100;

#[test]
fn a_crowd_of_holders_keeps_no_operator_from_revoking() {
    const CROWD: usize = 1100;
    allow_files(4096);
    let origin = Origin::plain();
    let config = "store.busy_timeout = \"2m\"\nserver.limits.connections_per_address = 0\nself_service.path = \"/keyward\"\nself_service.changes_per_minute = 0\n";
    let keyward = keyward().upstream(origin.url()).config(config).start();
    keyward.account("101");
    let (key, other) = (keyward.service_key("101", &[]), keyward.service_key("101", &[]));
    assert_eq!(keyward.get("/", &other.secret).status, 200);
    // As long as this lasts nothing is written, and whatever is to be waits.
    let shell = rusqlite::Connection::open(keyward.database()).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let authorization = format!("Bearer {}", key.secret);
    let ask = |at: usize| {
        let body = format!("{{\"name\":\"{at}\"}}");
        let length = body.len().to_string();
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", length.as_str()),
        ];
        let mut wire = keyward.wire();
        wire.send(head("PATCH", "/keyward/v1/keys/self", &headers) + &body);
        wire
    };
    let crowd: Vec<Wire> = (0..CROWD).map(ask).collect();
    eventually("all of them wait", || keyward.metric("keyward_requests_in_flight") == CROWD as u64);
    std::thread::scope(|scope| {
        let revoking = scope.spawn(|| keyward.cli(&["key", "revoke", &other.id]));
        shell.execute_batch("ROLLBACK").unwrap();
        revoking.join().unwrap();
    });
    assert_eq!(keyward.get("/", &other.secret).status, 401);
    drop(crowd);
}

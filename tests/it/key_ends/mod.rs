//! What is open for long when its key ends: it is cut, and its client can tell.

mod long;
mod replicas;
mod tunnels;
mod why;

use std::process::{Child, Stdio};
use std::time::Duration;

use ::keyward::clock::{BootTime, Clock};

use crate::support::keyward::Lines;
use crate::support::origin::Line;
use crate::support::python::python;
use crate::support::{Keyward, Minted, Origin, Wire, eventually, keyward};

/// A keyward whose every path may become a WebSocket, and a key of account 101.
fn before(origin: &Origin, more: &str, route: &str) -> (Keyward, Minted) {
    let config = format!(
        "{more}\n[server]\nworkers = 1\nlisten = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\n[services.api]\n\
         url = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nupgrade = [\"websocket\"]\n{route}\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

/// An origin that sends events without end.
fn streaming() -> Origin {
    Origin::scripted(|line| {
        line.head();
        events(line);
    })
}

fn events(line: &mut Line) {
    line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    while line.try_send(b"9\r\ndata: .\n\n\r\n") {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An origin that sends one event, and then nothing.
fn silent() -> Origin {
    Origin::scripted(|line| {
        line.head();
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: .\n\n\r\n");
        line.until_ended();
    })
}

/// Asks for a stream, and has its first event.
fn stream(keyward: &Keyward, key: &Minted) -> Wire {
    let mut wire = keyward.wire();
    wire.send(format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    assert_eq!(wire.head().0, 200);
    assert_eq!(wire.chunk().unwrap(), b"data: .\n\n");
    wire
}

/// A client with a stream of each of two keys, on one connection over HTTP/2, and what it says.
fn two_streams(keyward: &Keyward, first: &Minted, second: &Minted) -> (Child, Lines) {
    let mut client = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/two_streams.py"))
        .env("URL", format!("http://{}/events", keyward.http2_address()))
        .envs([("FIRST", &first.secret), ("SECOND", &second.secret)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::of(client.stdout.take().unwrap());
    said.expect("both");
    (client, said)
}

/// Begins to send a body, and never ends it.
fn upload(keyward: &Keyward, key: &Minted) -> Wire {
    let mut wire = keyward.wire();
    let head = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    wire.send(format!("POST /upload HTTP/1.1\r\n{head}Authorization: Token {}\r\n\r\n", key.secret));
    wire
}

/// Waits until so much is watched over.
fn watched(keyward: &Keyward, count: u64) {
    eventually(&format!("{count} are watched"), || keyward.metric("keyward_open_watched") == count);
}

/// Whether an answer in chunks broke off: its connection ended, and its last chunk did not come.
fn breaks_off(mut wire: Wire) -> bool {
    !wire.rest().ends_with(b"0\r\n\r\n")
}

/// Now.
fn now() -> BootTime {
    Clock::System.boot()
}

/// So much of this part was cut.
fn cut(keyward: &Keyward, part: &str) -> u64 {
    keyward.metric(&format!("keyward_open_cut_total{{part=\"{part}\"}}"))
}

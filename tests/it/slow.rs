//! slowhttptest in its four modes against a keyward: each slow client is ended, memory stays bounded, others are served.

use std::process::{Child, Command, Stdio};

use crate::support::keyward::Lines;
use crate::support::{Keyward, Minted, Origin, eventually, keyward};

/// Slow clients of each mode.
const CLIENTS: u64 = 200;
const MANY: u64 = CLIENTS / 4;

/// A keyward whose patience is short, with a route that asks for no key: the tool's clients have none.
fn impatient(origin: &Origin) -> (Keyward, Minted) {
    let config = format!(
        "[server]\nworkers = 2\n\
         [server.timeouts]\nfirst_byte = \"2s\"\nheader = \"2s\"\nidle = \"2s\"\nbody_idle = \"2s\"\nwrite_stall = \"2s\"\n\
         [services.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/open/**\"\nservice = \"api\"\nopen = true\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

/// A running slowhttptest.
struct Slow {
    child: Child,
    said: Lines,
}

impl Slow {
    /// Its clients come at once, take their step each second, and would not give up.
    fn start(keyward: &Keyward, mode: &[&str]) -> Self {
        let clients = CLIENTS.to_string();
        let mut child = Command::new("slowhttptest")
            .args(mode)
            .args(["-c", &clients, "-r", &clients, "-i", "1", "-l", "600", "-p", "30"])
            .args(["-u", &format!("http://{}/open/slow", keyward.address())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("slowhttptest runs: .ci/packages installs it");
        let said = Lines::of(child.stdout.take().unwrap());
        Self { child, said }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a mode until none of its connections is left, with an honest client beside; gives by how much memory rose at most,
/// in bytes a slow client. `series` must have counted many of them: on a busy machine the tool itself gives the others up.
fn outlast(origin: &Origin, mode: &[&str], series: &str) -> u64 {
    let (keyward, key) = impatient(origin);
    assert_eq!(keyward.get("/before", &key.secret).status, 200);
    let before = keyward.memory();
    let mut slow = Slow::start(&keyward, mode);
    let mut served = 0;
    eventually(&format!("{series} counts many, and no connection is left"), || {
        assert_eq!(keyward.get("/beside", &key.secret).status, 200);
        served += 1;
        keyward.metric(series) >= MANY && keyward.metric("keyward_client_connections") == 0
    });
    assert!(served > 1, "an honest client is served meanwhile");
    if mode[0] != SLOW_READ {
        // Which ends it, long before its time. A slow reader has not come to the end of what the kernel holds for it.
        eventually("slowhttptest has ended", || slow.child.try_wait().unwrap().is_some());
        slow.said.expect("No open connections left");
    }
    assert_eq!(keyward.get("/after", &key.secret).status, 200);
    let held = (keyward.peak() - before) / CLIENTS;
    println!("{mode:?}: {held} bytes for each slow client at most");
    held
}

#[test]
fn slow_heads_are_ended() {
    let held =
        outlast(&Origin::plain(), &["-H"], r#"keyward_client_connections_closed_total{reason="header_timeout"}"#);
    assert!(held < 64 * KIB, "{held} bytes each");
}

#[test]
fn slow_bodies_are_ended() {
    let series = r#"keyward_auth_decisions_total{result="allowed",reason="body_too_slow"}"#;
    let held = outlast(&Origin::plain(), &["-B"], series);
    assert!(held < 128 * KIB, "{held} bytes each");
}

#[test]
fn overlapping_ranges_are_the_origins_to_judge_and_cost_their_head() {
    let origin = Origin::plain();
    let held = outlast(&origin, &["-R"], r#"keyward_auth_decisions_total{result="allowed",reason="open"}"#);
    assert!(held < 256 * KIB, "{held} bytes each");
    let ranges = origin.seen().heads.iter().filter(|head| head.contains("bytes=0-,5-0,5-1,")).count();
    assert!(ranges as u64 >= MANY, "{ranges}");
}

/// What is read ahead for a slow reader is bounded by `origin.buffer_bytes`.
#[test]
fn slow_readers_are_ended() {
    let origin = Origin::scripted(|line| {
        let body = vec![b'.'; 8 << 20];
        while line.head().is_some() {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            line.send(&body);
        }
    });
    let series = r#"keyward_client_connections_closed_total{reason="write_stall"}"#;
    let held = outlast(&origin, &[SLOW_READ, "-w", "1", "-y", "512", "-n", "1", "-z", "5"], series);
    assert!(held < 1280 * KIB, "{held} bytes each");
}

const SLOW_READ: &str = "-X";
const KIB: u64 = 1024;

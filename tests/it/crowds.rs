//! Many clients that do little, and one that asks without end: memory is bounded, and others are served.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Keyward, Minted, Origin, Wire, eventually, keyward};

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

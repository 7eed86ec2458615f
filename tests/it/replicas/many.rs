//! Many processes on one PostgreSQL, whatever befalls them and it.

use std::sync::Arc;
use std::time::Duration;

use super::QUIET;
use super::faults::{cut, kill, pause, restart, silence, terminate};
use super::run::{Pace, Run};
use crate::support::postgres::pgbouncer::PgBouncer;
use crate::support::postgres::relay::{Direction, Relay, Traffic};
use crate::support::postgres::{Mode, Options, Server};

/// Room for the connections of all of them.
const ROOMY: Options = Options { tls: false, fsync: false, settings: &["max_connections = 600"] };

#[test]
fn five_forward_no_request_that_began_after_a_receipt_whatever_befalls_them() {
    let server = Server::own(ROOMY);
    let database = server.database();
    let (relay, other) = (Arc::new(Relay::to(server.address())), Arc::new(Relay::to(server.address())));
    let bouncer = PgBouncer::to(server.address());
    let direct = database.url();
    let ways = [relay.address(), other.address(), bouncer.address()].map(|address| database.url_by(address));
    let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
    let pace = Pace { per_second: 60, operators: 4, pause: Duration::from_millis(300), lapse: seconds(1) + MORE };
    let mut run = Run::start(5, pace, move |number, setup| {
        // Two have the database for themselves, two are behind a wire that fails, one is behind a pooler.
        let url = ways.get(number).unwrap_or(&direct);
        setup
            .store(url)
            .config(format!("{QUIET}[store]\nfence = \"1s\"\nlisten_url = \"{}\"\n", heard(number, url, &direct)))
    });
    run.befall(vec![
        pause(millis(300)),
        pause(seconds(2)),
        pause(seconds(3)),
        kill(millis(0)),
        kill(seconds(2)),
        terminate(&database),
        terminate(&database),
        restart(&server, Mode::Fast, millis(0)),
        restart(&server, Mode::Immediate, seconds(2)),
        cut(&relay),
        silence(&relay, Direction::Up, Traffic::Lose, seconds(10)),
        silence(&other, Direction::Down, Traffic::Hold, seconds(10)),
    ]);
    run.expect_changes(200);
    let verdict = run.finish("five replicas and faults");
    assert!(verdict.late > 1000 && verdict.forwarded > 1000 && verdict.unavailable > 0, "{verdict:?}");
}

/// Where a replica hears of changes: past the pooler, else as it does all else.
fn heard<'a>(number: usize, url: &'a str, direct: &'a str) -> &'a str {
    if number == 2 { direct } else { url }
}

#[test]
fn receipts_of_five_healthy_replicas_come_by_acknowledgement() {
    time_receipts(5, 60);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "fifty unoptimized processes need a machine of their own: see CHANGES")]
fn receipts_of_fifty_healthy_replicas_come_by_acknowledgement() {
    time_receipts(50, 2);
}

/// Prints how long receipts take of so many replicas, each of which is asked so often a second.
fn time_receipts(count: usize, per_second: u32) {
    let server = Server::own(ROOMY);
    let database = server.database();
    let url = database.url();
    let pace = Pace { per_second, operators: 1, pause: Duration::from_millis(100), lapse: FENCE + MORE };
    let light = "server.workers = 1\nstore.readers = 1\nstore.lookups = 1\nkeyring.live = 1000\n";
    let config = format!("{QUIET}{light}store.fence = \"{}s\"\n", FENCE.as_secs());
    let run = Run::start(count, pace, move |_, setup| setup.store(&url).config(config.clone()));
    // Until then acknowledgements prove nothing: a replica that has just seen its database for the first time may miss some row.
    run.forget_receipts_of(FENCE + MORE);
    run.expect_changes(CHANGES);
    let acknowledged = run.acknowledged();
    assert!(acknowledged > CHANGES / 2, "{acknowledged} of {CHANGES}: the others are silent");
    let verdict = run.finish(&format!("{count} healthy replicas"));
    assert!(verdict.late > CHANGES * count && verdict.forwarded > CHANGES, "{verdict:?}");
}

/// The shortest with which the log is looked at as often as with the usual one.
const FENCE: Duration = Duration::from_secs(2);
/// What is waited for beyond it.
const MORE: Duration = Duration::from_millis(20);
/// One in a hundred needs some; to measure, `cargo test --release --test it -- healthy --nocapture --test-threads 1`.
const CHANGES: usize = if cfg!(debug_assertions) { 30 } else { 300 };

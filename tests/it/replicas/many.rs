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
    let pace = Pace { per_second: 60, operators: 4, pause: Duration::from_millis(300) };
    let mut run = Run::start(5, pace, move |number, setup| {
        // Two have the database for themselves, two are behind a wire that fails, one is behind a pooler.
        let url = ways.get(number).unwrap_or(&direct);
        setup
            .store(url)
            .config(format!("{QUIET}[store]\nfence = \"1s\"\nlisten_url = \"{}\"\n", heard(number, url, &direct)))
    });
    let seconds = Duration::from_secs;
    let millis = Duration::from_millis;
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
fn receipts_of_five_and_of_fifty_healthy_replicas_come_by_acknowledgement() {
    for (count, per_second) in [(5, 60), (50, 4)] {
        let server = Server::own(ROOMY);
        let database = server.database();
        let url = database.url();
        let pace = Pace { per_second, operators: 1, pause: Duration::from_millis(100) };
        let light = "server.workers = 1\nstore.readers = 1\nstore.lookups = 1\nkeyring.live = 1000\n";
        let run = Run::start(count, pace, move |_, setup| setup.store(&url).config(format!("{QUIET}{light}")));
        run.expect_changes(200);
        let verdict = run.finish(&format!("{count} healthy replicas"));
        assert!(verdict.late > 200 * count, "{verdict:?}");
    }
}

//! Many processes on one store: what is taken away at one is gone at all.

mod changes;
mod crew;
mod failover;
mod faults;
mod hands;
mod judge;
mod line;
mod many;
mod run;
mod scene;

use std::time::Duration;

use tempfile::TempDir;

use self::faults::{kill, pause};
use self::run::{Pace, Run};
use crate::support::{Origin, Replica, Wire, eventually};

#[test]
fn a_replica_is_paused_resumed_killed_and_started_again() {
    let origin = Origin::plain();
    let (url, folder) = (origin.url(), TempDir::new().unwrap());
    let store = format!("sqlite://{}", folder.path().display());
    let mut replicas =
        Replica::start(2, move |number, setup| setup.store(format!("{store}/{number}.db")).upstream(&url));
    let keys: Vec<_> = replicas
        .iter()
        .map(|replica| {
            replica.now().account("101");
            replica.now().service_key("101", &[])
        })
        .collect();
    let refused = |replica: &Replica, secret| replica.now().get("/", secret).status == 401;
    assert!(refused(&replicas[0], &keys[1].secret) && refused(&replicas[1], &keys[0].secret), "each has its own store");

    let mut wire = replicas[0].now().wire();
    replicas[0].pause();
    wire.send(crate::support::http::head("GET", "/", &[("Authorization", &format!("Token {}", keys[0].secret))]));
    let stream = wire.stream();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "a paused replica answers nobody");
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    replicas[0].resume();
    assert_eq!(wire.answer("GET").status, 200);

    replicas[0].pause();
    replicas[0].kill();
    replicas[0].restart();
    assert_eq!(replicas[0].now().get("/", &keys[0].secret).status, 200);
    let ready = |replica: &Replica| Wire::connect(replica.now().admin()).ask("GET", "/readyz", &[]).status == 200;
    eventually("both are ready", || replicas.iter().all(ready));
}

/// What would only fill the logs, or is told elsewhere.
const QUIET: &str = "access_log.enabled = false\nkeys.on_reuse = \"ignore\"\n";

/// Of one process, which knows at once what was made.
const ALONE: Pace = Pace { per_second: 100, operators: 1, pause: Duration::from_millis(50), lapse: Duration::ZERO };

#[test]
fn one_process_forwards_no_request_that_began_after_a_receipt_whatever_befalls_it() {
    let pace = Pace { operators: 4, pause: Duration::from_millis(100), ..ALONE };
    let mut run = Run::start(1, pace, |_, setup| setup.config(QUIET));
    let millis = Duration::from_millis;
    run.befall(vec![pause(millis(500)), kill(millis(100)), pause(millis(500)), kill(millis(100))]);
    run.expect_changes(60);
    let verdict = run.finish("one process");
    assert!(verdict.late > 60 && verdict.forwarded > 60, "{verdict:?}");
}

#[test]
fn a_receipt_that_is_not_true_is_found_by_the_requests_that_it_lets_through() {
    let run = Run::start(1, ALONE, |_, setup| setup.config(QUIET));
    run.expect_changes(1);
    run.forge_a_receipt();
    run.expect_changes(10);
    let violations = run.end("a forged receipt").violations;
    let told = |violation: &String| violation.ends_with("after the receipt of the secret's end, and was forwarded");
    assert!(!violations.is_empty() && violations.iter().all(told), "{violations:#?}");
}

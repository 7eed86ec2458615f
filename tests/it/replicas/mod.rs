//! Many processes on one store: what is taken away at one is gone at all.

use std::time::Duration;

use tempfile::TempDir;

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

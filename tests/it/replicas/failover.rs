//! A standby takes over that lacks the last change.

use std::time::Duration;

use serde_json::{Value, json};

use super::QUIET;
use super::crew::Crew;
use crate::support::eventually;
use crate::support::postgres::relay::{Direction, Relay, Traffic};
use crate::support::postgres::{Database, Mode, Options, Server};

/// Longer than a failover takes: a change that is waited for must not be complete by time meanwhile.
const FENCE: Duration = Duration::from_secs(40);

/// Two replicas of a primary that a standby follows.
struct Scene<'a> {
    crew: Crew,
    standby: Server,
    /// Between the standby and its primary.
    wire: Relay,
    /// Where the replicas ask.
    address: Relay,
    database: Database<'a>,
    primary: &'a Server,
}

impl<'a> Scene<'a> {
    fn start(primary: &'a Server, fence: Duration) -> Self {
        let database = primary.database();
        let (wire, address) = (Relay::to(primary.address()), Relay::to(primary.address()));
        let standby = primary.standby(wire.address());
        let url = database.url_by(address.address());
        let config = format!("{QUIET}store.fence = \"{}s\"\n", fence.as_secs());
        let crew = Crew::start(2, move |setup| setup.store(&url).config(&config));
        Self { crew, standby, wire, address, database, primary }
    }

    /// The standby has everything until now, and nothing from now on.
    fn leave_behind(&self) {
        let at = self.database.psql("SELECT pg_current_wal_lsn()");
        eventually("the standby has followed", || {
            self.database.psql_at(&self.standby, &format!("SELECT pg_last_wal_replay_lsn() >= '{at}'")) == "t"
        });
        self.wire.set(Direction::Down, Traffic::Lose);
    }

    /// The primary is gone, and the standby takes its place.
    fn fail_over(&self) {
        self.primary.stop(Mode::Immediate);
        self.standby.promote();
        self.address.lead_to(self.standby.address());
        self.address.cut();
    }
}

#[test]
fn a_change_that_a_failover_lost_is_told_as_lost_and_what_was_read_is_read_anew() {
    let primary = Server::own(Options::default());
    let scene = Scene::start(&primary, FENCE);
    let (crew, key) = (&scene.crew, scene.crew.minted());
    assert_eq!(crew.statuses(&key.secret), [200; 2]);

    scene.leave_behind();
    crew.replicas[1].pause();
    let revoked = crew.begin(0, "DELETE", format!("/v1/keys/{}?wait=60s", key.id));
    eventually("it holds where it was made", || crew.replicas[0].now().get("/", &key.secret).status == 401);

    scene.fail_over();
    let revoked = revoked.join().unwrap();
    assert_eq!(revoked.status, 503, "{}", revoked.text());
    crew.replicas[0].now().stderr.expect("the database that answers now lost the change");
    crew.replicas[1].resume();
    for replica in &crew.replicas {
        replica.now().stderr.expect("another database answers");
    }
    eventually("everything is read anew", || crew.statuses(&key.secret) == [200; 2]);

    // Who serves may be missing in what the new primary knows of replicas, so what they say is not enough yet.
    let revoked = crew.ask(0, "DELETE", &format!("/v1/keys/{}?wait=0s", key.id), &Value::Null);
    assert_eq!((revoked.status, &revoked.json()["receipt"]["complete"]), (202, &json!(false)), "{}", revoked.text());
    let path = format!("/v1/revisions/{}?wait=0s", revoked.json()["receipt"]["rev"]);
    eventually("both have said that they know it", || {
        let receipt = crew.ask(0, "GET", &path, &Value::Null).json();
        assert_eq!(receipt["complete"], false, "{receipt}");
        let replicas = receipt["replicas"].as_array().unwrap();
        replicas.len() == 2 && replicas.iter().all(|replica| replica["state"] == "acknowledged")
    });
    assert_eq!(crew.statuses(&key.secret), [401; 2]);
}

#[test]
fn a_receipt_of_before_a_failover_says_nothing_of_a_position_that_is_given_out_again() {
    let primary = Server::own(Options::default());
    let scene = Scene::start(&primary, Duration::from_secs(2));
    let (crew, key) = (&scene.crew, scene.crew.minted());
    scene.leave_behind();
    // Changes that the standby lacks: all are complete, and nobody looks at the replicas any more.
    for _ in 0..5 {
        let other = crew.minted();
        crew.done("DELETE", &format!("/v1/keys/{}?wait=60s", other.id), &Value::Null);
    }

    crew.replicas[1].pause();
    scene.fail_over();
    crew.replicas[0].now().stderr.expect("another database answers");
    let revoked = crew.ask(0, "DELETE", &format!("/v1/keys/{}?wait=0s", key.id), &Value::Null);
    assert_eq!((revoked.status, &revoked.json()["receipt"]["complete"]), (202, &json!(false)), "{}", revoked.text());
    crew.replicas[1].resume();
    let path = format!("/v1/revisions/{}?wait=60s", revoked.json()["receipt"]["rev"]);
    assert_eq!(crew.ask(0, "GET", &path, &Value::Null).json()["complete"], true);
    assert_eq!(crew.statuses(&key.secret), [401; 2]);
}

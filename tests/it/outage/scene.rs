//! A replica that a wire connects to its database, and what requests become while the wire is cut.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::keyward::Setup;
use crate::support::postgres::relay::Relay;
use crate::support::postgres::{Database, Server};
use crate::support::{Answer, Keyward, Minted, Origin, Wire, eventually, keyward};

/// One replica, or the first of several on the same database.
pub(super) struct Scene {
    pub(super) origin: Origin,
    /// The operator key that the first start printed.
    pub(super) operator: String,
    pub(super) relay: Relay,
    pub(super) keyward: Keyward,
    /// It has been presented, and is remembered.
    pub(super) remembered: Minted,
    /// It was made since the start and never presented.
    pub(super) unused: Minted,
    pub(super) database: Database<'static>,
}

/// A request of many, and what became of it.
#[derive(Debug)]
pub(super) struct Sample {
    /// From the cut to the request's first byte, and to the answer's last.
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) answer: Answer,
}

impl Scene {
    pub(super) fn new(config: &str) -> Self {
        Self::with(|setup| setup.config(config))
    }

    pub(super) fn with(setup: impl Fn(Setup) -> Setup) -> Self {
        let (origin, database) = (Origin::plain(), Server::shared().database());
        let relay = Relay::to(Server::shared().address());
        let keyward = started(|| setup(keyward().store(database.url_by(relay.address())).upstream(origin.url())));
        let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
        let desk = Desk { at: &keyward, operator: &operator };
        desk.done("POST", "/v1/accounts", json!({"id": "101"}));
        let [remembered, unused] = [(); 2].map(|()| desk.mint());
        eventually("the key is known", || keyward.get("/", &remembered.secret).status == 200);
        Self { origin, operator, relay, keyward, remembered, unused, database }
    }

    /// The operator, at a replica.
    pub(super) fn desk<'a>(&'a self, at: &'a Keyward) -> Desk<'a> {
        Desk { at, operator: &self.operator }
    }

    /// The database is gone for this replica: what is open is reset, and nothing new is to be had.
    pub(super) fn cut(&self) -> Instant {
        self.relay.refuse(true);
        self.relay.cut();
        now()
    }

    /// It is back.
    pub(super) fn mend(&self) -> Instant {
        self.relay.refuse(false);
        now()
    }

    pub(super) fn ask(&self, secret: &str) -> Answer {
        self.keyward.get("/", secret)
    }

    /// Another replica, which nothing cuts off.
    pub(super) fn another(&self, setup: impl Fn(Setup) -> Setup) -> Keyward {
        let other = started(|| setup(keyward().store(self.database.url()).upstream(self.origin.url())));
        eventually("it knows the key", || other.get("/", &self.remembered.secret).status == 200);
        other
    }

    pub(super) fn ready(&self) -> u16 {
        Wire::connect(self.keyward.admin()).ask("GET", "/readyz", &[]).status
    }

    /// Asks with a secret again and again, until `enough` says so.
    pub(super) fn sampled(&self, since: Instant, secret: &str, enough: impl Fn(&Sample) -> bool) -> Vec<Sample> {
        let mut samples = Vec::new();
        eventually("the samples are enough", || {
            let began = now() - since;
            let answer = self.ask(secret);
            samples.push(Sample { began, ended: now() - since, answer });
            samples.last().is_some_and(&enough)
        });
        samples
    }
}

/// Starts one, again where it ends at start because the database was slow on a loaded machine, as an orchestrator would.
pub(super) fn started(setup: impl Fn() -> Setup) -> Keyward {
    let mut started = None;
    eventually("it starts", || {
        let next = setup().spawn();
        let listens = next.comes_to_listen();
        started = listens.then_some(next);
        listens
    });
    started.expect("it listens")
}

/// Somebody who manages keys at a replica.
pub(super) struct Desk<'a> {
    at: &'a Keyward,
    operator: &'a str,
}

impl Desk<'_> {
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (bearer, body) = (format!("Bearer {}", self.operator), body.to_string());
        let length = body.len().to_string();
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", length.as_str()),
        ];
        let mut wire = Wire::connect(self.at.admin());
        wire.send([head(method, path, &headers), body].concat());
        wire.answer(method)
    }

    /// The same until it is done: a loaded machine's database may be too slow for once.
    pub(super) fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let mut done = Value::Null;
        eventually(path, || {
            let answer = self.ask(method, path, &body);
            assert!([200, 201, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
            done = answer.json();
            answer.status != 503
        });
        done
    }

    pub(super) fn mint(&self) -> Minted {
        let made = self.done("POST", "/v1/keys", json!({"account_id": "101", "name": "test"}));
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        Minted { id: text(&made["key"]["id"]), secret: text(&made["secret"]) }
    }

    /// Revokes a key and waits until that is complete: when it was, and what became of each replica.
    pub(super) fn revoke(&self, key: &Minted) -> (Instant, Vec<String>) {
        let done = self.done("DELETE", &format!("/v1/keys/{}?wait=60s", key.id), json!({}));
        let complete = now();
        let replicas = done["receipt"]["replicas"].as_array().unwrap_or_else(|| panic!("{done}"));
        (complete, replicas.iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect())
    }

    /// A process that has just begun waits by the clock alone. Waits until the other one's word is enough.
    pub(super) fn hears_of_others(&self, fence: Duration) {
        eventually("acknowledgements are enough", || {
            let (begun, key) = (now(), self.mint());
            let (complete, states) = self.revoke(&key);
            complete - begun < fence && states == ["acknowledged"; 2]
        });
    }
}

/// Trouble is ours, never the key's.
pub(super) fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), None);
}

/// Until when requests were served, and by then how many.
pub(super) fn served_until(samples: &[Sample]) -> (Duration, usize) {
    let served: Vec<_> = samples.iter().filter(|sample| sample.answer.status == 200).collect();
    (served.last().map_or(Duration::ZERO, |last| last.began), served.len())
}

#[allow(clippy::disallowed_methods, reason = "clients have real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

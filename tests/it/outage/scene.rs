//! A replica that a wire connects to its database, and what requests become while the wire is cut.

use std::time::{Duration, Instant};

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

    pub(super) fn with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let (origin, database) = (Origin::plain(), Server::shared().database());
        let relay = Relay::to(Server::shared().address());
        let keyward = setup(keyward().store(database.url_by(relay.address())).upstream(origin.url())).start();
        let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
        keyward.account("101");
        let [remembered, unused] = [(); 2].map(|()| keyward.service_key("101", &[]));
        eventually("the key is known", || keyward.get("/", &remembered.secret).status == 200);
        Self { origin, operator, relay, keyward, remembered, unused, database }
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
    pub(super) fn another(&self, config: &str) -> Keyward {
        let other = keyward().config(config).store(self.database.url()).upstream(self.origin.url()).start();
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

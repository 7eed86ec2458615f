//! The store in real trouble: locked by another process, without room, cut off or overwritten, killed in the middle of
//! everything, stopped. A change that could not be committed answers an error, never success; one that answered success is
//! true after a restart; and no trouble of ours makes a living key look unknown.

mod damaged;
mod full;
mod killed;
mod locked;
mod stopped;

use crate::support::{Answer, Keyward, Minted, Origin, Wire, keyward};

/// Little patience with a lock, last uses that are written at once, and nothing known that was not asked for: what was read
/// ahead would be answered from memory, and the store not missed.
const SETTINGS: &str = "\
[store]
busy_timeout = \"300ms\"
[keyring]
usage_flush = \"100ms\"
unknown_for = \"1ms\"
warm = false
known = 0
";

/// A keyward with account 101, a key that it remembers and one that it does not.
struct Scene {
    keyward: Keyward,
    origin: Origin,
    remembered: Minted,
    other: Minted,
}

impl Scene {
    fn new() -> Self {
        Self::over(|setup| setup)
    }

    fn over(place: impl FnOnce(crate::support::keyward::Setup) -> crate::support::keyward::Setup) -> Self {
        let origin = Origin::plain();
        let keyward = place(keyward().config(SETTINGS).upstream(origin.url())).start();
        keyward.account("101");
        let [remembered, other] = [(); 2].map(|()| keyward.service_key("101", &[]));
        assert_eq!(keyward.get("/", &remembered.secret).status, 200);
        Self { keyward, origin, remembered, other }
    }

    /// Starts it again over the same store, whatever became of the process before.
    fn again(&mut self) {
        let next = keyward().config(SETTINGS).upstream(self.origin.url()).over(&self.keyward);
        self.keyward = next.start();
    }

    fn status(&self, key: &Minted) -> u16 {
        self.keyward.get("/", &key.secret).status
    }

    fn ready(&self) -> Answer {
        Wire::connect(self.keyward.admin()).ask("GET", "/readyz?verbose", &[])
    }

    /// The value of a metric, by its name and labels.
    fn metric(&self, name: &str) -> u64 {
        let metrics = self.keyward.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse::<f64>().unwrap() as u64
    }

    fn failed_changes(&self) -> u64 {
        self.metric("keyward_store_changes_total{result=\"failed\"}")
    }

    /// Revoking is answered with an error that says `why`, and the key works on.
    fn revoking_fails(&self, key: &Minted, why: &str) {
        let before = self.failed_changes();
        let said = self.keyward.fails(&["key", "revoke", &key.id]);
        assert!(said.contains(why) && said.contains("keyward.db"), "{said}");
        assert_eq!(self.status(key), 200);
        assert!(self.failed_changes() > before);
    }

    /// Revoking works, and holds at once.
    fn revoking_works(&self, key: &Minted) {
        self.keyward.cli(&["key", "revoke", &key.id]);
        assert_eq!(self.status(key), 401);
    }
}

/// The store cannot tell, which is no refusal.
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

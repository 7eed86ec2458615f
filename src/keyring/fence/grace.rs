//! What a look at the replicas is worth.
//!
//! Rows and acknowledgements can only make an answer come sooner, so none that counts may be missing. A failover or a restore
//! may have lost some: for as long as anything can count that was read before it, a process that first saw a database just now
//! takes no acknowledgement for an answer (REVOCATION, "instance grace"). It then waits for time, which needs no rows.
//!
//! ```text
//!  Look::at(now) -> Store::replicas -> Grace::see(look, answer, now) -> Sight -> Wait::judge, Purge::next
//! ```
//!
//! A [`Sight`] comes from nowhere else, so nobody who waits can forget the grace.

use std::time::Duration;

use super::span::lapse;
use crate::clock::BootTime;
use crate::store::replica::{Instance, Replica, Replicas};

/// A question about the replicas, before it is sent.
#[derive(Clone, Copy, Debug)]
#[must_use = "ask the store, and tell Grace::see"]
pub(in crate::keyring) struct Look(BootTime);

impl Look {
    /// Sent from now on.
    pub(in crate::keyring) const fn at(now: BootTime) -> Self {
        Self(now)
    }
}

/// The database that a process looks at, and since when. One for the whole process.
#[derive(Debug, Default)]
pub(in crate::keyring) struct Grace {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    instance: Instance,
    /// When its first answer had come: later than whatever made it the one that answers.
    since: BootTime,
    /// The longest fence by which anything may count that was read before it; since it is settled, its last one.
    fence: Duration,
    settled: bool,
}

/// What a look brought, and what it is worth.
#[derive(Debug)]
pub(in crate::keyring) struct Sight {
    replicas: Replicas,
    asked: BootTime,
    now: BootTime,
    since: BootTime,
    fence: Duration,
    settled: bool,
}

impl Sight {
    /// The live and the suspect ones.
    pub(in crate::keyring) fn replicas(&self) -> &[Replica] {
        &self.replicas.replicas
    }

    /// Whether no row can be missing of a replica that may serve from what it read: only then may one conclude from those there
    /// are that nobody else has to be waited for.
    pub(super) const fn settled(&self) -> bool {
        self.settled
    }

    /// The log's last position in it.
    pub(super) const fn head(&self) -> u64 {
        self.replicas.head
    }

    /// When it was asked for.
    pub(super) const fn asked(&self) -> BootTime {
        self.asked
    }

    /// Since when this database is seen.
    pub(super) const fn since(&self) -> BootTime {
        self.since
    }

    /// When it had come.
    pub(super) const fn now(&self) -> BootTime {
        self.now
    }

    /// The longest fence by which anything may count that was read before it.
    pub(in crate::keyring) const fn fence(&self) -> Duration {
        self.fence
    }
}

impl Grace {
    /// The database has answered something else, a renewal say: by the time of the first look it is known for long. What fence it
    /// told may be shorter than the longest there is, and takes nothing back.
    pub(in crate::keyring) fn met(&mut self, instance: &Instance, fence: Duration, now: BootTime) {
        let before = self.seen.take();
        let longest = before.as_ref().map_or(fence, |seen| seen.fence.max(fence));
        self.seen = Some(Seen::met(before, instance, longest, now));
    }

    /// The database was set back: of what it has lost rows may be missing, as where another one took its place.
    pub(in crate::keyring) const fn set_back(&mut self, now: BootTime) {
        if let Some(seen) = &mut self.seen {
            (seen.since, seen.settled) = (now, false);
        }
    }

    /// Judges what a look brought; `now` is read after it came.
    pub(in crate::keyring) fn see(&mut self, look: Look, replicas: Replicas, now: BootTime) -> Sight {
        let mut seen = Seen::met(self.seen.take(), &replicas.instance, replicas.fence, now);
        // Only a look tells the longest fence there is. Once it is settled it stays so: a longer fence comes with its own lease.
        seen.settled |= now.since(seen.since) >= lapse(seen.fence);
        let (since, fence, settled) = (seen.since, seen.fence, seen.settled);
        self.seen = Some(seen);
        Sight { replicas, asked: look.0, now, since, fence, settled }
    }
}

impl Seen {
    fn met(before: Option<Self>, instance: &Instance, fence: Duration, now: BootTime) -> Self {
        match before {
            Some(seen) if seen.instance == *instance => {
                let fence = if seen.settled { fence } else { seen.fence.max(fence) };
                Self { fence, ..seen }
            }
            other => {
                let longest = other.map_or(fence, |seen| seen.fence.max(fence));
                Self { instance: instance.clone(), since: now, fence: longest, settled: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCE: Duration = Duration::from_secs(2);

    fn seen(grace: &mut Grace, instance: &str, fence: Duration, millis: u64) -> bool {
        let instance = Instance(instance.into());
        let replicas = Replicas { head: 0, fence, instance, replicas: Vec::new() };
        let now = BootTime::from_nanos(millis * 1_000_000);
        grace.see(Look::at(now), replicas, now).settled()
    }

    #[test]
    fn a_database_seen_just_now_is_settled_after_a_fence_and_a_little_more() {
        let mut grace = Grace::default();
        let at = [5000, 6000, 7019, 7020, 60_000].map(|millis| seen(&mut grace, "one", FENCE, millis));
        assert_eq!(at, [false, false, false, true, true]);
        let at = [61_000, 63_019, 63_020].map(|millis| seen(&mut grace, "two", FENCE, millis));
        assert_eq!(at, [false, false, true], "another one begins anew");
        let at = [64_000, 65_000].map(|millis| seen(&mut grace, "one", FENCE, millis));
        assert_eq!(at, [false, false], "and so does the first, should it come back");
    }

    #[test]
    fn a_database_that_answered_renewals_is_known_by_the_first_look() {
        let mut grace = Grace::default();
        let met = |grace: &mut Grace, instance: &str, millis: u64| {
            grace.met(&Instance(instance.into()), FENCE, BootTime::from_nanos(millis * 1_000_000));
        };
        met(&mut grace, "one", 1000);
        met(&mut grace, "one", 3000);
        assert!(seen(&mut grace, "one", FENCE, 3020));
        met(&mut grace, "two", 4000);
        assert!(!seen(&mut grace, "two", FENCE * 5, 6020), "a look may show a longer fence");
        met(&mut grace, "two", 13_000);
        assert!(seen(&mut grace, "two", FENCE, 14_020));
    }

    #[test]
    fn a_renewal_tells_of_no_shorter_fence_than_a_look_showed() {
        let mut grace = Grace::default();
        seen(&mut grace, "one", FENCE * 5, 0);
        assert!(seen(&mut grace, "one", FENCE * 5, 10_020));
        // What was read may count for longer than a renewal says: some serve beyond that, or it was made shorter just now.
        grace.met(&Instance("one".into()), FENCE, BootTime::from_nanos(11_000_000_000));
        let at = [12_000, 14_020, 22_019, 22_020].map(|millis| seen(&mut grace, "two", FENCE, millis));
        assert_eq!(at, [false, false, false, true]);
    }

    #[test]
    fn the_longest_fence_before_it_is_settled_counts() {
        let mut grace = Grace::default();
        assert!(!seen(&mut grace, "one", FENCE * 5, 0));
        assert!(!seen(&mut grace, "two", FENCE, 1000), "what was read from the first counts by its fence");
        assert!(!seen(&mut grace, "two", FENCE, 5000));
        assert!(!seen(&mut grace, "two", FENCE, 11_019));
        assert!(seen(&mut grace, "two", FENCE, 11_020));
        assert!(seen(&mut grace, "two", FENCE * 50, 11_030), "one that grows once it is settled takes nothing back");
    }
}

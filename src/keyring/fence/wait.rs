//! When a change is complete: no request that arrives from then on is served, anywhere, by what was before.
//!
//! ```text
//!  commit answered -> Wait::new(position, now) -> judge(sight)* -> Complete: by acknowledgement, or by time
//!                                                             '-> Pending: so long at the most      '-> Lost
//! ```
//!
//! By acknowledgement: nobody who may serve from what it read is behind, in a look that misses nobody
//! ([`Grace`](super::grace)). By time: a fence and a little more have passed since the commit was answered, so whatever was
//! read without the change counts no longer, by anybody's clock, and no row, no acknowledgement and no clock of the store
//! takes part in that. The fence is the longest that any look since the commit showed: who has a longer lease than that got
//! it after the fence was raised, hence after the commit, and has the change.
//!
//! Whoever asks about a change it did not make itself begins at its own first sight of it, which is later and hence safe.

use std::collections::BTreeMap;
use std::time::Duration;

use super::grace::Sight;
use super::span::lapse;
use crate::clock::BootTime;
use crate::keyring::receipt::{Heard, How};
use crate::store::replica::{Incarnation, ReplicaId};

/// A committed change that is waited for.
#[derive(Debug)]
pub(in crate::keyring) struct Wait {
    position: u64,
    committed: BootTime,
    /// The longest fence in any look since the commit; nothing is complete before there is one.
    fence: Option<Duration>,
    replicas: BTreeMap<ReplicaId, Met>,
    complete: Option<Complete>,
}

/// A replica as it was last seen while this was waited for.
#[derive(Debug)]
struct Met {
    incarnation: Incarnation,
    node: String,
    behind: bool,
    /// It is in the last look; else it left, or was declared dead.
    there: bool,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum Judgement {
    Complete(Complete),
    /// Not yet; and after so long at the latest, if the store answered once since the commit. Else that is not known.
    Pending(Option<Duration>),
    /// The store's log ends before it: a failover or a restore has lost the change.
    Lost,
}

/// What made a change complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) enum Complete {
    /// Everybody has applied it.
    ByAcknowledgement,
    /// Whatever was read before it counts no longer; some were silent.
    ByTime,
}

impl Wait {
    /// For the change at `position`. `answered` is read after its commit was answered, or after somebody else's was seen.
    pub(in crate::keyring) const fn new(position: u64, answered: BootTime) -> Self {
        Self { position, committed: answered, fence: None, replicas: BTreeMap::new(), complete: None }
    }

    /// How far it has come, after a look. Once it is complete it stays so.
    pub(in crate::keyring) fn judge(&mut self, sight: &Sight) -> Judgement {
        if let Some(complete) = self.complete {
            return Judgement::Complete(complete);
        }
        // A look that shows the change is from after its commit, whenever it was asked for; one that does not may be older.
        if sight.head() < self.position {
            let older = sight.asked() < self.committed;
            return if older { self.judge_by_time(sight.now()) } else { Judgement::Lost };
        }
        self.fence = Some(self.fence.map_or_else(|| sight.fence(), |fence| fence.max(sight.fence())));
        self.meet(sight);
        if sight.settled() && !self.replicas.values().any(|met| met.there && met.behind) {
            return self.completed(Complete::ByAcknowledgement);
        }
        self.judge_by_time(sight.now())
    }

    /// How far it has come where the store does not answer.
    pub(in crate::keyring) fn judge_by_time(&mut self, now: BootTime) -> Judgement {
        if let Some(complete) = self.complete {
            return Judgement::Complete(complete);
        }
        let Some(fence) = self.fence else { return Judgement::Pending(None) };
        match lapse(fence).saturating_sub(now.since(self.committed)) {
            Duration::ZERO => self.completed(Complete::ByTime),
            left => Judgement::Pending(Some(left)),
        }
    }

    /// Whether everybody in the last look has applied it. That is enough for what only gives: a row that is missing may make
    /// somebody be refused for a while, and lets nobody through.
    pub(in crate::keyring) fn is_known(&self) -> bool {
        self.fence.is_some() && !self.replicas.values().any(|met| met.there && met.behind)
    }

    /// What came of each replica, by name; for the receipt.
    pub(in crate::keyring) fn heard(&self) -> Vec<Heard> {
        let how = |met: &Met| match (met.behind, met.there && self.complete.is_none()) {
            (false, _) => How::Acknowledged,
            (true, true) => How::Waiting,
            (true, false) => How::Lapsed,
        };
        let all = self.replicas.iter();
        all.map(|(id, met)| Heard { id: id.clone(), node: met.node.clone(), how: how(met) }).collect()
    }

    /// Whether it was judged complete.
    pub(in crate::keyring) const fn is_complete(&self) -> bool {
        self.complete.is_some()
    }

    /// Who kept silent until time was up; for the purge.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&ReplicaId, Incarnation)> {
        let by_time = self.complete == Some(Complete::ByTime);
        let silent = self.replicas.iter().filter(move |(_, met)| by_time && met.there && met.behind);
        silent.map(|(id, met)| (id, met.incarnation))
    }

    fn meet(&mut self, sight: &Sight) {
        for met in self.replicas.values_mut() {
            met.there = false;
        }
        for replica in sight.replicas() {
            let behind = replica.applied.is_none_or(|applied| applied < self.position);
            let met = self.replicas.entry(replica.id.clone()).or_insert_with(|| Met {
                incarnation: replica.incarnation,
                node: replica.node.clone(),
                behind,
                there: true,
            });
            (met.incarnation, met.behind, met.there) = (replica.incarnation, behind, true);
        }
    }

    const fn completed(&mut self, how: Complete) -> Judgement {
        self.complete = Some(how);
        Judgement::Complete(how)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::grace::{Grace, Look};
    use super::*;
    use crate::clock::Timestamp;
    use crate::store::replica::{Instance, Replica, ReplicaState, Replicas};

    pub(in super::super) fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    pub(in super::super) fn replica(id: &str, incarnation: i64, state: ReplicaState, applied: Option<u64>) -> Replica {
        let (joined, heard) = (Timestamp::from_millis(0), Timestamp::from_millis(0));
        let (node, version) = (format!("node of {id}"), "1".into());
        Replica {
            id: ReplicaId::known(id),
            incarnation: Incarnation(incarnation),
            state,
            applied,
            node,
            version,
            joined,
            heard,
        }
    }

    /// Behind a fence of two seconds.
    pub(in super::super) fn replicas(head: u64, replicas: Vec<Replica>) -> Replicas {
        Replicas { head, fence: Duration::from_secs(2), instance: Instance("one".into()), replicas }
    }

    /// Asked for and answered at that time.
    pub(in super::super) fn see(grace: &mut Grace, replicas: Replicas, millis: u64) -> Sight {
        grace.see(Look::at(at(millis)), replicas, at(millis))
    }

    fn live(id: &str, applied: Option<u64>) -> Replica {
        replica(id, 1, ReplicaState::Live, applied)
    }

    fn hows(wait: &Wait) -> Vec<(String, How)> {
        wait.heard().into_iter().map(|heard| (heard.id.to_string(), heard.how)).collect()
    }

    /// A process that has looked at the database for long.
    fn settled() -> Grace {
        let mut grace = Grace::default();
        see(&mut grace, replicas(0, Vec::new()), 0);
        grace
    }

    const ACKNOWLEDGED: Judgement = Judgement::Complete(Complete::ByAcknowledgement);
    const BY_TIME: Judgement = Judgement::Complete(Complete::ByTime);

    fn left(millis: u64) -> Judgement {
        Judgement::Pending(Some(Duration::from_millis(millis)))
    }

    #[test]
    fn a_change_is_complete_once_nobody_is_behind() {
        let (mut grace, mut wait) = (settled(), Wait::new(7, at(10_000)));
        let suspect = replica("rep_b", 2, ReplicaState::Suspect, Some(6));
        let look = replicas(7, vec![live("rep_a", Some(7)), suspect, live("rep_c", None)]);
        assert_eq!(wait.judge(&see(&mut grace, look, 10_005)), left(2015), "a suspect is waited for, and who is new");
        let all = [("rep_a", How::Acknowledged), ("rep_b", How::Waiting), ("rep_c", How::Waiting)];
        assert_eq!(hows(&wait), all.map(|(id, how)| (id.to_owned(), how)));
        let look = replicas(9, vec![live("rep_a", Some(8)), live("rep_c", Some(7))]);
        assert_eq!(wait.judge(&see(&mut grace, look, 10_010)), ACKNOWLEDGED);
        let all = [("rep_a", How::Acknowledged), ("rep_b", How::Lapsed), ("rep_c", How::Acknowledged)];
        assert_eq!(hows(&wait), all.map(|(id, how)| (id.to_owned(), how)), "who is gone lapsed");
        assert_eq!(wait.silent().count(), 0);
        assert_eq!(wait.judge(&see(&mut grace, replicas(9, vec![live("rep_d", None)]), 10_020)), ACKNOWLEDGED);
    }

    #[test]
    fn a_change_is_complete_after_a_fence_and_a_little_more_whatever_the_rows_say() {
        let (mut grace, mut wait) = (settled(), Wait::new(7, at(10_000)));
        let mut judged = |millis| wait.judge(&see(&mut grace, replicas(7, vec![live("rep_a", Some(6))]), millis));
        assert_eq!([judged(10_000), judged(12_019), judged(12_020)], [left(2020), left(1), BY_TIME]);
        assert_eq!(hows(&wait), [("rep_a".to_owned(), How::Lapsed)]);
        assert_eq!(wait.silent().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["rep_a"]);
    }

    #[test]
    fn acknowledgements_complete_nothing_where_rows_may_be_missing() {
        let (mut grace, mut wait) = (Grace::default(), Wait::new(7, at(10_000)));
        let mut judged = |millis| wait.judge(&see(&mut grace, replicas(7, vec![live("rep_a", Some(7))]), millis));
        assert_eq!([judged(10_001), judged(12_019), judged(12_020)], [left(2019), left(1), BY_TIME]);
        let mut other = Wait::new(8, at(12_020));
        let look = see(&mut grace, replicas(8, vec![live("rep_a", Some(8))]), 12_021);
        assert_eq!(other.judge(&look), ACKNOWLEDGED, "for a process that saw the database for so long");
    }

    #[test]
    fn what_only_gives_is_known_when_those_who_are_listed_have_it() {
        let (mut grace, mut wait) = (Grace::default(), Wait::new(7, at(10_000)));
        assert!(!wait.is_known(), "before a look");
        for (applied, known) in [(6, false), (7, true)] {
            wait.judge(&see(&mut grace, replicas(7, vec![live("rep_a", Some(applied))]), 10_001));
            assert_eq!((wait.is_known(), wait.is_complete()), (known, false), "rows may be missing");
        }
    }

    #[test]
    fn nothing_is_complete_before_the_store_answered_since_the_commit() {
        let (mut grace, mut wait) = (settled(), Wait::new(7, at(10_000)));
        assert_eq!(wait.judge_by_time(at(60_000)), Judgement::Pending(None), "the fence may be longer than was known");
        let look = Replicas { fence: Duration::from_secs(60), ..replicas(7, vec![live("rep_a", Some(6))]) };
        assert_eq!(wait.judge(&see(&mut grace, look, 60_000)), left(10_020));
        assert_eq!(wait.judge_by_time(at(70_019)), left(1), "and then it may be silent");
        assert_eq!(wait.judge_by_time(at(70_020)), BY_TIME);
    }

    #[test]
    fn the_longest_fence_since_the_commit_counts() {
        let (mut grace, mut wait) = (settled(), Wait::new(7, at(10_000)));
        let mut judged = |fence, millis| {
            let look = replicas(7, vec![live("rep_a", Some(6))]);
            wait.judge(&see(&mut grace, Replicas { fence: Duration::from_secs(fence), ..look }, millis))
        };
        assert_eq!([judged(2, 10_000), judged(4, 11_000), judged(2, 12_020)], [left(2020), left(3020), left(2000)]);
    }

    #[test]
    fn a_log_that_ends_before_the_change_has_lost_it() {
        let (mut grace, mut wait) = (settled(), Wait::new(7, at(10_000)));
        let look = grace.see(Look::at(at(9999)), replicas(6, Vec::new()), at(10_001));
        assert_eq!(wait.judge(&look), Judgement::Pending(None), "a look from before the commit tells nothing");
        assert_eq!(wait.judge(&see(&mut grace, replicas(6, Vec::new()), 10_001)), Judgement::Lost);
    }
}

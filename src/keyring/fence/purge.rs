//! Whom nobody waits for any more.
//!
//! A replica that kept a change waiting until time was up is doubted, in two steps a fence and a little more apart. A suspect
//! one gets no more time and must register anew, so a replica that lives is back at once; one that does not cannot count
//! anything it read by the time it is declared dead (REVOCATION's invariant I5). Each step names the incarnation, and the
//! store takes it only from the state before, so it does not matter how many processes purge, or that one of them is slow.
//!
//! ```text
//!  live --Doubt--> suspect --since it was seen so, F + m on this process's own clock--> Doubt --> dead
//! ```
//!
//! Silence alone is no reason: on an idle log there is nothing to say, and a replica that holds nobody up is no trouble.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::grace::Sight;
use super::span::lapse;
use super::wait::Wait;
use crate::clock::BootTime;
use crate::store::replica::{Incarnation, Replica, ReplicaId, ReplicaState};

/// What one process knows of silent replicas. One for the whole process.
#[derive(Debug, Default)]
pub(in crate::keyring) struct Purge {
    wanted: HashSet<Named>,
    suspects: HashMap<Named, Suspect>,
}

type Named = (ReplicaId, Incarnation);

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// When it was first seen so: it had its last lease before that.
    since: BootTime,
    /// The longest fence in any look that showed it so: no lease of it is longer.
    fence: Duration,
}

/// A replica that is to be taken for worse than it is, by [`Store::doubt`](crate::store::Store::doubt).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "tell the store"]
pub(in crate::keyring) struct Doubt {
    pub(in crate::keyring) id: ReplicaId,
    pub(in crate::keyring) incarnation: Incarnation,
    /// What it is taken for now.
    pub(in crate::keyring) from: ReplicaState,
}

impl Purge {
    /// A wait ended by time: whoever was silent is doubted.
    pub(in crate::keyring) fn timed_out(&mut self, wait: &Wait) {
        self.wanted.extend(wait.silent().map(|(id, incarnation)| (id.clone(), incarnation)));
    }

    /// Whether there is nobody to doubt, so that nobody has to look on its account. Others' suspects are taken up when seen.
    pub(in crate::keyring) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.suspects.is_empty()
    }

    /// Whom to doubt now, after a look. Nobody reports what came of it: the next look shows it.
    pub(in crate::keyring) fn next(&mut self, sight: &Sight) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let (wanted, known) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.suspects));
        for replica in sight.replicas() {
            let named = (replica.id.clone(), replica.incarnation);
            match replica.state {
                ReplicaState::Live if wanted.contains(&named) => {
                    doubts.push(doubt(replica));
                    self.wanted.insert(named);
                }
                ReplicaState::Suspect => {
                    let new = Suspect { since: sight.now(), fence: sight.fence() };
                    // What another database took it for is not known to have come over to this one.
                    let held = known.get(&named).filter(|suspect| suspect.since >= sight.since());
                    let mut suspect = held.copied().unwrap_or(new);
                    suspect.fence = suspect.fence.max(sight.fence());
                    if sight.now().since(suspect.since) >= lapse(suspect.fence) {
                        doubts.push(doubt(replica));
                    }
                    self.suspects.insert(named, suspect);
                }
                ReplicaState::Live | ReplicaState::Dead => {}
            }
        }
        doubts
    }
}

fn doubt(replica: &Replica) -> Doubt {
    Doubt { id: replica.id.clone(), incarnation: replica.incarnation, from: replica.state }
}

#[cfg(test)]
mod tests {
    use super::super::grace::Grace;
    use super::super::wait::Complete;
    use super::super::wait::tests::{at, replica, replicas, see};
    use super::*;

    const SUSPECT: ReplicaState = ReplicaState::Suspect;
    const LIVE: ReplicaState = ReplicaState::Live;

    /// A wait of a fence of two seconds that two replicas let run out, one of them behind.
    fn timed_out() -> (Grace, Purge) {
        let (mut grace, mut purge) = (Grace::default(), Purge::default());
        let mut wait = Wait::new(7, at(0));
        let rows = || replicas(7, vec![replica("rep_a", 1, LIVE, Some(7)), replica("rep_b", 2, LIVE, Some(6))]);
        wait.judge(&see(&mut grace, rows(), 10));
        purge.timed_out(&wait);
        assert!(purge.is_idle(), "the wait goes on");
        wait.judge(&see(&mut grace, rows(), 2020));
        assert_eq!(wait.judge_by_time(at(2020)), super::super::wait::Judgement::Complete(Complete::ByTime));
        purge.timed_out(&wait);
        (grace, purge)
    }

    fn doubted(grace: &mut Grace, purge: &mut Purge, millis: u64, rows: Vec<Replica>) -> Vec<(String, ReplicaState)> {
        let doubts = purge.next(&see(grace, replicas(7, rows), millis));
        doubts.into_iter().map(|doubt| (doubt.id.to_string(), doubt.from)).collect()
    }

    #[test]
    fn who_let_a_wait_run_out_is_suspect_and_dead_a_fence_after_it_was_seen_so() {
        let (mut grace, mut purge) = timed_out();
        let rows = |state| vec![replica("rep_a", 1, LIVE, Some(7)), replica("rep_b", 2, state, Some(6))];
        let mut next = |millis, state| doubted(&mut grace, &mut purge, millis, rows(state));
        assert_eq!(next(2030, LIVE), [("rep_b".into(), LIVE)]);
        assert_eq!(next(2040, LIVE), [("rep_b".into(), LIVE)], "until the store shows it");
        assert_eq!(next(2050, SUSPECT), []);
        assert_eq!(next(4069, SUSPECT), []);
        assert_eq!(next(4070, SUSPECT), [("rep_b".into(), SUSPECT)]);
        assert_eq!(doubted(&mut grace, &mut purge, 4080, vec![replica("rep_a", 1, LIVE, Some(7))]), []);
        assert!(purge.is_idle());
    }

    #[test]
    fn who_registers_anew_is_no_longer_doubted() {
        let (mut grace, mut purge) = timed_out();
        let mut next = |millis, row| doubted(&mut grace, &mut purge, millis, vec![row]);
        assert_eq!(next(2050, replica("rep_b", 2, SUSPECT, Some(6))), []);
        assert_eq!(next(2060, replica("rep_b", 3, LIVE, None)), []);
        assert_eq!(next(9000, replica("rep_b", 3, LIVE, None)), []);
        assert!(purge.is_idle());
    }

    #[test]
    fn a_suspect_that_another_process_left_behind_is_taken_up_from_when_it_is_seen() {
        let (mut grace, mut purge) = (Grace::default(), Purge::default());
        let mut next = |millis| doubted(&mut grace, &mut purge, millis, vec![replica("rep_b", 2, SUSPECT, None)]);
        assert_eq!(next(100), []);
        assert_eq!(next(2119), []);
        assert_eq!(next(2120), [("rep_b".into(), SUSPECT)]);
    }

    #[test]
    fn a_fence_that_grew_is_waited_for() {
        let (mut grace, mut purge) = (Grace::default(), Purge::default());
        let mut next = |millis, fence| {
            let rows = replicas(7, vec![replica("rep_b", 2, SUSPECT, None)]);
            let sight =
                see(&mut grace, crate::store::replica::Replicas { fence: Duration::from_secs(fence), ..rows }, millis);
            purge.next(&sight).len()
        };
        assert_eq!([next(100, 2), next(200, 5), next(2120, 2), next(5119, 2), next(5120, 2)], [0, 0, 0, 0, 1]);
    }
}

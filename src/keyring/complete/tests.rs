//! The decision by itself; then waiting, over a keyring of which a test says that others serve from its store too.

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::key::KeyState;
use crate::keyring::command::{Command, Outcome};
use crate::keyring::receipt::How;
use crate::keyring::tests::{Ring, ring_at};
use crate::store::replica::{Incarnation, Instance, Replica, ReplicaId, ReplicaState};

const FENCE: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_millis(10_020);

fn said(applied: &[Option<u64>]) -> Replicas {
    let replica = |(at, applied): (usize, &Option<u64>)| Replica {
        id: ReplicaId::of([u8::try_from(at).unwrap(); 8]),
        incarnation: Incarnation(1),
        state: ReplicaState::Live,
        applied: *applied,
        node: format!("node-{at}"),
        version: "1".to_owned(),
        joined: AT,
        heard: AT,
    };
    let replicas = applied.iter().enumerate().map(replica).collect();
    Replicas { head: 1 << 40, fence: FENCE, instance: Instance("a".into()), replicas }
}

impl Look {
    fn position(&self) -> Option<u64> {
        self.complete.as_ref().map(|(position, _)| *position)
    }
}

const AT: Timestamp = Timestamp::from_millis(1_000_000);

fn after(span: Duration) -> BootTime {
    BootTime::from_nanos(1_000_000_000).plus(span)
}

fn hows(receipt: &Receipt) -> Vec<How> {
    receipt.replicas.iter().map(|heard| heard.how).collect()
}

#[test]
fn a_change_is_complete_when_nothing_read_before_it_can_count() {
    let completion = Completion::new();
    assert!(completion.open(5, after(Duration::ZERO)), "nobody looks yet");
    assert!(!completion.open(5, after(FENCE)), "it is waited for from when it was first asked for");
    let look = |asked: Duration, now: Duration| {
        completion.take_in(Some(said(&[Some(5), Some(4), None])), after(asked), after(now), AT).position()
    };
    assert_eq!(look(Duration::ZERO, BOUND - Duration::from_nanos(1)), None);
    let pending = completion.so_far(5, after(Duration::from_secs(4)));
    assert_eq!(pending.progress, Progress::Pending { within: BOUND - Duration::from_secs(4) });
    assert_eq!(hows(&pending), [How::Acknowledged, How::Waiting, How::Waiting]);
    let Look { complete, doubts } =
        completion.take_in(Some(said(&[Some(5), Some(4), None])), after(BOUND), after(BOUND), AT);
    assert_eq!(complete, Some((5, Instance("a".into()))));
    let silent: Vec<_> = [1, 2].into_iter().map(|at| ReplicaId::of([at; 8])).collect();
    assert_eq!(doubts.into_iter().map(|doubt| doubt.id).collect::<Vec<_>>(), silent);
    let receipt = completion.receipt(5).unwrap();
    assert_eq!(receipt.progress, Progress::Complete { at: AT });
    assert_eq!(hows(&receipt), [How::Acknowledged, How::Lapsed, How::Lapsed]);
    assert!(!completion.rests(), "while somebody is doubted");
    completion.take_in(Some(said(&[Some(5)])), after(BOUND), after(BOUND), AT);
    assert!(completion.rests());
}

#[test]
fn a_change_is_complete_once_everybody_has_it_where_no_row_can_be_missing() {
    let completion = Completion::new();
    completion.heed(after(Duration::ZERO), said(&[]), after(Duration::ZERO));
    completion.open(5, after(BOUND));
    let look =
        |applied, now| completion.take_in(Some(said(&[Some(5), applied])), after(now), after(now), AT).position();
    assert_eq!(look(Some(4), BOUND + Duration::from_millis(2)), None);
    assert_eq!(look(Some(6), BOUND + Duration::from_millis(4)), Some(5));
    assert_eq!(hows(&completion.receipt(5).unwrap()), [How::Acknowledged; 2]);
}

#[test]
fn a_change_that_the_database_does_not_have_was_lost() {
    let completion = Completion::new();
    completion.heed(after(Duration::ZERO), Replicas { head: 4, ..said(&[]) }, after(Duration::ZERO));
    completion.learn(4, AT, Vec::new());
    completion.open(5, after(Duration::ZERO));
    let older = || Some(Replicas { head: 3, instance: Instance("b".into()), ..said(&[]) });
    let (turned, later) = (after(FENCE), after(FENCE + Duration::from_millis(2)));
    assert_eq!(completion.take_in(older(), after(Duration::ZERO), turned, AT), Look::default());
    assert_eq!(completion.receipt(4), None, "what was told of the position before is void");
    // The first look that was sent since then.
    assert_eq!(completion.take_in(older(), turned, later, AT), Look::default());
    assert_eq!(completion.receipt(5).unwrap().progress, Progress::Lost);
    let mut again = completion.known().receipts.clone();
    completion.commit(5);
    assert!(completion.receipt(5).is_none(), "it is given out once more");
    // Somebody looked between the commit and its being told here.
    completion.known().receipts.append(&mut again);
    let newer = Replicas { head: 5, instance: Instance("b".into()), ..said(&[]) };
    completion.take_in(Some(newer), later, later, AT);
    completion.commit(5);
    assert!(completion.receipt(5).is_none(), "it is not the one that was lost");
}

#[test]
fn what_is_open_begins_anew_where_another_database_answers_or_one_that_was_set_back() {
    let at = |head, instance: &str| Some(Replicas { head, instance: Instance(instance.into()), ..said(&[None]) });
    for other in [at(9, "b"), at(8, "a")] {
        let completion = Completion::new();
        completion.open(5, after(Duration::ZERO));
        let take_in = |said, now| completion.take_in(said, after(now), after(now), AT).position();
        assert_eq!(take_in(at(9, "a"), Duration::ZERO), None);
        let turned = BOUND - Duration::from_nanos(1);
        assert_eq!(take_in(other.clone(), turned), None);
        assert_eq!(take_in(other.clone(), turned + BOUND - Duration::from_nanos(1)), None);
        assert_eq!(take_in(other, turned + BOUND), Some(5));
    }
}

#[test]
fn a_position_that_is_given_out_once_more_is_another_one() {
    let completion = Completion::new();
    completion.heed(after(Duration::ZERO), Replicas { head: 3, ..said(&[]) }, after(Duration::ZERO));
    completion.learn(4, AT, Vec::new());
    completion.learn(9, AT, Vec::new());
    // No look has shown it yet, so it is no change that changed nothing.
    completion.commit(5);
    assert_eq!((completion.receipt(5), completion.receipt(9)), (None, None));
    completion.open(7, after(Duration::ZERO));
    assert!(completion.receipt(4).is_some());
    let look = |now| completion.take_in(Some(said(&[None])), after(now), after(now), AT).position();
    assert_eq!(look(FENCE), None);
    assert_eq!(look(BOUND), Some(7));
    // From here on looks have shown it: whoever is answered with it changed nothing.
    completion.commit(7);
    assert!(completion.receipt(7).is_some());
}

#[test]
fn what_was_known_of_a_position_is_void_once_anything_shows_that_it_is_given_out_again() {
    for (instance, back) in [("b", false), ("a", true)] {
        let completion = Completion::new();
        completion.heed(after(Duration::ZERO), Replicas { head: 9, ..said(&[]) }, after(Duration::ZERO));
        completion.learn(9, AT, Vec::new());
        completion.open(8, after(Duration::ZERO));
        // A change is committed before anybody looks, and its position lies below one that a look has shown.
        completion.met(&Instance(instance.into()), back, FENCE, after(FENCE));
        completion.commit(5);
        assert_eq!(completion.receipt(5), None, "{instance}");
        completion.open(5, after(FENCE));
        let look = |now| {
            let said = Replicas { head: 5, instance: Instance(instance.into()), ..said(&[Some(5)]) };
            completion.take_in(Some(said), after(now), after(now), AT).position()
        };
        assert_eq!((look(BOUND), look(FENCE + BOUND)), (None, Some(5)), "{instance}");
    }
}

#[test]
fn whoever_is_complete_with_a_later_one_is_told_what_that_one_is() {
    let completion = Completion::new();
    completion.open(7, after(Duration::ZERO));
    completion.open(5, after(FENCE));
    let look = |now| completion.take_in(Some(said(&[Some(5), None])), after(now), after(now), AT).position();
    assert_eq!((look(FENCE), look(BOUND)), (None, Some(7)));
    assert_eq!(hows(&completion.receipt(5).unwrap()), [How::Lapsed; 2]);
}

#[test]
fn a_fence_that_was_heard_before_the_commit_counts_for_nothing() {
    let completion = Completion::new();
    let commit = Duration::from_secs(1);
    completion.open(5, after(commit));
    let late = commit + BOUND * 2;
    // Read before the commit: its answer was only long on its way.
    let before = Replicas { head: 4, ..said(&[]) };
    let asked = commit - Duration::from_nanos(1);
    assert_eq!(completion.take_in(Some(before), after(asked), after(late), AT).position(), None);
    assert_eq!(completion.take_in(None, after(late), after(late), AT).position(), None, "the store does not tell");
    assert_eq!(completion.take_in(Some(said(&[])), after(commit), after(late), AT).position(), Some(5));
}

#[test]
fn the_longest_fence_that_was_heard_since_is_waited_for() {
    let completion = Completion::new();
    completion.open(5, after(Duration::ZERO));
    let raised = Replicas { fence: FENCE * 2, ..said(&[]) };
    assert_eq!(completion.take_in(Some(raised), after(Duration::ZERO), after(Duration::ZERO), AT).position(), None);
    assert_eq!(completion.take_in(Some(said(&[])), after(BOUND), after(BOUND), AT).position(), None);
    let late = FENCE + BOUND;
    assert_eq!(completion.take_in(Some(said(&[])), after(late), after(late), AT).position(), Some(5));
}

#[test]
fn a_position_speaks_for_all_before_it() {
    let completion = Completion::new();
    completion.open(5, after(Duration::ZERO));
    completion.open(7, after(Duration::from_secs(1)));
    // It was asked for late, and is complete with what was committed after it.
    completion.open(3, after(FENCE));
    assert_eq!(completion.take_in(Some(said(&[])), after(FENCE), after(BOUND), AT).position(), Some(5));
    for position in [1, 3, 4, 5] {
        let receipt = completion.receipt(position).unwrap();
        assert!(receipt.is_complete() && receipt.revision == position);
    }
    assert_eq!((completion.receipt(6), completion.receipt(7)), (None, None));
    assert!(!completion.rests());
    assert!(!completion.open(4, after(BOUND)), "what is complete is not waited for");
}

#[test]
fn of_many_receipts_the_last_are_kept_and_speak_for_all() {
    let completion = Completion::new();
    for position in 1..=1000 {
        completion.learn(position, AT, Vec::new());
    }
    assert_eq!(completion.known().receipts.len(), RECEIPTS);
    assert!(completion.receipt(1).is_some_and(|receipt| receipt.revision == 1));
}

/// A ring whose store two others serve from as well, of which one is silent.
async fn shared() -> (Ring, ManualClock) {
    let clock = ManualClock::at(AT);
    let ring = ring_at(Clock::Manual(clock.clone())).await;
    ring.keyring.serve_among(said(&[Some(1 << 60), None]));
    (ring, clock)
}

impl Ring {
    async fn done(&self, command: Command, patience: Duration) -> crate::keyring::receipt::Done {
        self.keyring.operate_within(&crate::keyring::command::By::KEYWARD, command, patience).await.unwrap()
    }
}

#[tokio::test]
async fn where_one_process_has_the_store_a_change_is_complete_once_it_is_answered() {
    let ring = ring_at(Clock::Manual(ManualClock::at(AT))).await;
    let (_, key) = ring.remembered().await;
    let done = ring.done(Command::SetKeyState(key.id, KeyState::Revoked, None), Duration::ZERO).await;
    let receipt = done.receipt.unwrap();
    assert_eq!(Some(receipt.revision), done.revision);
    assert_eq!(receipt.progress, Progress::Complete { at: AT });
    assert_eq!(receipt.replicas, [ring.keyring.shared.own.acknowledged()]);
    let Outcome::Revision(head) = ring.operate(Command::ShowRevision(None)).await else { panic!() };
    assert_eq!(head, receipt.revision);
    for position in [0, 1, head] {
        let looked_up = ring.done(Command::ShowRevision(Some(position)), Duration::ZERO).await.receipt.unwrap();
        assert!(looked_up.is_complete() && looked_up.revision == position, "{looked_up:?}");
    }
    let problem = ring.keyring.operate(&crate::keyring::command::By::KEYWARD, Command::ShowRevision(Some(head + 1)));
    let missing = Problem::NotFound { what: "revision".into(), id: (head + 1).to_string() };
    assert_eq!(problem.await.unwrap_err(), missing);
}

#[tokio::test]
async fn what_only_gives_has_a_revision_and_waits_for_nobody() {
    let (ring, _) = shared().await;
    let created = ring.done(Command::CreateAccount("103".parse().unwrap(), None), Duration::MAX).await;
    assert!(created.revision.is_some() && created.receipt.is_none());
    let shown = ring.done(Command::ShowAccount("103".parse().unwrap()), Duration::MAX).await;
    assert_eq!((shown.revision, shown.receipt), (None, None));
}

#[tokio::test]
async fn patience_ends_a_wait_and_the_change_goes_on() {
    let (ring, clock) = shared().await;
    let (_, key) = ring.remembered().await;
    let done = ring.done(Command::SetKeyState(key.id, KeyState::Revoked, None), Duration::ZERO).await;
    let pending = done.receipt.unwrap();
    assert_eq!(pending.progress, Progress::Pending { within: BOUND });
    let asked = |patience| ring.keyring.came_to(pending.revision, patience);
    clock.advance(Duration::from_secs(4));
    // Since the commit, and not since it is asked for.
    let Progress::Pending { within } = asked(Duration::ZERO).await.progress else { panic!("it is complete") };
    assert_eq!(within, BOUND - Duration::from_secs(4));
    ring.until(async || hows(&asked(Duration::ZERO).await) == [How::Acknowledged, How::Waiting]).await;
    clock.advance(within);
    let complete = asked(Duration::MAX).await;
    assert!(complete.is_complete());
    assert_eq!(hows(&complete), [How::Acknowledged, How::Lapsed]);
    assert_eq!(asked(Duration::ZERO).await, complete, "it is told alike from then on");
}

#[tokio::test]
async fn one_task_looks_for_all_who_wait_and_ends_with_them() {
    let (ring, clock) = shared().await;
    let (_, key) = ring.remembered().await;
    let wait = |state| {
        let (keyring, id) = (Arc::clone(&ring.keyring), key.id.clone());
        tokio::spawn(async move {
            let command = Command::SetKeyState(id, state, None);
            keyring.operate_within(&crate::keyring::command::By::KEYWARD, command, Duration::MAX).await
        })
    };
    let waiting: Vec<_> = (0..20).map(|_| wait(KeyState::Suspended)).collect();
    let completion = &ring.keyring.shared.completion;
    ring.until(async || completion.looks.receiver_count() == 20).await;
    assert!(completion.known().looking);
    clock.advance(BOUND);
    for one in waiting {
        assert!(one.await.unwrap().unwrap().receipt.unwrap().is_complete());
    }
    // The silent one is doubted until it is gone.
    assert!(completion.known().looking);
    ring.keyring.serve_among(said(&[Some(1 << 60)]));
    ring.until(async || !completion.known().looking).await;
}

#[tokio::test]
async fn who_cannot_be_told_of_a_wait_is_answered_when_it_is_over_or_that_it_is_not_known() {
    let (ring, clock) = shared().await;
    let (_, key) = ring.remembered().await;
    let keyring = Arc::clone(&ring.keyring);
    let id = key.id.clone();
    let revoked = tokio::spawn(async move {
        keyring
            .operate(&crate::keyring::command::By::KEYWARD, Command::SetKeyState(id, KeyState::Suspended, None))
            .await
    });
    ring.until(async || ring.keyring.shared.completion.looks.receiver_count() == 1).await;
    assert!(!revoked.is_finished());
    clock.advance(BOUND);
    assert!(matches!(revoked.await.unwrap(), Ok(Outcome::Key(_))));
    // Nobody's clock goes on, so the fence never passes, and the wait ends by itself.
    let done = ring.done(Command::SetKeyState(key.id, KeyState::Revoked, None), Duration::from_millis(5)).await;
    assert_eq!(done.in_force().unwrap_err(), Problem::not_in_force());
}

#[test]
fn looks_leave_the_store_time_for_other_work() {
    let millis = Duration::from_millis;
    let rests = [(5, 1), (50, 1), (1000, 1), (5, 30), (5, 1000), (100_000, 1)];
    let rests = rests.map(|(replicas, took)| rest(replicas, millis(took)).as_millis());
    assert_eq!(rests, [2, 2, 20, 15, 100, 100]);
}

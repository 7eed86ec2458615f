//! When a change is true everywhere, and how long whoever made it waits for that.
//!
//! ```text
//!  commit --> opened (now) --look at the replicas, 2 to 10 ms apart--> receipt
//!                '---------- F + m on our own clock ----------------------^
//! ```
//!
//! What a look is worth, when that makes a change complete, and whom nobody waits for any more is decided in
//! [`fence`](super::fence), without I/O. One task looks, for however many wait, and only while something is open. Positions
//! complete in their order: a replica that has applied one has applied all before it, and what was committed sooner has waited
//! for longer. So a receipt speaks for every position below its own. Whoever gives up waiting takes nothing away: the position
//! stays open, and whoever asks for it later finds how far it has come since it was committed.
//!
//! Positions belong to one history of the log. After a failover or a restore the same ones are given out once more: what was
//! known of them is forgotten, and what is open begins anew.
//!
//! A store that one process has to itself needs none of this: its changes are complete once they are applied here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::command::Problem;
use super::fence::grace::{Grace, Look as Question};
use super::fence::lapse;
use super::fence::purge::{Doubt, Purge};
use super::fence::wait::{Complete, Judgement, Wait};
use super::receipt::{Heard, Progress, Receipt};
use crate::clock::{BootTime, Timestamp};
use crate::store::StoreError;
use crate::store::replica::{Instance, ReplicaState, Replicas};
use crate::telemetry::chain;

/// What is waited for, and what is known to be complete.
#[derive(Debug)]
pub(super) struct Completion {
    known: Mutex<Known>,
    /// Goes up with every look at the replicas.
    looks: watch::Sender<u64>,
    /// Rung when something more is waited for.
    opened: Notify,
    counts: Counts,
    /// What a test says that the store says of replicas.
    #[cfg(test)]
    pub(super) stand_in: Mutex<Option<Replicas>>,
}

/// Positions that were waited for, by what came of them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Everybody had said so.
    pub(super) acknowledged: AtomicU64,
    /// Time was up; somebody was silent, or acknowledgements did not count yet.
    pub(super) timed: AtomicU64,
    /// The database did not have it any more.
    pub(super) lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// By position, those that are not complete yet.
    open: BTreeMap<u64, Open>,
    /// By position, the last that are, or that were lost.
    receipts: BTreeMap<u64, Receipt>,
    /// Whose positions these are, and the last one that a look has shown.
    history: Option<(Instance, u64)>,
    grace: Grace,
    purge: Purge,
    /// The longest that anything a replica has read counts, when that was last heard.
    fence: Duration,
    /// Whether the task that looks runs.
    looking: bool,
}

/// A position that is waited for.
#[derive(Debug)]
struct Open {
    /// Later than its commit.
    since: BootTime,
    wait: Wait,
}

/// Receipts that are remembered.
const RECEIPTS: usize = 256;
/// Between two looks: at first, at last, and while nobody waits.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(10);
const UNHURRIED: Duration = Duration::from_millis(100);
/// The same, for each replica that a look shows: five times what it costs the store.
const EACH: Duration = Duration::from_micros(20);
/// What only gives waits so long for others at the most.
const MOMENT: Duration = Duration::from_millis(500);
/// A wait may be asked to last so long, whatever the fence is.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Completion {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            looks: watch::Sender::new(0),
            opened: Notify::new(),
            counts: Counts::default(),
            #[cfg(test)]
            stand_in: Mutex::default(),
        }
    }

    /// Takes in a first look, from which on acknowledgements count once rows can no longer be missing.
    pub(super) fn heed(&self, asked: BootTime, said: Replicas, now: BootTime) {
        let mut known = self.known();
        known.follow(&said, now);
        known.fence = known.grace.see(Question::at(asked), said, now).fence();
    }

    /// Takes in who answered something else, a renewal or a change, and whether the log had gone back: what was known of another
    /// history's positions is void, and by the time of the next look this one is known for long.
    pub(super) fn met(&self, instance: &Instance, back: bool, fence: Duration, now: BootTime) {
        let mut known = self.known();
        if back || known.history.as_ref().is_some_and(|(before, _)| before != instance) {
            known.begin_anew(now);
            known.history = Some((instance.clone(), 0));
        }
        known.grace.met(instance, fence, now);
    }

    /// How long a change that is committed now is open at the most, where the store can be asked.
    pub(super) fn bound(&self) -> Duration {
        lapse(self.known().fence)
    }

    /// The longest that anybody may ask to wait.
    pub(super) fn longest_wait(&self) -> Duration {
        LONGEST_WAIT.max(self.bound())
    }

    /// What came of what was waited for.
    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A change was answered with this position, just now. One that no look has shown yet is new, whatever is known of it; one that
    /// a look has shown meanwhile is not the one that was lost.
    fn commit(&self, position: u64) {
        let mut known = self.known();
        if known.history.as_ref().is_none_or(|(_, head)| position > *head) {
            known.receipts.split_off(&position);
            known.open.remove(&position);
        } else if known.receipts.get(&position).is_some_and(|receipt| receipt.progress == Progress::Lost) {
            known.receipts.remove(&position);
        }
    }

    /// Has a position waited for from `now`, unless it is complete or waited for already. Whether nobody looks yet.
    fn open(&self, position: u64, now: BootTime) -> bool {
        let mut known = self.known();
        if known.receipt(position).is_some() {
            return false;
        }
        if let Entry::Vacant(place) = known.open.entry(position) {
            place.insert(Open { since: now, wait: Wait::new(position, now) });
            self.opened.notify_one();
        }
        !std::mem::replace(&mut known.looking, true)
    }

    /// The receipt of a position that is complete.
    fn receipt(&self, position: u64) -> Option<Receipt> {
        self.known().receipt(position)
    }

    /// Whether all who are listed have applied a position that is waited for, as the last look shows.
    fn is_known(&self, position: u64) -> bool {
        self.known().open.get(&position).is_some_and(|open| open.wait.is_known())
    }

    /// How far a position has come that may not be complete.
    fn so_far(&self, position: u64, now: BootTime) -> Receipt {
        let mut known = self.known();
        if let Some(receipt) = known.receipt(position) {
            return receipt;
        }
        let bound = lapse(known.fence);
        let (within, replicas) = match known.open.get_mut(&position) {
            None => (bound, Vec::new()),
            Some(open) => {
                let left = match open.wait.judge_by_time(now) {
                    Judgement::Pending(left) => left,
                    // The task that looks tells it in a moment.
                    Judgement::Complete(_) | Judgement::Lost => Some(Duration::ZERO),
                };
                (left.unwrap_or_else(|| bound.saturating_sub(now.since(open.since))), open.wait.heard())
            }
        };
        Receipt { revision: position, progress: Progress::Pending { within }, replicas }
    }

    /// Remembers that a position is complete, and who is known to have applied it. What was told of it before is told again.
    fn learn(&self, revision: u64, at: Timestamp, replicas: Vec<Heard>) -> Receipt {
        let mut known = self.known();
        match known.receipts.get(&revision) {
            Some(receipt) => receipt.clone(),
            None => known.remember(Receipt { revision, progress: Progress::Complete { at }, replicas }),
        }
    }

    /// Takes in what the store said of the replicas, asked for at `asked`; nothing where it could not tell. `at` is now by the
    /// clock of receipts.
    fn take_in(&self, said: Option<Replicas>, asked: BootTime, now: BootTime, at: Timestamp) -> Look {
        let mut known = self.known();
        let known = &mut *known;
        let sight = said.map(|said| {
            known.follow(&said, now);
            known.grace.see(Question::at(asked), said, now)
        });
        if let Some(sight) = &sight {
            known.fence = sight.fence();
        }
        let mut complete = None;
        let mut lost = Vec::new();
        for (position, open) in &mut known.open {
            let judgement = match &sight {
                Some(sight) => open.wait.judge(sight),
                None => open.wait.judge_by_time(now),
            };
            match judgement {
                Judgement::Complete(how) => complete = Some((*position, how)),
                Judgement::Lost => lost.push(*position),
                Judgement::Pending(_) => {}
            }
        }
        for position in lost {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            if let Some(open) = known.open.remove(&position) {
                known.remember(Receipt { revision: position, progress: Progress::Lost, replicas: open.wait.heard() });
            }
        }
        for (position, open) in complete.map(|(last, _)| known.up_to(last)).into_iter().flatten() {
            let count = match complete {
                Some((_, Complete::ByAcknowledgement)) => &self.counts.acknowledged,
                _ => &self.counts.timed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            known.purge.timed_out(&open.wait);
            // One that is complete because a later one is has no say of its own.
            if open.wait.is_complete() {
                let (progress, replicas) = (Progress::Complete { at }, open.wait.heard());
                known.remember(Receipt { revision: position, progress, replicas });
            }
        }
        let doubts = sight.map_or_else(Vec::new, |sight| known.purge.next(&sight));
        self.looks.send_modify(|looks| *looks += 1);
        let of = |last| known.history.as_ref().map(|(instance, _)| (last, instance.clone()));
        Look { complete: complete.and_then(|(last, _)| of(last)), doubts }
    }

    /// Whether nothing is open and nobody in doubt; then the task that looks may end.
    fn rests(&self) -> bool {
        let mut known = self.known();
        known.looking = !known.open.is_empty() || !known.purge.is_idle();
        !known.looking
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    /// The last position that is complete now and was not before, and of which database.
    complete: Option<(u64, Instance)>,
    /// Whom to doubt.
    doubts: Vec<Doubt>,
}

impl Known {
    /// What was open up to a position, no longer open. One that was asked for late is complete with what came after it.
    fn up_to(&mut self, last: u64) -> BTreeMap<u64, Open> {
        let later = self.open.split_off(&(last + 1));
        std::mem::replace(&mut self.open, later)
    }

    /// Begins anew where another database answers, or one that was set back.
    fn follow(&mut self, said: &Replicas, now: BootTime) {
        let same = |(instance, head): &(Instance, u64)| *instance == said.instance && *head <= said.head;
        if self.history.as_ref().is_some_and(|history| !same(history)) {
            self.begin_anew(now);
        }
        self.history = Some((said.instance.clone(), said.head));
    }

    fn begin_anew(&mut self, now: BootTime) {
        self.grace.set_back(now);
        self.receipts.clear();
        for (position, open) in &mut self.open {
            *open = Open { since: now, wait: Wait::new(*position, now) };
        }
    }

    fn receipt(&self, position: u64) -> Option<Receipt> {
        // What is complete speaks for all before it; what was lost for itself alone.
        let speaks = |(at, receipt): &(&u64, &Receipt)| **at == position || receipt.is_complete();
        let (_, receipt) = self.receipts.range(position..).find(speaks)?;
        Some(Receipt { revision: position, ..receipt.clone() })
    }

    fn remember(&mut self, receipt: Receipt) -> Receipt {
        self.receipts.insert(receipt.revision, receipt.clone());
        // The last stays: it speaks for all before it.
        while self.receipts.len() > RECEIPTS {
            self.receipts.pop_first();
        }
        receipt
    }
}

impl Shared {
    /// Whether changes wait for others.
    pub(super) fn is_shared(&self) -> bool {
        #[cfg(test)]
        if self.stand_in().is_some() {
            return true;
        }
        self.store.is_shared()
    }

    /// Whom they wait for.
    pub(super) async fn replicas(&self) -> Result<Replicas, StoreError> {
        let said = self.store.replicas().await?;
        #[cfg(test)]
        if let Some(stand_in) = self.stand_in() {
            return Ok(Replicas { head: said.head, ..stand_in });
        }
        Ok(said)
    }

    #[cfg(test)]
    fn stand_in(&self) -> Option<Replicas> {
        self.completion.stand_in.lock().ok().and_then(|said| said.clone())
    }

    /// Waits until the log up to a position that is applied here is true everywhere, or patience ends: at the most F + m, and
    /// what a look at the store takes, which may not be there to be asked. To be called as soon as the commit was answered.
    pub(super) async fn until_complete(self: &Arc<Self>, position: u64, patience: Duration) -> Receipt {
        if !self.is_shared() {
            return self.completion.learn(position, self.clock.now(), vec![self.own.acknowledged()]);
        }
        self.completion.commit(position);
        self.wait(position, patience).await
    }

    async fn wait(self: &Arc<Self>, position: u64, patience: Duration) -> Receipt {
        let mut looks = self.completion.looks.subscribe();
        let complete = async {
            loop {
                // Once more, where its receipt was forgotten with a history before it was taken.
                if self.completion.open(position, self.clock.boot()) {
                    self.control.spawn(look(Arc::clone(self)));
                }
                if let Some(receipt) = self.completion.receipt(position) {
                    return receipt;
                }
                if looks.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let most = self.completion.bound().saturating_add(self.store.load_timeout());
        let waited = timeout(patience.min(most), complete).await;
        waited.unwrap_or_else(|_| self.completion.so_far(position, self.clock.boot()))
    }

    /// Gives what was made a moment to be known everywhere, so that nobody is refused who goes on with it elsewhere. Where one is
    /// silent, that is not for long.
    pub(super) async fn until_known(self: &Arc<Self>, position: u64, patience: Duration) {
        if !self.is_shared() {
            return;
        }
        let mut looks = self.completion.looks.subscribe();
        let known = async { while !self.completion.is_known(position) && looks.changed().await.is_ok() {} };
        tokio::select! {
            _ = self.until_complete(position, patience.min(MOMENT)) => {}
            () = known => {}
        }
    }

    /// The position that is asked for, the last one where none is; applied here.
    pub(super) async fn reached(&self, position: Option<u64>) -> Result<u64, Problem> {
        let head = self.replicas().await?.head;
        let position = position.unwrap_or(head);
        if position > head {
            return Err(Problem::NotFound { what: "revision".into(), id: position.to_string() });
        }
        if self.fence.applied() < position {
            self.follow_once().await?;
        }
        Ok(position)
    }

    /// As [`Self::until_complete`], of a position that this process need not have waited for before.
    pub(super) async fn looked_up(self: &Arc<Self>, position: u64, patience: Duration) -> Receipt {
        // Trimmed, or not to be told now: then it is waited for from now on, which is longer than need be and never too short.
        let known = self.store.revision(position).await.ok().flatten().filter(|known| known.complete);
        #[cfg(test)]
        let known = known.filter(|_| self.stand_in().is_none());
        match known {
            Some(known) if !self.is_shared() => {
                self.completion.learn(position, known.at, vec![self.own.acknowledged()])
            }
            // By whom is not known any longer; of a later position it may be.
            Some(_) => {
                let told = self.completion.receipt(position);
                told.unwrap_or_else(|| self.completion.learn(position, self.clock.now(), Vec::new()))
            }
            None if self.is_shared() => self.wait(position, patience).await,
            None => self.until_complete(position, patience).await,
        }
    }
}

impl super::Keyring {
    /// How long a change that is committed now is open at the most, where the store can be asked.
    #[must_use]
    pub fn longest_open(&self) -> Duration {
        self.shared.completion.bound()
    }
}

#[cfg(test)]
impl super::Keyring {
    /// Has it believe that these serve from its store.
    pub(crate) fn serve_among(&self, all: Replicas) {
        let now = self.shared.clock.boot();
        self.shared.completion.heed(now, all.clone(), now);
        *self.shared.completion.stand_in.lock().unwrap() = Some(all);
    }
}

/// Looks at the replicas until nothing is open.
async fn look(shared: Arc<Shared>) {
    let mut pause = SOON;
    while !shared.completion.rests() {
        let asked = shared.clock.boot();
        let said = shared.replicas().await;
        let (now, at) = (shared.clock.boot(), shared.clock.now());
        let said = said.inspect_err(|error| tracing::debug!(error = chain(error), "the replicas cannot be looked at"));
        let rest = said.as_ref().map_or(UNHURRIED, |said| rest(said.replicas.len(), now.since(asked)));
        let Look { complete, doubts } = shared.completion.take_in(said.ok(), asked, now, at);
        if let Some((last, instance)) = complete
            && let Err(error) = shared.store.note_complete(last, &instance).await
        {
            tracing::debug!(error = chain(&error), "that a change is complete could not be noted");
        }
        for Doubt { id, incarnation, from } in doubts {
            match shared.store.doubt(&id, incarnation, from).await {
                Ok(true) if from == ReplicaState::Suspect => {
                    tracing::warn!(replica = %id, "a replica was silent for long, and is taken for dead: nobody waits for it");
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(error = chain(&error), "a replica could not be doubted"),
            }
        }
        sleep(rest).await;
        let hurry = if shared.completion.looks.receiver_count() == 0 { UNHURRIED } else { pause };
        let opened = timeout(hurry.saturating_sub(rest), shared.completion.opened.notified()).await;
        pause = if opened.is_ok() { SOON } else { (pause * 2).min(LATER) };
    }
}

/// From one look to the next, at the least: looks must not become the store's main work, however many replicas there are and
/// however slow it is. What a look took tells little of that alone: just then all of them read the log.
fn rest(replicas: usize, took: Duration) -> Duration {
    let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
    SOON.max(EACH.saturating_mul(replicas)).max(took / 2).min(UNHURRIED)
}

#[cfg(test)]
mod tests;

//! Every secret there is, by the head of its digest: so a secret that is none of them is unknown, and nobody has to ask.
//!
//! ```text
//!  void --begin--> filling --finish--> whole        off: more than `keyring.known`, or the store went back in time
//!   ^                 |                  |
//!   '------ void -----+------------------'          a change of which the log does not name every secret
//! ```
//!
//! What the log tells is added before it counts as applied, while filling too. So a set that is whole holds every secret
//! made up to the position that is applied: one told before filling began was committed by then, and stands in every
//! snapshot that the filling reads; one told since was added. That it lacks a secret counts as a remembered look-up does, by
//! [`Fence::judge`](super::fence::Fence::judge): the deadline is read before the set, the clock after it.
//!
//! A secret deleted by hand stays in the set, and two digests may share a head: either costs a look-up, no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

pub(super) use self::table::{Head, Table};
use crate::key::Digest;
use crate::store::log::{News, Subject};

mod table;
#[cfg(test)]
mod tests;

/// The set. Asked by every worker, without a lock; written by one hand at a time.
#[derive(Debug)]
pub(super) struct Known {
    /// More secrets than this are not kept.
    most: usize,
    /// The set, while it is whole.
    whole: ArcSwapOption<Table>,
    hand: Mutex<Hand>,
    /// Whether it is to be filled.
    wanted: watch::Sender<bool>,
}

/// What only a writer sees.
#[derive(Debug)]
struct Hand {
    stage: Stage,
    /// Which filling this is; an earlier one's reading is worth nothing.
    round: Round,
    table: Arc<Table>,
    count: usize,
}

impl Hand {
    fn fills(&self, round: Round) -> bool {
        self.stage == Stage::Filling && self.round == round
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Void,
    Filling,
    Whole,
    Off,
}

/// One filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(u64);

impl Known {
    /// An empty set, to be filled; `most` of zero switches it off.
    pub(super) fn new(most: u64) -> Self {
        let stage = if most == 0 { Stage::Off } else { Stage::Void };
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            whole: ArcSwapOption::empty(),
            hand: Mutex::new(Hand { stage, round: Round(0), table: Arc::default(), count: 0 }),
            wanted: watch::Sender::new(stage == Stage::Void),
        }
    }

    /// Whether the set is whole and lacks this digest.
    pub(super) fn lacks(&self, digest: &Digest) -> bool {
        self.whole.load().as_ref().is_some_and(|table| !table.holds(Head::of(digest)))
    }

    /// Takes in what the log tells. To be called before the log counts as applied.
    pub(super) fn hear(&self, news: &News) {
        let mut hand = self.hand();
        match news {
            News::Entries(entries) => {
                for entry in entries {
                    match &entry.subject {
                        Subject::Secret(head) => self.add(&mut hand, Head::told(head)),
                        Subject::Everything => self.spoil(&mut hand),
                        Subject::Account(_) | Subject::User(_) | Subject::Prefixes => {}
                    }
                }
            }
            News::Gone => self.spoil(&mut hand),
            // From here on the log does not tell what is new: see `Fence::apply`.
            News::WentBack => self.switch_off(&mut hand),
        }
    }

    /// Voids the set until it is filled anew: a secret was made that it may not have been told of.
    pub(super) fn void(&self) {
        self.spoil(&mut self.hand());
    }

    /// Waits until the set is to be filled.
    pub(super) async fn wanted(&self) {
        // The sender is ours, so this cannot fail.
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted).await;
    }

    /// More secrets than this are not kept.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Begins to fill it with about so many, unless it is switched off. What is read of the store from here on, and what the
    /// log tells from here on, is all there is.
    pub(super) fn begin(&self, expected: usize) -> Option<Round> {
        let mut hand = self.hand();
        if hand.stage == Stage::Off {
            return None;
        }
        if expected > self.most {
            self.give_up(&mut hand);
            return None;
        }
        self.empty(&mut hand, Stage::Filling);
        hand.table = Arc::new(Table::for_about(expected));
        Some(hand.round)
    }

    /// Adds what was read of the store for this filling; whether it goes on.
    pub(super) fn fill(&self, round: Round, digests: &[Digest]) -> bool {
        let mut hand = self.hand();
        for digest in digests {
            if !hand.fills(round) {
                break;
            }
            self.add(&mut hand, Head::of(digest));
        }
        hand.fills(round)
    }

    /// The whole store was read for this filling: from now on the set is asked. Whether it still was this filling's.
    pub(super) fn finish(&self, round: Round) -> bool {
        let mut hand = self.hand();
        if !hand.fills(round) {
            return false;
        }
        hand.stage = Stage::Whole;
        self.whole.store(Some(Arc::clone(&hand.table)));
        true
    }

    /// How many secrets are known, and whether these are all.
    pub(super) fn count(&self) -> (u64, bool) {
        let hand = self.hand();
        (hand.count as u64, hand.stage == Stage::Whole)
    }

    fn add(&self, hand: &mut Hand, head: Head) {
        if !matches!(hand.stage, Stage::Filling | Stage::Whole) {
            return;
        }
        if hand.count >= hand.table.room() {
            hand.table = Arc::new(hand.table.grown());
            if hand.stage == Stage::Whole {
                self.whole.store(Some(Arc::clone(&hand.table)));
            }
        }
        hand.count += usize::from(hand.table.add(head));
        if hand.count > self.most {
            self.give_up(hand);
        }
    }

    fn spoil(&self, hand: &mut Hand) {
        if matches!(hand.stage, Stage::Filling | Stage::Whole) {
            self.empty(hand, Stage::Void);
        }
    }

    fn give_up(&self, hand: &mut Hand) {
        tracing::warn!(keyring.known = self.most, "there are more secrets than that: unknown ones are looked up again");
        self.switch_off(hand);
    }

    fn switch_off(&self, hand: &mut Hand) {
        self.empty(hand, Stage::Off);
    }

    fn empty(&self, hand: &mut Hand, stage: Stage) {
        self.whole.store(None);
        *hand = Hand { stage, round: Round(hand.round.0 + 1), table: Arc::default(), count: 0 };
        self.wanted.send_replace(stage == Stage::Void);
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

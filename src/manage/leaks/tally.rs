//! What becomes of reports, counted, and how many are taken; both outlive a reload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::BootTime;
use crate::telemetry::metrics::Metrics;

/// What became of a reported secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum Fate {
    /// It is none of ours.
    Unknown,
    /// It was refused already.
    Dead,
    /// It is good, and somebody was told.
    Alerted,
    /// It was good; its key is revoked.
    Revoked,
}

impl Fate {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Dead => "dead",
            Self::Alerted => "alerted",
            Self::Revoked => "revoked",
        }
    }
}

/// The counts, and the rate.
#[derive(Debug)]
pub struct Tally {
    fates: [AtomicU64; 4],
    failed: AtomicU64,
    unsigned: AtomicU64,
    limited: AtomicU64,
    /// When the next report would come, if they came as fast as they may.
    next: Mutex<BootTime>,
    room: Arc<Semaphore>,
}

impl Default for Tally {
    fn default() -> Self {
        let [failed, unsigned, limited] = Default::default();
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Self { fates: Default::default(), failed, unsigned, limited, next: Mutex::new(BootTime::from_nanos(0)), room }
    }
}

impl Tally {
    /// Has a scrape tell of it.
    pub fn tell(self: &Arc<Self>, metrics: &Metrics) {
        let help = "Secrets reported as found in the open, and reports that were not taken, by what became of them";
        let counted = Arc::clone(self);
        metrics.counters("keyward_leak_reports", help, "result", move || {
            let Self { fates, failed, unsigned, limited, .. } = &*counted;
            let fates =
                [Fate::Unknown, Fate::Dead, Fate::Alerted, Fate::Revoked].map(Fate::as_str).into_iter().zip(fates);
            let others = [("failed", failed), ("unsigned", unsigned), ("limited", limited)];
            fates.chain(others).map(|(result, count)| (result, count.load(Ordering::Relaxed))).collect()
        });
    }

    /// None where we could not tell.
    pub(super) fn count(&self, fate: Option<Fate>) {
        fate.map_or(&self.failed, |fate| &self.fates[fate as usize]).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unsigned(&self) {
        self.unsigned.fetch_add(1, Ordering::Relaxed);
    }

    /// Room for one more report beside those that are read or looked into.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok();
        if room.is_none() {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Whether one more is taken now, of so many a second; a second's worth may come at once.
    pub(super) fn takes(&self, now: BootTime, per_second: u32) -> bool {
        let apart = SECOND / u64::from(per_second.max(1));
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = (*next).max(now);
        let takes = due.as_nanos() - now.as_nanos() < SECOND;
        if takes {
            *next = BootTime::from_nanos(due.as_nanos() + apart);
        } else {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }
}

const SECOND: u64 = 1_000_000_000;
/// Bodies of strangers in memory.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_seconds_worth_comes_at_once_and_the_rest_as_fast_as_it_may() {
        let tally = Tally::default();
        let start = BootTime::from_nanos(5 * SECOND);
        let taken = |now: BootTime| (0..100).filter(|_| tally.takes(now, 10)).count();
        assert_eq!(taken(start), 10);
        assert_eq!(taken(start.plus(Duration::from_millis(300))), 3);
        assert_eq!(taken(start.plus(Duration::from_secs(60))), 10);
        assert_eq!(tally.limited.load(Ordering::Relaxed), 277);
    }

    #[test]
    fn no_more_are_held_at_once_than_there_is_room_for() {
        let tally = Tally::default();
        let held: Vec<_> = std::iter::from_fn(|| tally.room()).collect();
        assert_eq!(held.len(), AT_ONCE);
        drop(held);
        assert!(tally.room().is_some());
    }
}

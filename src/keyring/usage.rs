//! When keys were last used: gathered in memory, written by interval, never waited for.
//!
//! A use is noted once a minute for each key. Whether this minute's is noted already is one relaxed load from a small
//! table, so a busy key touches no lock; what the table does not know goes into one of a few short-locked maps. A crash
//! loses at most what one interval gathered; what the store could not take is kept for the next, and lost only where keyward
//! ends before the store takes it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::follow::slept;
use crate::clock::Timestamp;
use crate::store::Rejected;
use crate::telemetry::chain;

/// Uses gathered and not yet written.
#[derive(Debug)]
pub(super) struct Uses {
    noted: Box<[AtomicU64]>,
    shards: [Mutex<HashMap<i64, Timestamp, RandomState>>; SHARDS],
    dropped: AtomicU64,
}

const NOTED: usize = 1 << 13;
const SHARDS: usize = 16;
/// Most keys gathered between two writes; further ones are dropped, and counted.
const MOST: usize = 200_000;
/// However short the interval is set, the loop must not spin.
const SHORTEST: Duration = Duration::from_millis(50);
/// Within one minute a key's further uses are not noted.
const GRAIN_MILLIS: i64 = 60_000;

impl Uses {
    pub(super) fn new() -> Self {
        Self {
            noted: (0..NOTED).map(|_| AtomicU64::new(0)).collect(),
            shards: std::array::from_fn(|_| Mutex::default()),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn note(&self, key: i64, now: Timestamp) {
        let key_bits = key.cast_unsigned();
        // 40 bits of serial and 24 of minute: two keys that share a place only push each other out of it.
        let mark = (key_bits << 24) | ((now.as_millis() / GRAIN_MILLIS).cast_unsigned() & 0xff_ffff);
        let place = &self.noted[(key_bits % NOTED as u64) as usize];
        if place.load(Ordering::Relaxed) == mark {
            return;
        }
        let mut shard = lock(&self.shards[(key_bits % SHARDS as u64) as usize]);
        if shard.len() >= MOST / SHARDS && !shard.contains_key(&key) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let last = shard.entry(key).or_insert(now);
        *last = now.max(*last);
        drop(shard);
        place.store(mark, Ordering::Relaxed);
    }

    fn take(&self) -> Vec<(i64, Timestamp)> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *lock(shard))).collect()
    }

    /// Back in, where writing failed; a later use noted meanwhile stays.
    fn give_back(&self, uses: Vec<(i64, Timestamp)>) {
        for (key, at) in uses {
            let mut shard = lock(&self.shards[(key.cast_unsigned() % SHARDS as u64) as usize]);
            if shard.len() < MOST / SHARDS || shard.contains_key(&key) {
                let last = shard.entry(key).or_insert(at);
                *last = at.max(*last);
            } else {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Keys whose use is gathered and not written.
    pub(super) fn waiting(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).len() as u64).sum()
    }

    /// Uses that were not noted for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Writes what was gathered. What could not be written is gathered again.
    pub(super) async fn flush_uses(&self) -> Result<(), Rejected> {
        let uses = self.uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.store.record_uses(uses.clone()).await;
        self.counts.changed(&written);
        if written.is_err() {
            self.uses.give_back(uses);
        }
        written
    }
}

/// Writes what was gathered every interval, until told to end; and acts upon what it tells.
pub(super) async fn flush(shared: Arc<Shared>, interval: Duration, end: CancellationToken) {
    while !slept(interval.max(SHORTEST), &end).await {
        if let Err(error) = shared.flush_uses().await {
            let keys = shared.uses.waiting();
            tracing::warn!(error = chain(&error), keys, "last uses could not be written; kept for later");
        }
        shared.retire_quiet(interval).await;
    }
}

fn lock(shard: &Mutex<HashMap<i64, Timestamp, RandomState>>) -> MutexGuard<'_, HashMap<i64, Timestamp, RandomState>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(43_200_000);

    #[test]
    fn a_key_is_noted_once_a_minute() {
        let uses = Uses::new();
        uses.note(7, NOON);
        uses.note(7, NOON.plus(Duration::from_secs(59)));
        assert_eq!(uses.take(), [(7, NOON)]);
        uses.note(7, NOON.plus(Duration::from_secs(59)));
        assert!(uses.take().is_empty());
        uses.note(7, NOON.plus(Duration::from_secs(60)));
        assert_eq!(uses.take(), [(7, NOON.plus(Duration::from_secs(60)))]);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let uses = Uses::new();
        for key in 0..i64::try_from(MOST).unwrap() + 5 {
            uses.note(key, NOON);
        }
        assert_eq!((uses.take().len(), uses.dropped()), (MOST, 5));
    }

    #[test]
    fn what_could_not_be_written_does_not_replace_a_later_use() {
        let uses = Uses::new();
        let later = NOON.plus(Duration::from_secs(60));
        uses.note(7, later);
        uses.give_back(vec![(7, NOON), (8, NOON)]);
        let mut all = uses.take();
        all.sort_unstable();
        assert_eq!(all, [(7, later), (8, NOON)]);
    }
}

//! Reads ahead, in the background: every secret's digest, so that invented ones are told at once; then living keys, the last
//! used first, so that none of them has to wait for the store.
//!
//! Requests are answered meanwhile as ever. A chunk is one snapshot and knows its position in the log, so what it brings is
//! believed by the same rule as a request's own look-up. One chunk is on its way at a time, and is queued behind
//! whatever requests asked: they get their turn between two of them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::cache::Shelf;
use crate::clock::Timestamp;
use crate::store::{Chunk, StoreError, Which, Words};
use crate::telemetry::chain;

/// Secrets, keys, and uses in one chunk: some milliseconds of one reader.
const SECRETS: usize = 8192;
const KEYS: usize = 1024;
const USES: usize = 16_384;
/// Between two attempts at what could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads ahead until told to end: `room` living keys once, and the digests whenever they are to be read anew.
pub(super) async fn warm(shared: Arc<Shared>, room: u64, end: CancellationToken) {
    let work = async {
        if shared.known.most() > 0 {
            shared.know().await;
        }
        shared.remember(usize::try_from(room).unwrap_or(usize::MAX)).await;
        loop {
            shared.known.wanted().await;
            shared.know().await;
        }
    };
    // Between two chunks; what was read is worth nothing by then.
    end.run_until_cancelled(work).await;
}

impl Shared {
    /// Reads every secret's digest, unless there are too many.
    async fn know(&self) {
        let began = self.clock.boot();
        let known = match self.fill().await {
            Ok(whole) => whole,
            Err(error) => {
                pause(&error).await;
                self.known.void();
                false
            }
        };
        if known {
            let took = self.clock.boot().since(began);
            tracing::info!(count = self.known.count().0, took_ms = took.as_millis(), "all secrets are known");
        }
    }

    /// Whether the set is whole now. Where not, there may be a newer reason to begin anew.
    async fn fill(&self) -> Result<bool, StoreError> {
        // One more tells that there are too many.
        let expected = self.store.secrets(self.known.most().saturating_add(1)).await?;
        let Some(round) = self.known.begin(expected) else { return Ok(false) };
        let (mut after, mut digests) = (None, Vec::with_capacity(SECRETS.min(expected)));
        loop {
            digests = self.store.digests(after, SECRETS, digests).await?;
            if !self.known.fill(round, &digests) {
                return Ok(false);
            }
            if digests.len() < SECRETS {
                return Ok(self.known.finish(round));
            }
            after = digests.last().copied();
        }
    }

    /// Reads living keys until `room` of them are remembered.
    async fn remember(&self, room: usize) {
        if room == 0 {
            return;
        }
        let began = self.clock.boot();
        let since = self.used_since(room).await;
        let mut count = 0;
        for which in [Which::UsedSince(since), Which::NotUsedSince(since)] {
            let (mut place, mut words) = (Some(which.first()), Words::many());
            while let Some(from) = place
                && count < room
            {
                // Before the question leaves.
                let (asked, sent) = (self.fence.point(), self.clock.boot());
                let read = self.store.living(from, words, KEYS.min(room - count)).await;
                let Chunk { as_of, keys, next } = match read {
                    Ok((chunk, met)) => {
                        words = met;
                        chunk
                    }
                    Err(error) => {
                        words = Words::many();
                        pause(&error).await;
                        continue;
                    }
                };
                let entries = keys.into_iter().map(|(digest, standing)| {
                    let entry = self.entry(asked.at(as_of), sent, Some(standing));
                    (digest, entry)
                });
                let alive: Vec<_> = entries.filter(|(_, entry)| self.shelf(entry) == Shelf::Live).collect();
                count += alive.len();
                for (digest, entry) in &alive {
                    self.cache.warm(*digest, entry.clone());
                }
                if let Some(snapshot) = self.snapshot.get() {
                    snapshot.remembered(alive);
                }
                place = next;
            }
        }
        let took = self.clock.boot().since(began);
        tracing::info!(count, took_ms = took.as_millis(), "keys are remembered");
    }

    /// The moment since which at most about `room` keys were used.
    async fn used_since(&self, room: usize) -> Timestamp {
        let mut moments: Vec<Timestamp> = Vec::new();
        let mut above = i64::MIN;
        loop {
            let uses = match self.store.uses(above, USES).await {
                Ok(uses) => uses,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            };
            moments.extend(uses.iter().map(|(_, at)| *at));
            let whole = uses.len() < USES;
            if moments.len() > room && (whole || moments.len() > room.saturating_mul(2)) {
                // The last used come first; the others are forgotten.
                moments.select_nth_unstable_by(room, |one, other| other.cmp(one));
                moments.truncate(room);
            }
            match uses.last() {
                Some((serial, _)) if !whole => above = *serial,
                _ => return moments.into_iter().min().unwrap_or(NEVER),
            }
        }
    }
}

/// After what could not be read, until it is tried again.
async fn pause(error: &StoreError) {
    tracing::debug!(error = chain(error), "what is read ahead could not be read; it is tried again");
    tokio::time::sleep(PAUSE).await;
}

/// Nothing was used since; so all that was not is all there is.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

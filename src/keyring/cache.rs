//! Look-ups remembered. Whether one still counts is not decided here but at every use, by the [`Fence`](super::fence);
//! so removing one only frees memory, and moka's own promises about order are not relied on.
//!
//! Three caches with bounds of their own: a flood of invented secrets cannot push out living keys.

use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::SegmentedCache;

use super::Config;
use super::fence::Owners;
use crate::clock::BootTime;
use crate::key::{Digest, Standing};

/// What one look-up brought back, and what it depends on besides its digest. Kept by value: one allocation less a key, and
/// one pointer less on the way to it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The log's position in its snapshot, in the history in which it was asked for.
    pub(super) as_of: u64,
    /// When the store was asked.
    pub(super) sent: BootTime,
    /// The key; none where no key has the digest.
    pub(super) standing: Option<Arc<Standing>>,
    /// Whose change voids it.
    pub(super) owners: Owners,
}

impl Entry {
    /// What the set of known secrets says of a digest that it lacks. It is as true as what is applied of the log, and nobody
    /// asked for it.
    pub(super) const UNMADE: Self =
        Self { as_of: u64::MAX, sent: BootTime::from_nanos(0), standing: None, owners: Owners::NONE };
}

/// Which of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// Alive when last read.
    Live,
    /// Not alive when last read.
    Refused,
    /// No key has it.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Cache {
    live: Segments,
    refused: Segments,
    unknown: Segments,
}

type Segments = SegmentedCache<Digest, Entry, RandomState>;

impl Cache {
    pub(super) fn new(config: &Config, workers: usize) -> Self {
        // Every read passes through its segment's one bounded channel; few workers do not contend for it.
        let segments = if workers > 4 { workers.next_power_of_two() } else { 1 };
        let shelf = |most: u64, ttl: Option<Duration>| {
            // LRU for living keys too: with TinyLFU a newly used key would have to beat one that nobody uses any more.
            let shelf = SegmentedCache::builder(segments).max_capacity(most).eviction_policy(EvictionPolicy::lru());
            match ttl {
                Some(ttl) => shelf.time_to_live(ttl.min(LONGEST)).build_with_hasher(RandomState::default()),
                None => shelf.build_with_hasher(RandomState::default()),
            }
        };
        Self {
            live: shelf(config.live, None),
            refused: shelf(config.refused, None),
            unknown: shelf(config.unknown, Some(config.unknown_for.0)),
        }
    }

    /// What one shelf remembers of a digest. It may be void: ask the fence.
    pub(super) fn get(&self, digest: &Digest, shelf: Shelf) -> Option<(Entry, Shelf)> {
        self.shelf(shelf).get(digest).map(|entry| (entry, shelf))
    }

    /// Remembers a look-up on one shelf and on no other.
    pub(super) fn put(&self, digest: Digest, entry: Entry, shelf: Shelf) {
        for other in SHELVES.into_iter().filter(|other| *other != shelf) {
            self.shelf(other).invalidate(&digest);
        }
        self.shelf(shelf).insert(digest, entry);
    }

    /// Remembers a living key that nobody asked for. What a request looked up stays.
    pub(super) fn warm(&self, digest: Digest, entry: Entry) {
        if !self.live.contains_key(&digest) {
            self.live.insert(digest, entry);
        }
    }

    /// Every key that was alive when last read, as it comes. Who looks at them so does not count as using them.
    pub(super) fn living(&self) -> impl Iterator<Item = (Digest, Entry)> {
        self.live.iter().map(|(digest, entry)| (*digest, entry))
    }

    /// Frees the memory of what is void.
    pub(super) fn forget(&self, digest: &Digest, shelf: Shelf) {
        self.shelf(shelf).invalidate(digest);
    }

    /// How many are remembered. moka counts what it has seen to, so it is made to see to everything first.
    pub(super) fn entries(&self, shelf: Shelf) -> u64 {
        let shelf = self.shelf(shelf);
        shelf.run_pending_tasks();
        shelf.entry_count()
    }

    const fn shelf(&self, shelf: Shelf) -> &Segments {
        match shelf {
            Shelf::Live => &self.live,
            Shelf::Refused => &self.refused,
            Shelf::Unknown => &self.unknown,
        }
    }
}

/// The longest that anything is remembered for: a century. moka panics at ten of them.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const SHELVES: [Shelf; 3] = [Shelf::Live, Shelf::Refused, Shelf::Unknown];

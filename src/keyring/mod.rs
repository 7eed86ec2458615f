//! The live view of keys that answers quickly. Knows no http.
//!
//! ```text
//!  Secret  --verify--> Verified | Denied       from memory while the fence lets it count, else one look-up in the store
//!  Command --operate-> Outcome  | Problem      commit, apply the log, answer: then it holds for every request that begins
//!  Verified --vigil--> what becomes of the key while it is in use
//!  Verified --used---> last use and caller, written later;  --rehearsed--> whom a rule in report mode would have refused
//! ```
//!
//! `fence` decides what remembered may still be believed; `follow` drives it; `warm` reads ahead, so that nobody waits for
//! the store where memory could have known; everything else may be late.

mod adopted;
mod audit;
mod cache;
mod callers;
pub mod command;
mod complete;
pub mod config;
mod derive;
pub mod effect;
mod fence;
mod first_use;
mod flight;
mod follow;
mod known;
mod membership;
mod migration;
pub mod once;
mod open;
mod operate;
mod quiet;
pub mod receipt;
mod rehearsal;
mod replicas;
mod reuse;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod usage;
mod verify;
mod warm;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::adopted::Adopted;
use self::cache::{Cache, Shelf};
use self::callers::Callers;
use self::complete::Completion;
use self::fence::Fence;
use self::first_use::FirstUses;
use self::flight::Flights;
use self::known::Known;
use self::membership::Membership;
use self::migration::Named;
use self::once::Runs;
use self::open::Open;
use self::rehearsal::Table;
use self::replicas::Own;
use self::reuse::Reuses;
use self::snapshot::Folder;
use self::usage::Uses;
use crate::clock::Clock;
use crate::key::Digester;
use crate::store::{Rejected, Store, StoreError};
use crate::telemetry::chain;

pub use self::callers::Caller;
pub use self::config::{Config, Watch};
pub use self::migration::NamedRoute;
pub use self::open::Vigil;
pub use self::verify::{Denied, Failure};

/// Verifies secrets, carries out commands, and gathers last uses. Share it by `Arc`; any runtime may call it.
///
/// Its own tasks run on the control runtime and end with it.
#[derive(Debug)]
pub struct Keyring {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Asks the tasks to end, between two of their steps and never inside one.
    end: DropGuard,
    /// Nobody else's, for as long.
    _folder: Option<Folder>,
}

/// What the tasks hold too.
#[derive(Debug)]
struct Shared {
    store: Store,
    digester: Digester,
    clock: Clock,
    control: Handle,
    fence: Fence,
    cache: Cache,
    flights: Flights,
    known: Known,
    adopted: ArcSwap<Adopted>,
    uses: Uses,
    callers: Callers,
    named: Named,
    first_uses: FirstUses,
    rehearsal: Table,
    reuses: Reuses,
    runs: Runs,
    open: Open,
    own: Own,
    /// Among those that serve from a store, where several may.
    membership: Option<Membership>,
    completion: Completion,
    watch: ArcSwap<Watch>,
    /// Look-ups in the store at one time.
    loads: Semaphore,
    /// Of these, those for who names a position that is not applied here.
    ahead: Semaphore,
    /// Requests that wait for one.
    waiting: Semaphore,
    counts: Counts,
    /// Where what is remembered is written, for a start while the store is away; empty where it is not.
    snapshot: snapshot::Slot,
    /// The store was away at the start and was not found since.
    unseen: AtomicBool,
    /// Boot time of the last tail.
    heard: AtomicU64,
    went_back: AtomicBool,
}

/// How the keyring has fared since it was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Verifications answered from memory: the key was alive when last read.
    pub hits: u64,
    /// Answered from memory: the key was not.
    pub refused: u64,
    /// Answered from memory: no key has that secret.
    pub unknown: u64,
    /// Not answered from memory.
    pub misses: u64,
    /// Look-ups in the store.
    pub loads: u64,
    /// Look-ups that failed.
    pub failures: u64,
    /// Requests let pass by what should not be believed any more, while the store did not answer.
    pub stale: u64,
    /// Changes that the store committed.
    pub changes: u64,
    /// Changes that the store failed to commit.
    pub change_failures: u64,
    /// Keys whose last use is gathered and not written yet.
    pub uses_waiting: u64,
    /// Uses not noted for want of room.
    pub uses_dropped: u64,
    /// Secrets presented that were rotated away.
    pub reuses: u64,
    /// Of these, those of which nothing else was noted for want of room.
    pub reuses_dropped: u64,
    /// Uses whose caller was not noted for want of room.
    pub callers_dropped: u64,
    /// Would-be refusals that found no row in the table of whom.
    pub rehearsal_overflow: u64,
    /// Remembered living keys, about.
    pub live_entries: u64,
    /// Remembered keys that are not, about.
    pub refused_entries: u64,
    /// Remembered unknown secrets, about.
    pub unknown_entries: u64,
    /// Secrets known to exist.
    pub known: u64,
    /// Whether these are all there are, so that any other is refused without a look-up.
    pub known_whole: bool,
    /// Keys in the snapshot, about.
    pub snapshot_keys: u64,
    /// For how long yet what is remembered may count; none where that has no end.
    pub lease: Option<Duration>,
    /// The log is applied up to here.
    pub position: u64,
    /// Changes that were in force everywhere once every replica had said so.
    pub acknowledged: u64,
    /// Changes that were once time was up.
    pub timed: u64,
    /// Changes that a database lost which took another's place.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
    failures: AtomicU64,
    stale: AtomicU64,
    changes: AtomicU64,
    change_failures: AtomicU64,
}

impl Counts {
    /// Counts a change the store was asked for. One that it rejected was none.
    fn changed<T>(&self, changed: &Result<T, Rejected>) {
        match changed {
            Ok(_) => self.changes.fetch_add(1, Ordering::Relaxed),
            Err(Rejected::Store(_)) => self.change_failures.fetch_add(1, Ordering::Relaxed),
            Err(
                Rejected::Missing { .. }
                | Rejected::Exists { .. }
                | Rejected::Conflict(..)
                | Rejected::Invalid(_)
                | Rejected::ExpiryTooLong(..)
                | Rejected::LimitReached(..),
            ) => 0,
        };
    }

    const fn hit(&self, shelf: Shelf) -> &AtomicU64 {
        match shelf {
            Shelf::Live => &self.hits,
            Shelf::Refused => &self.refused,
            Shelf::Unknown => &self.unknown,
        }
    }
}

impl Keyring {
    /// Opens the keyring over a store. `workers` is how many threads verify; where none does, no change ever waits for this process.
    /// `control` runs look-ups and upkeep.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn open(
        config: &Config,
        workers: usize,
        store: Store,
        digester: Digester,
        clock: Clock,
        control: Handle,
    ) -> Result<Self, StoreError> {
        Self::open_in(config, workers, store, digester, clock, control, None).await
    }

    /// The same for who has a folder of its own, where a snapshot is kept; where the folder recalled one, the store may be unseen,
    /// and is joined when it answers.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_in(
        config: &Config,
        workers: usize,
        store: Store,
        digester: Digester,
        clock: Clock,
        control: Handle,
        mut folder: Option<Folder>,
    ) -> Result<Self, StoreError> {
        if config.callers == 0
            && let Err(error) = store.forget_callers().await
        {
            tracing::warn!(
                error = chain(&error),
                "the callers of before could not be forgotten; the next start tries again"
            );
        }
        let now = clock.now();
        let own = Own::new(&clock).map_err(|_| StoreError::NoEntropy)?;
        let shared = Arc::new(Shared {
            digester,
            clock,
            fence: Fence::new(),
            cache: Cache::new(config, workers),
            flights: Flights::default(),
            known: Known::new(config.known),
            adopted: ArcSwap::from_pointee(Adopted::Unsure),
            uses: Uses::new(),
            callers: Callers::new(config.callers, workers + 1, now),
            named: Named::new(Arc::default()),
            first_uses: FirstUses::default(),
            rehearsal: Table::new(config.rehearsal),
            reuses: Reuses::default(),
            runs: Runs::default(),
            open: Open::default(),
            own,
            membership: (workers > 0 && store.is_shared()).then(Membership::new),
            store,
            completion: Completion::new(),
            watch: ArcSwap::default(),
            loads: Semaphore::new(config.loads.clamp(1, Semaphore::MAX_PERMITS)),
            ahead: Semaphore::new((config.loads / 4).clamp(1, Semaphore::MAX_PERMITS)),
            waiting: Semaphore::new(config.waiting.clamp(1, Semaphore::MAX_PERMITS)),
            counts: Counts::default(),
            snapshot: snapshot::Slot::new(),
            unseen: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            went_back: AtomicBool::new(false),
            control: control.clone(),
        });
        let left = folder.as_mut().and_then(Folder::take_left);
        let mut before = None;
        if let Some(place) = folder.as_ref().and_then(Folder::place) {
            before = place.owner();
            shared.keep_snapshot(place.clone());
        }
        match left {
            Some(left) => shared.resume(left).await,
            None => {
                shared.catch_up().await?;
                shared.look_around().await?;
            }
        }
        let end = CancellationToken::new();
        let room = if config.warm { config.live } else { 0 };
        let mut tasks = vec![
            control.spawn(warm::warm(Arc::clone(&shared), room, end.clone())),
            control.spawn(follow::follow(Arc::clone(&shared), end.clone())),
            control.spawn(open::watch_over(Arc::clone(&shared), end.clone())),
            control.spawn(usage::flush(Arc::clone(&shared), config.usage_flush.0, end.clone())),
            control.spawn(reuse::flush(Arc::clone(&shared), config.usage_flush.0, end.clone())),
        ];
        let succeed = |before| control.spawn(snapshot::resume::succeed(Arc::clone(&shared), before, end.clone()));
        tasks.extend(before.map(succeed));
        Ok(Self { shared, tasks: Mutex::new(tasks), end: end.drop_guard(), _folder: folder })
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Whether the store was away at the start, and was not found since.
    #[must_use]
    pub fn awaits_store(&self) -> bool {
        self.shared.unseen.load(Ordering::Acquire)
    }

    /// Watches over keys as this says, from now on.
    pub fn heed(&self, watch: Watch) {
        self.shared.watch.store(Arc::new(watch));
    }

    /// How it has fared.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared { counts, cache, uses, reuses, callers, rehearsal, .. } = &*self.shared;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (known, known_whole) = self.shared.known.count();
        Stats {
            hits: count(&counts.hits),
            refused: count(&counts.refused),
            unknown: count(&counts.unknown),
            misses: count(&counts.misses),
            loads: count(&counts.loads),
            failures: count(&counts.failures),
            stale: count(&counts.stale),
            changes: count(&counts.changes),
            change_failures: count(&counts.change_failures),
            uses_waiting: uses.waiting(),
            uses_dropped: uses.dropped(),
            reuses: reuses.seen(),
            reuses_dropped: reuses.dropped(),
            callers_dropped: callers.dropped(),
            rehearsal_overflow: rehearsal.overflow(),
            live_entries: cache.entries(Shelf::Live),
            refused_entries: cache.entries(Shelf::Refused),
            unknown_entries: cache.entries(Shelf::Unknown),
            known,
            known_whole,
            snapshot_keys: self.shared.snapshot.get().map_or(0, snapshot::Snapshot::keys),
            lease: self.shared.fence.left(self.shared.clock.boot()),
            position: self.shared.fence.applied(),
            acknowledged: count(&self.shared.completion.counts().acknowledged),
            timed: count(&self.shared.completion.counts().timed),
            lost: count(&self.shared.completion.counts().lost),
        }
    }

    /// Ends the upkeep, writes the last uses and closes the store, whoever may still hold the keyring.
    pub async fn shutdown(&self) {
        self.end.token().cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // Where it was cancelled, the control runtime ended before us.
            let _ = task.await;
        }
        self.shared.leave().await;
        if let Err(error) = self.shared.flush_uses().await {
            tracing::warn!(
                error = chain(&error),
                keys = self.shared.uses.waiting(),
                "last uses could not be written, and are lost"
            );
        }
        if let Err(error) = self.shared.flush_reuses().await {
            tracing::warn!(error = chain(&error), "uses of dead secrets could not be written, and are lost");
        }
        if let Err(error) = self.shared.flush_callers().await {
            tracing::warn!(error = chain(&error), "who used which secret could not be written, and is lost");
        }
        let shared = Arc::clone(&self.shared);
        // It waits for the store's threads, which no runtime thread may.
        let _ = self.shared.control.spawn_blocking(move || shared.store.close()).await;
    }
}

//! The thread that writes a snapshot.
//!
//! ```text
//!  base: header, keys…, lease, Whole --rename--> in place, and added to: entries, leases, keys
//!          '-- what comes meanwhile is written to both --'
//! ```
//!
//! A base is written when there is none, and when what was added to one is half as long as it. What cannot be written is
//! removed before anything it lacks is acknowledged.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::file::Sealed;
use super::record::{Kept, Lease, Record};
use super::{Place, Shared};
use crate::clock::BootTime;
use crate::key::Digest;
use crate::keyring::cache::Entry;
use crate::keyring::fence::Point;
use crate::store::log;
use crate::telemetry::chain;

/// What the thread is told.
pub(super) enum Order {
    Applied { point: Point, entries: Vec<log::Entry>, lease: Lease },
    Turned,
    Remembered(Vec<(Digest, Entry)>),
    End { stays: bool, done: oneshot::Sender<bool> },
}

pub(super) struct Writer {
    shared: Weak<Shared>,
    place: Place,
    orders: Receiver<Order>,
    written: watch::Sender<u64>,
    placed: watch::Sender<bool>,
    gap: Arc<AtomicBool>,
    keys: Arc<AtomicU64>,
    /// What is in place, and what is to take its place.
    kept: Option<Generation>,
    next: Option<Generation>,
    /// The last that was told.
    last: Option<(Point, Lease)>,
    /// When a base was begun last.
    began: Option<BootTime>,
    /// What is in place lacks something, and could not be removed.
    stuck: bool,
}

/// A file, and the history of the log that it belongs to.
struct Generation {
    file: Sealed,
    began: Point,
    keys: u64,
    /// How long the base is; none while it is being written.
    base: Option<u64>,
}

/// Keys in one record.
const CHUNK: usize = 256;
/// Between two bases, at the least.
const REST: Duration = Duration::from_secs(60);
/// So much is added to any base before it is written anew.
const LITTLE: u64 = 4 * 1024 * 1024;

impl Writer {
    pub(super) fn new(
        shared: &Arc<Shared>,
        place: Place,
        orders: Receiver<Order>,
        (written, placed): (watch::Sender<u64>, watch::Sender<bool>),
        gap: Arc<AtomicBool>,
        keys: Arc<AtomicU64>,
    ) -> Self {
        let shared = Arc::downgrade(shared);
        let (kept, next, last, began, stuck) = (None, None, None, None, false);
        Self { shared, place, orders, written, placed, gap, keys, kept, next, last, began, stuck }
    }

    /// Writes until it is told to end, or nobody is left who could tell.
    pub(super) fn run(mut self) {
        while let Ok(order) = self.orders.recv() {
            if !self.carry_out(order) {
                return;
            }
            let Some(shared) = self.shared.upgrade() else { return };
            if self.is_due(&shared) && !self.rebase(&shared) {
                return;
            }
        }
    }

    /// Whether it goes on.
    fn carry_out(&mut self, order: Order) -> bool {
        // First: the lease of a later order must not stand where an earlier one is missing.
        if self.gap.swap(false, Ordering::AcqRel) {
            tracing::warn!("the snapshot lacks what could not be written in time: it is begun anew");
            self.remove();
        }
        match order {
            Order::Applied { point, entries, lease } => self.applied(point, entries, lease),
            Order::Turned => {
                self.remove();
                // What belongs to the next history may be begun at once.
                (self.last, self.began) = (None, None);
            }
            Order::Remembered(keys) => self.remembered(&keys),
            Order::End { stays, done } => {
                if !stays {
                    self.remove();
                }
                let _ = std::fs::remove_file(self.unfinished());
                let _ = done.send(!self.stuck);
                return false;
            }
        }
        if self.stuck {
            self.remove();
        }
        true
    }

    fn applied(&mut self, point: Point, entries: Vec<log::Entry>, lease: Lease) {
        let entries = (!entries.is_empty()).then_some(Record::Entries(entries));
        let lease_record = Record::Lease(lease.clone());
        self.last = Some((point, lease));
        let written = self.each(|generation| {
            entries.iter().chain([&lease_record]).try_for_each(|record| generation.file.append(record))
        });
        match written {
            Ok(()) => self.publish(),
            Err(error) => self.failed(&error),
        }
    }

    /// Tells how far everything is written, where there is something that could lack it.
    fn publish(&self) {
        let Some((point, _)) = self.last.as_ref().filter(|_| !self.stuck) else { return };
        let tracked = *self.written.borrow() != u64::MAX;
        if tracked {
            self.written.send_replace(point.at(point.position()));
        }
    }

    fn remembered(&mut self, keys: &[(Digest, Entry)]) {
        let Some(shared) = self.shared.upgrade() else { return };
        let written = self.each(|generation| {
            let kept: Vec<_> =
                keys.iter().filter_map(|(digest, entry)| generation.kept(&shared, digest, entry)).collect();
            generation.add(kept)
        });
        if let Err(error) = written {
            self.failed(&error);
        }
        self.count();
    }

    fn each(&mut self, mut write: impl FnMut(&mut Generation) -> io::Result<()>) -> io::Result<()> {
        self.kept.iter_mut().chain(&mut self.next).try_for_each(&mut write)
    }

    fn is_due(&self, shared: &Shared) -> bool {
        let rested = self.began.is_none_or(|began| shared.clock.boot().since(began) >= REST);
        let grown = self.kept.as_ref().is_none_or(|kept| {
            let base = kept.base.unwrap_or(0);
            kept.file.bytes() - base > base / 2 + LITTLE
        });
        self.last.is_some() && !self.stuck && grown && rested
    }

    /// Writes a base anew, and puts it in place. Whether the thread goes on.
    fn rebase(&mut self, shared: &Shared) -> bool {
        self.began = Some(shared.clock.boot());
        let begun = Sealed::create(&self.unfinished(), &self.place.about, &self.place.root);
        let begun = begun.and_then(|mut file| {
            file.append(&Record::Owner(shared.own.id.clone()))?;
            Ok(file)
        });
        // Only now: what is applied after this is written to the file, what was applied before it is judged by below.
        let began = shared.fence.point();
        match begun {
            Ok(file) => self.next = Some(Generation { file, began, keys: 0, base: None }),
            Err(error) => {
                self.failed(&error);
                return true;
            }
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        for (digest, entry) in shared.cache.living() {
            let Some(next) = &mut self.next else { return true };
            chunk.extend(next.kept(shared, &digest, &entry));
            if chunk.len() == CHUNK {
                if let Err(error) = next.add(std::mem::take(&mut chunk)) {
                    self.failed(&error);
                    return true;
                }
                if !self.catch_up() {
                    return false;
                }
            }
        }
        let added = self.next.as_mut().map_or(Ok(()), |next| next.add(chunk));
        if let Err(error) = added {
            self.failed(&error);
            return true;
        }
        // From here on there is something that could lack what is acknowledged; what was acknowledged before stands in line.
        if let Some((point, _)) = &self.last {
            self.written.send_replace(point.at(point.position()));
        }
        if !self.catch_up() {
            return false;
        }
        if let Err(error) = self.put_in_place() {
            self.failed(&error);
        }
        self.count();
        true
    }

    /// Carries out what waits. Whether the thread goes on.
    fn catch_up(&mut self) -> bool {
        loop {
            let Ok(order) = self.orders.try_recv() else { return true };
            if !self.carry_out(order) {
                return false;
            }
        }
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        let Some(((point, lease), mut next)) = self.last.clone().zip(self.next.take()) else { return Ok(()) };
        if next.began.same(point.at(point.position())).is_none() {
            // It has just begun another history, and is about to say so.
            return Ok(());
        }
        next.file.append(&Record::Lease(lease))?;
        next.file.append(&Record::Whole)?;
        next.base = Some(next.file.bytes());
        std::fs::rename(self.unfinished(), &self.place.path)?;
        self.placed.send_replace(true);
        tracing::debug!(keys = next.keys, bytes = next.base, "a snapshot is in place");
        self.kept = Some(next);
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        tracing::warn!(
            snapshot = %self.place.path.display(),
            error = chain(error),
            "the snapshot cannot be written: until it can, this replica could not start without the store"
        );
        self.remove();
    }

    /// Removes what is there: it lacks something, or is about another history.
    fn remove(&mut self) {
        (self.kept, self.next) = (None, None);
        let _ = std::fs::remove_file(self.unfinished());
        match std::fs::remove_file(&self.place.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.stuck, true) {
                    tracing::warn!(
                        snapshot = %self.place.path.display(),
                        error = chain(&error),
                        "the snapshot cannot be removed: changes wait for this replica until it can"
                    );
                }
            }
            _ => {
                self.stuck = false;
                self.placed.send_replace(true);
                self.written.send_replace(u64::MAX);
            }
        }
        self.count();
    }

    fn count(&self) {
        self.keys.store(self.kept.as_ref().map_or(0, |kept| kept.keys), Ordering::Relaxed);
    }

    fn unfinished(&self) -> PathBuf {
        self.place.path.with_extension("snapshot.new")
    }
}

impl Generation {
    /// A remembered key as it is kept here, if it counts: it is of this history, and was not void when this began.
    fn kept(&self, shared: &Shared, digest: &Digest, entry: &Entry) -> Option<Kept> {
        let as_of = self.began.same(entry.as_of)?;
        let standing = entry.standing.as_deref().filter(|_| !shared.fence.is_void(digest, entry))?;
        Some(Kept::new(digest, as_of, standing.clone()))
    }

    fn add(&mut self, keys: Vec<Kept>) -> io::Result<()> {
        self.keys += keys.len() as u64;
        if keys.is_empty() { Ok(()) } else { self.file.append(&Record::Keys(keys)) }
    }
}

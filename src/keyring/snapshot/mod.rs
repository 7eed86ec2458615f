//! What a replica remembers, kept in its own folder, so that it can start while its store is away.
//!
//! ```text
//!  renewal applied --> journal: entries, lease --> acknowledged       a key looked up --> journal: key
//!  store away at the start: keys + entries + lease --> the fence, as it was --> until that very deadline
//! ```
//!
//! Whoever starts from it goes on with the lease of the process before, which is gone: both have had the folder's lock. That
//! is as if the one process had gone on, since
//!
//! - what a replica acknowledges it has written here before, so nobody reported a change complete that this lacks;
//! - a lease is written after all that its answer told, and ends when it would have: it is in boot time, and of no use in
//!   another start of the machine. The same start means that what the system took in it still has, on the disk or not;
//! - the process before is waited for until its lease has ended: it said no goodbye. One that says goodbye removes this first.
//!   Whoever came after it says so in its name, once nothing is left that its lease could be gone on with.
//!
//! It is sealed under a key that is made of the pepper, so without a pepper there is none. Everything here is the work of a
//! thread of its own; if that is slow, acknowledgements are late and nothing else is.

mod file;
mod record;
pub(super) mod resume;
mod writer;

use std::cmp::Reverse;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hkdf::Prk;
use tokio::sync::{oneshot, watch};

use self::file::{About, Reader, Unusable};
use self::record::{Kept, Record};
pub(super) use self::record::{Lease, Terms, told};
use self::writer::{Order, Writer};
use super::Shared;
use super::cache::Entry;
use super::derive::root;
use super::fence::Point;
use crate::clock::BootTime;
use crate::key::Digest;
use crate::secret::Secret;
use crate::store::log;
use crate::store::replica::ReplicaId;
use crate::store::{Seat, config};
use crate::telemetry::chain;

/// A replica's own folder, which no other process has.
#[derive(Debug)]
pub struct Folder {
    _seat: Seat,
    /// Where snapshots are kept; nowhere, where they are not.
    place: Option<Place>,
    /// What the process before left, where this one starts by it.
    left: Option<Left>,
}

/// Where a snapshot is, and under which key.
#[derive(Clone)]
pub(super) struct Place {
    path: PathBuf,
    about: About,
    root: Prk,
}

/// What a process left that may be gone on with.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) lease: Lease,
    /// Until when it may be used beyond its lease here.
    pub(super) stale: BootTime,
    pub(super) entries: Vec<log::Entry>,
    keys: Vec<Kept>,
}

impl Left {
    /// The keys, each with the log's position when it was read; one that was read more than once, as of the last time first.
    pub(super) fn into_keys(mut self) -> impl Iterator<Item = (Digest, u64, crate::key::Standing)> {
        self.keys.sort_by_key(|kept| Reverse(kept.as_of));
        self.keys.into_iter().map(|kept| (kept.digest(), kept.as_of, kept.standing))
    }
}

impl Folder {
    /// The folder that this process has, with snapshots where they are wanted and can be sealed.
    #[must_use]
    pub fn of(seat: Seat, config: &config::Config, store: &str, pepper: Option<&Secret>) -> Self {
        let place = match (config.snapshot, pepper) {
            (false, _) => None,
            (true, None) => {
                tracing::info!(
                    "no snapshot is kept, since keys.pepper_file is not set: whoever can write to {} could forge one",
                    seat.folder().display()
                );
                None
            }
            (true, Some(pepper)) => Place::of(&seat, store, pepper),
        };
        Self { _seat: seat, place, left: None }
    }

    /// Whether a process before may have left something.
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.path.exists())
    }

    /// Reads what the process before left, to start by it; for how long it may be used, if it may. `stale` is how long one may
    /// serve beyond a lease by these settings.
    pub fn recall(&mut self, now: BootTime, stale: Duration) -> Option<Duration> {
        let place = self.place.as_ref()?;
        match place.read(now, stale) {
            Ok(left) => {
                let Terms { deadline, .. } = left.lease.terms();
                let span = deadline.max(left.stale).since(now);
                self.left = Some(left);
                Some(span)
            }
            Err(Unusable::Missing) => None,
            Err(why) => {
                tracing::warn!(snapshot = %place.path.display(), why = chain(&why), "the snapshot is of no use");
                None
            }
        }
    }

    pub(super) fn take_left(&mut self) -> Option<Left> {
        self.left.take()
    }

    pub(super) const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl Place {
    fn of(seat: &Seat, store: &str, pepper: &Secret) -> Option<Self> {
        let Some((boot, folder)) = boot().zip(seat.mark()) else {
            tracing::info!("no snapshot is kept: the system does not tell one start of this machine from another");
            return None;
        };
        let about = About { form: "keyward snapshot 1".into(), boot, folder, store: store.into() };
        Some(Self {
            path: seat.folder().join("keyward.snapshot"),
            about,
            root: root(b"keyward snapshot 1", pepper.expose()),
        })
    }

    /// Whose snapshot is here: that process is gone, for it had the folder's lock, and cannot have moved to another machine.
    pub(super) fn owner(&self) -> Option<ReplicaId> {
        let mut file = Reader::open(&self.path, &self.about, &self.root).ok()?;
        match file.next() {
            Ok(Some(Record::Owner(id))) => Some(id),
            _ => None,
        }
    }

    /// Reads a snapshot; an error where it may not be gone on with.
    fn read(&self, now: BootTime, stale: Duration) -> Result<Left, Unusable> {
        let (mut keys, mut entries, mut lease, mut whole) = (Vec::new(), Vec::new(), None, false);
        let mut file = Reader::open(&self.path, &self.about, &self.root)?;
        while let Some(record) = file.next()? {
            match record {
                Record::Owner(_) => {}
                Record::Keys(some) => keys.extend(some),
                Record::Entries(some) => entries.extend(some),
                Record::Lease(newer) => lease = Some(newer),
                Record::Whole => whole = true,
            }
        }
        let lease: Lease = lease.filter(|_| whole).ok_or(Unusable::Torn)?;
        let Terms { deadline, stale: until, .. } = lease.terms();
        let stale = until.min(deadline.plus(stale));
        if now >= deadline.max(stale) {
            return Err(Unusable::Late);
        }
        Ok(Left { lease, stale, entries, keys })
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

/// This start of this machine, and by how much this process's clocks differ from its own.
fn boot() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    // Where there are no such offsets there is no such file.
    let clocks = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let clocks = clocks.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("{} {clocks}", boot.trim()))
}

/// Where this process's snapshot is written.
#[derive(Debug)]
pub(super) struct Snapshot {
    orders: SyncSender<Order>,
    /// Up to where in the log everything is written, as a [`Point`]; beyond all where there is nothing that could lack it.
    written: watch::Receiver<u64>,
    /// Whether what the process before left is gone: this one's is in its place, or it was removed.
    placed: watch::Receiver<bool>,
    /// Something was not written, because the thread was behind.
    gap: Arc<AtomicBool>,
    keys: Arc<AtomicU64>,
}

/// Orders that may wait for the thread.
const ORDERS: usize = 1024;
/// How long an acknowledgement waits for what it acknowledges to be written; it goes out later then.
const PATIENCE: Duration = Duration::from_millis(100);
/// The same for the end.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

impl Snapshot {
    /// Begins to write what `shared` remembers, from its first lease on.
    pub(super) fn start(shared: &Arc<Shared>, place: Place) -> std::io::Result<Self> {
        let (sender, orders) = sync_channel(ORDERS);
        let (written, watched) = watch::channel(u64::MAX);
        let (placed, is_placed) = watch::channel(false);
        let (gap, keys) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = Writer::new(shared, place, orders, (written, placed), Arc::clone(&gap), Arc::clone(&keys));
        std::thread::Builder::new().name("keyward-snapshot".into()).spawn(move || writer.run())?;
        Ok(Self { orders: sender, written: watched, placed: is_placed, gap, keys })
    }

    /// Everything up to `point` is applied, `entries` the last of it, and this is the lease that came with it.
    pub(super) fn applied(&self, point: Point, entries: Vec<log::Entry>, lease: Lease) {
        self.order(Order::Applied { point, entries, lease });
    }

    /// The log has another history: nothing that was written is of use.
    pub(super) fn turned(&self) {
        self.order(Order::Turned);
    }

    /// These are remembered now. That it is written is not needed.
    pub(super) fn remembered(&self, keys: Vec<(Digest, Entry)>) {
        let _ = self.orders.try_send(Order::Remembered(keys));
    }

    /// Waits until everything up to `point` is written, or there is nothing left to lack it; whether it is.
    pub(super) async fn settled(&self, point: Point) -> bool {
        let mut written = self.written.clone();
        let settled = written.wait_for(|written| *written >= point.at(point.position()));
        let settled = tokio::time::timeout(PATIENCE, settled).await.is_ok_and(|settled| settled.is_ok());
        settled && !self.gap.load(Ordering::Acquire)
    }

    /// Waits until nothing is left of any before it.
    pub(super) async fn in_place(&self) -> bool {
        self.placed.clone().wait_for(|placed| *placed).await.is_ok()
    }

    /// Ends it: the snapshot stays, to be gone on with, or is removed. Whether that was done.
    pub(super) async fn end(&self, stays: bool) -> bool {
        let (done, told) = oneshot::channel();
        let mut order = Order::End { stays, done };
        let ended = async {
            while let Err(full) = self.orders.try_send(order) {
                let std::sync::mpsc::TrySendError::Full(back) = full else { return false };
                order = back;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            told.await.unwrap_or(false)
        };
        tokio::time::timeout(LAST_PATIENCE, ended).await.unwrap_or(false)
    }

    /// How many keys are in it, about.
    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            self.gap.store(true, Ordering::Release);
        }
    }
}

/// Of a process that keeps none.
pub(super) type Slot = OnceLock<Snapshot>;

#[cfg(test)]
mod tests;

//! Who uses which secret: gathered in memory, written by interval beside the last uses, never waited for.
//!
//! ```text
//!  use --hash of key, secret, address, agent, route--> met before: counted      first met: its text is kept
//!  every interval: what was counted since --> the store, which has the last word on who gets a place
//! ```
//!
//! Each thread gathers for itself, so its lock is as good as never contended, and whom it met before it counts without an
//! allocation. What finds no room is dropped and counted, and
//! [`Callers::known_since`] says that something is missing.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;

use super::Shared;
use crate::clock::Timestamp;
use crate::key::{AccountId, Kind, Verified};
use crate::store::{Rejected, Tally, Trace, What};
use crate::telemetry::chain;

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// What it calls itself; empty where it does not.
    pub agent: &'a [u8],
    /// The route, by its name.
    pub route: &'a str,
    /// The account it was let into.
    pub account: Option<&'a AccountId>,
}

/// Callers gathered and not yet written.
#[derive(Debug)]
pub(super) struct Callers {
    /// Of one secret; none at all where zero.
    most: usize,
    hashes: RandomState,
    shards: Box<[Mutex<Shard>]>,
    dropped: AtomicU64,
    /// From when on nothing is missing, in milliseconds.
    known_since: AtomicI64,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Shard {
    met: HashMap<u64, Met, BuildHasherDefault<Hashed>>,
    /// How many callers of a secret are among them.
    of: HashMap<(i64, i64), usize, RandomState>,
}

#[derive(Debug)]
struct Met {
    key: i64,
    secret: i64,
    what: Arc<What>,
    /// When it was last seen, written or not.
    last: Timestamp,
    /// What is not written yet.
    unwritten: Option<Tally>,
}

/// What was gathered, and where it came from.
struct Gathered {
    shard: usize,
    mark: u64,
    key: i64,
    secret: i64,
    what: Arc<What>,
    seen: Tally,
}

/// Most that all threads together keep in mind; few in tests, which fill it.
const MOST: usize = if cfg!(test) { 300 } else { 100_000 };
/// So much of a user agent tells it from others.
const AGENT: usize = 128;
/// Who was not seen for so long is met anew.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// So much is written in one transaction, so that no change waits long behind it.
const AT_ONCE: usize = 2000;

impl Callers {
    /// For so many threads, from `now` on.
    pub(super) fn new(most: usize, threads: usize, now: Timestamp) -> Self {
        Self {
            most,
            hashes: RandomState::default(),
            shards: (0..threads.clamp(1, 64)).map(|_| Mutex::default()).collect(),
            dropped: AtomicU64::new(0),
            known_since: AtomicI64::new(now.as_millis()),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Most callers of one secret.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    pub(super) fn note(&self, verified: &Verified, caller: &Caller<'_>) {
        if self.most == 0 {
            return;
        }
        let (standing, now) = (verified.standing(), verified.at());
        let (key, secret) = (standing.serial, standing.number);
        let agent = &caller.agent[..caller.agent.len().min(AGENT)];
        let mark = self.mark(key, secret, |hash| {
            match caller.address {
                IpAddr::V4(address) => hash.write_u32(address.to_bits()),
                IpAddr::V6(address) => hash.write_u128(address.to_bits()),
            }
            hash.write(agent);
            hash.write_usize(agent.len());
            hash.write(caller.route.as_bytes());
        });
        let mut shard = lock(&self.shards[place() % self.shards.len()]);
        if !shard.count(mark, key, secret, now) {
            self.meet(&mut shard, mark, (key, secret), caller, now);
        }
        // Of any other kind it is the key's own.
        if standing.kind == Kind::User
            && let Some(account) = caller.account
        {
            let mark = self.mark(key, ACCOUNT, |hash| hash.write(account.as_str().as_bytes()));
            if !shard.count(mark, key, ACCOUNT, now) {
                self.keep(&mut shard, mark, (key, ACCOUNT), What::Account(account.clone()), now);
            }
        }
    }

    /// A caller that this thread does not know; one more of a secret than there are places for is one of the others.
    #[cold]
    fn meet(&self, shard: &mut Shard, mark: u64, of: (i64, i64), caller: &Caller<'_>, now: Timestamp) {
        if shard.of.get(&of).is_some_and(|met| *met >= self.most) {
            let mark = self.mark(of.0, of.1, |_| ());
            if !shard.count(mark, of.0, of.1, now) {
                self.keep(shard, mark, of, What::Others, now);
            }
            return;
        }
        let what = What::Caller { address: caller.address, agent: shown(caller.agent), route: caller.route.into() };
        self.keep(shard, mark, of, what, now);
    }

    fn keep(&self, shard: &mut Shard, mark: u64, (key, secret): (i64, i64), what: What, now: Timestamp) {
        // Another one under the same mark would be counted as this one.
        if shard.met.len() >= MOST / self.shards.len() || shard.met.contains_key(&mark) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.known_since.fetch_max(now.as_millis(), Ordering::Relaxed);
            return;
        }
        if matches!(what, What::Caller { .. }) {
            *shard.of.entry((key, secret)).or_default() += 1;
        }
        let unwritten = Some(Tally::once(now));
        shard.met.insert(mark, Met { key, secret, what: Arc::new(what), last: now, unwritten });
    }

    fn mark(&self, key: i64, secret: i64, more: impl FnOnce(&mut foldhash::quality::FoldHasher<'_>)) -> u64 {
        let mut hash = self.hashes.build_hasher();
        hash.write_i64(key);
        hash.write_i64(secret);
        more(&mut hash);
        hash.finish()
    }

    /// What was counted since it was last taken. Who was not seen for long is forgotten, and sooner where room is short.
    fn take(&self, now: Timestamp) -> Vec<Gathered> {
        let mut all = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            let Shard { met, of } = &mut *shard;
            let short = met.len() > MOST / self.shards.len() / 2;
            let long_ago = now.minus(IDLE);
            met.retain(|mark, met| {
                let Some(seen) = met.unwritten.take() else {
                    let kept = !short && met.last > long_ago;
                    if !kept
                        && matches!(*met.what, What::Caller { .. })
                        && let Some(count) = of.get_mut(&(met.key, met.secret))
                    {
                        *count -= 1;
                    }
                    return kept;
                };
                let (key, secret, what) = (met.key, met.secret, Arc::clone(&met.what));
                all.push(Gathered { shard: at, mark: *mark, key, secret, what, seen });
                true
            });
            of.retain(|_, count| *count > 0);
        }
        // Neighbours lie on one page of the store.
        all.sort_unstable_by_key(|one| (one.key, one.secret));
        all
    }

    /// Back in, where writing failed.
    fn give_back(&self, all: &[Gathered]) {
        for Gathered { shard, mark, key, secret, what, seen } in all {
            let mut shard = lock(&self.shards[*shard]);
            match shard.met.get_mut(mark) {
                Some(met) => {
                    met.unwritten = Some(met.unwritten.map_or(*seen, |newer| newer.and(*seen)));
                }
                None => {
                    if matches!(**what, What::Caller { .. }) {
                        *shard.of.entry((*key, *secret)).or_default() += 1;
                    }
                    let what = Arc::clone(what);
                    let met = Met { key: *key, secret: *secret, what, last: seen.last_seen, unwritten: Some(*seen) };
                    shard.met.insert(*mark, met);
                }
            }
        }
    }

    /// Uses whose caller was not noted for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// From when on every use was noted; never, where none is.
    pub(super) fn known_since(&self) -> Option<Timestamp> {
        (self.most > 0).then(|| Timestamp::from_millis(self.known_since.load(Ordering::Relaxed)))
    }
}

impl Shard {
    /// Counts one more of what is known; whether it is.
    #[inline]
    fn count(&mut self, mark: u64, key: i64, secret: i64, now: Timestamp) -> bool {
        let Some(met) = self.met.get_mut(&mark).filter(|met| met.key == key && met.secret == secret) else {
            return false;
        };
        met.last = now.max(met.last);
        let once = Tally::once(now);
        met.unwritten = Some(met.unwritten.map_or(once, |seen| seen.and(once)));
        true
    }
}

impl Shared {
    /// Writes who was met until now; whether that could be done.
    pub(super) async fn write_callers(&self) -> bool {
        let written = self.flush_callers().await;
        if let Err(error) = &written {
            tracing::warn!(error = chain(error), "who used which secret could not be written; kept for later");
        }
        written.is_ok()
    }

    /// Writes who was met since the last time. What could not be written is gathered again.
    pub(super) async fn flush_callers(&self) -> Result<(), Rejected> {
        // Whoever comes second finds all of the first's written, or given back.
        let _one = self.callers.writing.lock().await;
        let all = self.callers.take(self.clock.now());
        for (at, chunk) in all.chunks(AT_ONCE).enumerate() {
            let trace =
                |one: &Gathered| (Trace { key: one.key, secret: one.secret, what: (*one.what).clone() }, one.seen);
            let seen = chunk.iter().map(trace).collect();
            let written = self.store.record_callers(seen, self.callers.most()).await;
            self.counts.changed(&written);
            if written.is_err() {
                self.callers.give_back(&all[at * AT_ONCE..]);
                return written;
            }
        }
        Ok(())
    }
}

/// A user agent as it is kept: bounded, and nothing in it that a terminal or a table would stumble over.
fn shown(agent: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&agent[..agent.len().min(AGENT)]);
    let mut text: String = text
        .chars()
        .map(|sign| if sign.is_control() || sign == char::REPLACEMENT_CHARACTER { '?' } else { sign })
        .collect();
    if agent.len() > AGENT {
        text.push('…');
    }
    text.into()
}

/// No secret has this number.
const ACCOUNT: i64 = 0;

/// Which of the threads this is.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

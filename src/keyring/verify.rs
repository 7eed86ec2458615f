//! Is this secret a living key, now? From memory where that still counts, from the store where not.
//!
//! ```text
//!  secret -> shape, checksum -> digest -> recall (a living key; no secret at all; one refused) --valid--> judge
//!                                           '--else--> flight (one a digest) -> store -> judge
//! ```
//!
//! The order inside [`Fence::judge`](super::fence::Fence::judge) is what makes a revocation hold, and a new key work: that no
//! key has a secret is recalled by it too, be it from a look-up or from the set of all there are. Trouble of our own is a
//! [`Failure`]: never a refusal, and never remembered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::SemaphorePermit;

use super::cache::{Entry, Shelf};
use super::fence::{Judged, Point};
use super::{Keyring, Shared};
use crate::clock::BootTime;
use crate::key::token::{Shape, shape};
use crate::key::{Digest, Invalid, Refusal, Standing, Verified, is_alive, judge};
use crate::secret::Secret;

/// Why a secret was not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The caller's matter.
    Refused(Refusal),
    /// Ours.
    Failed(Failure),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Denied {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why we could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The store did not answer the question.
    Unavailable,
    /// The store did not answer in time.
    TimedOut,
    /// Too many wait already.
    Overloaded,
    /// The store has not reached the position that was asked for.
    Behind,
}

impl Failure {
    /// The word the log and the metrics use; a closed set, so it may be a label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unavailable => "store_unavailable",
            Self::TimedOut => "store_timeout",
            Self::Overloaded => "store_overloaded",
            Self::Behind => "store_behind",
        }
    }
}

impl Keyring {
    /// Verifies a presented secret. May be called from any runtime; where the answer is remembered it comes at the first
    /// poll, without an allocation.
    ///
    /// # Errors
    /// [`Denied`]: the secret is no living key, or we could not tell.
    pub async fn verify(&self, secret: &Secret) -> Result<Verified, Denied> {
        let shared = &*self.shared;
        let digest = shared.admit(secret)?;
        match shared.recall(&digest, None) {
            Some(verdict) => Ok(verdict?),
            None => Box::pin(self.look_up(digest)).await,
        }
    }

    /// Verifies it by the store alone, as that is from now on: what is remembered may be behind a change that was made and not
    /// followed yet. For who would change what they have just read.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_anew(&self, secret: &Secret) -> Result<Verified, Denied> {
        let digest = self.shared.admit(secret)?;
        self.shared.asked(digest, 0, |_| None).await
    }

    /// Verifies it as of a position of the log, or later: for who has been told of that position, and may be ahead of this
    /// process. Where it is applied here this is [`verify`](Self::verify), else the store alone is asked.
    ///
    /// # Errors
    /// As there; and [`Failure::Behind`] where the store has not reached the position either.
    pub async fn verify_at_least(&self, secret: &Secret, position: u64) -> Result<Verified, Denied> {
        if self.shared.fence.applied() >= position {
            return self.verify(secret).await;
        }
        // Which prefixes were adopted may be behind too.
        possible(secret)?;
        let _turn = self.shared.turn_ahead().await?;
        self.shared.asked(self.shared.digester.digest(secret), position, |_| None).await
    }

    /// As [`verify`](Self::verify), for who forwards a request; where the store does not answer, by what was last read, for as long
    /// as `store.outage` lets replicas go on so: [`Verified::stale`] tells. Never for who manages keys.
    ///
    /// # Errors
    /// As there.
    pub async fn verify_to_forward(&self, secret: &Secret) -> Result<Verified, Denied> {
        let shared = &*self.shared;
        let digest = shared.admit(secret)?;
        match shared.recall(&digest, None) {
            Some(verdict) => Ok(verdict?),
            None => Box::pin(self.look_up_or_recall(digest)).await,
        }
    }

    async fn look_up_or_recall(&self, digest: Digest) -> Result<Verified, Denied> {
        let shared = &self.shared;
        // Nobody waits to be told again that the store does not answer.
        if shared.is_cut_off()
            && let Some(verdict) = shared.recall_stale(&digest)
        {
            return Ok(verdict?);
        }
        match self.look_up(digest).await {
            Err(Denied::Failed(failure)) => Ok(shared.recall_stale(&digest).ok_or(failure)??),
            answer => answer,
        }
    }

    async fn look_up(&self, digest: Digest) -> Result<Verified, Denied> {
        self.shared.counts.misses.fetch_add(1, Ordering::Relaxed);
        self.shared.look_up(digest).await
    }
}

impl Shared {
    /// What a secret is worth of which only the digest is at hand, as for a request that begins now.
    pub(super) async fn present(self: &Arc<Self>, digest: Digest) -> Result<Verified, Denied> {
        match self.recall(&digest, None) {
            Some(verdict) => Ok(verdict?),
            None => self.look_up(digest).await,
        }
    }

    async fn look_up(self: &Arc<Self>, digest: Digest) -> Result<Verified, Denied> {
        // A look-up that was joined may have read before a change that was complete before this request began, so it counts only
        // as a remembered one does.
        self.asked(digest, 0, |began| self.recall(&digest, Some(began))).await
    }

    /// What the store says from now on, as of a position or later; `joined` judges what a look-up brought that was on its way already, by when this began.
    async fn asked(
        self: &Arc<Self>,
        digest: Digest,
        at_least: u64,
        joined: impl Fn(BootTime) -> Option<Result<Verified, Refusal>>,
    ) -> Result<Verified, Denied> {
        // Read once the memory has failed: later than the request's start, so what is asked from here on is fresh for it.
        let began = self.clock.boot();
        let _waiting = self.waiting.try_acquire().map_err(|_| Failure::Overloaded)?;
        for _ in 0..ROUNDS {
            let entry = self.flight(digest).await?;
            // Asked after this request began: it is as good as our own look-up, whatever the fence says.
            if entry.sent >= began && Point::position_of(entry.as_of) < at_least {
                return Err(Failure::Behind.into());
            }
            if entry.sent >= began {
                return Ok(self.decide(&digest, &entry)?);
            }
            if let Some(verdict) = joined(began) {
                return Ok(verdict?);
            }
        }
        Err(Failure::Unavailable.into())
    }

    /// A turn for who names a position that is not applied here. Anybody may name one, with any secret, and has it looked up: so they
    /// share a few of the turns, and all other look-ups have the rest.
    async fn turn_ahead(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let turn = tokio::time::timeout(self.store.load_timeout(), self.ahead.acquire()).await;
        turn.map_err(|_| Failure::TimedOut)?.map_err(|_| Failure::Unavailable)
    }

    /// What can be told of a secret without knowing any key; else its digest.
    fn admit(&self, secret: &Secret) -> Result<Digest, Refusal> {
        possible(secret)?;
        // A wrong checksum is proof only where every secret of that prefix has ours, as far as the log is applied: that counts as
        // any remembered look-up does.
        if let Shape::Ours { prefix, intact: false, .. } = shape(secret.expose())
            && self.fence.counts(|| !self.adopted.load().may_hold(prefix), || self.clock.boot())
        {
            return Err(Refusal::KeyInvalid(Invalid::Malformed));
        }
        Ok(self.digester.digest(secret))
    }

    /// The verdict on what is remembered of a digest, where that counts.
    fn recall(&self, digest: &Digest, began: Option<BootTime>) -> Option<Result<Verified, Refusal>> {
        let Judged { entry, shelf, counts } =
            self.fence.judge(digest, || self.remembered(digest), || self.clock.boot())?;
        if counts || began.is_some_and(|began| entry.sent >= began) {
            self.counts.hit(shelf).fetch_add(1, Ordering::Relaxed);
            return Some(self.decide(digest, &entry));
        }
        // It counts again with the next lease, unless it is void.
        if self.fence.is_void(digest, &entry) {
            self.cache.forget(digest, shelf);
        }
        None
    }

    /// The verdict on a key that is remembered, where that may be used though it should not be believed any more. A revoked key
    /// stays so; any other refusal may have been taken back since, as may be that no key has a secret: that cannot be told.
    #[cold]
    fn recall_stale(&self, digest: &Digest) -> Option<Result<Verified, Refusal>> {
        let shelves = || [Shelf::Live, Shelf::Refused].into_iter().find_map(|shelf| self.cache.get(digest, shelf));
        let judged = self.fence.judge_stale(digest, shelves, || self.clock.boot());
        let Judged { entry, .. } = judged.filter(|judged| judged.counts)?;
        match self.decide(digest, &entry) {
            Ok(verified) => {
                self.counts.stale.fetch_add(1, Ordering::Relaxed);
                Some(Ok(verified.of_old(self.clock.boot().since(self.heard()))))
            }
            Err(refusal @ Refusal::KeyInvalid(Invalid::Revoked)) => Some(Err(refusal)),
            Err(_) => None,
        }
    }

    /// What is remembered of a digest. First whether it is any secret's: an invented one then costs neither a look-up nor a
    /// place, and no cache counts that it was asked for. Then living keys, for they are asked for most.
    #[inline]
    fn remembered(&self, digest: &Digest) -> Option<(Entry, Shelf)> {
        if self.known.lacks(digest) {
            return Some((Entry::UNMADE, Shelf::Unknown));
        }
        [Shelf::Live, Shelf::Refused, Shelf::Unknown].into_iter().find_map(|shelf| self.cache.get(digest, shelf))
    }

    /// The verdict now: time passes for remembered keys too.
    fn decide(&self, digest: &Digest, entry: &Entry) -> Result<Verified, Refusal> {
        match &entry.standing {
            Some(standing) => judge(standing, digest, self.clock.now()),
            None => Err(Refusal::KeyInvalid(Invalid::Unknown)),
        }
    }

    /// Where an entry is kept.
    pub(super) fn shelf(&self, entry: &Entry) -> Shelf {
        match &entry.standing {
            None => Shelf::Unknown,
            Some(standing) if is_alive(standing, self.clock.now()) => Shelf::Live,
            Some(_) => Shelf::Refused,
        }
    }

    /// A look-up's answer as an entry.
    pub(super) fn entry(&self, as_of: u64, sent: BootTime, standing: Option<Standing>) -> Entry {
        let owners = self.fence.owners(standing.as_ref());
        Entry { as_of, sent, standing: standing.map(Arc::new), owners }
    }
}

/// Whether any key could have it for a secret.
fn possible(secret: &Secret) -> Result<(), Refusal> {
    if LENGTHS.contains(&secret.expose().len()) && secret.is_visible() {
        return Ok(());
    }
    Err(Refusal::KeyInvalid(Invalid::Malformed))
}

/// No key is shorter or longer, minted or adopted.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;
/// A look-up joined in the second round began after the request did, so a third is never needed; it is there to be wrong by.
const ROUNDS: usize = 3;

//! A start while the store is away: by what the process before left, until the store answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Left, Place, Snapshot};
use crate::clock::BootTime;
use crate::keyring::Shared;
use crate::keyring::follow::slept;
use crate::store::StoreError;
use crate::store::log::{News, Tail};
use crate::store::replica::ReplicaId;
use crate::telemetry::chain;

/// Before one looks again for a store that was away at the start.
const SOON: Duration = Duration::from_millis(250);
/// Before one tries again to say goodbye for another.
const LATER: Duration = Duration::from_secs(1);

impl Shared {
    /// Goes on with the lease of the process before, from what that left; the store is joined when it answers.
    pub(in crate::keyring) async fn resume(&self, mut left: Left) {
        let Some(membership) = &self.membership else { return };
        let terms = left.lease.terms();
        membership.resume(terms.instance, terms.fence).await;
        self.unseen.store(true, Ordering::Release);
        if let Some((time, asked)) = terms.time {
            self.clock.tell(time, asked);
        }
        // As ever: what changed, and then what was read, and then until when it counts.
        let (applied, stale) = (left.lease.applied, left.stale);
        let tail = Tail { head: applied, news: News::Entries(std::mem::take(&mut left.entries)) };
        self.fence.apply(self.fence.point(), &tail);
        for (digest, as_of, standing) in left.into_keys() {
            let entry = self.entry(as_of, BootTime::from_nanos(0), Some(standing));
            self.cache.warm(digest, entry);
        }
        self.heard.store(terms.heard.as_nanos(), Ordering::Release);
        self.fence.extend(terms.deadline);
        self.fence.extend_stale(stale);
    }

    /// Looks at the replicas for the first time, where there may be others.
    pub(in crate::keyring) async fn look_around(&self) -> Result<(), StoreError> {
        if self.is_shared() {
            let asked = self.clock.boot();
            self.completion.heed(asked, self.replicas().await?, self.clock.boot());
        }
        Ok(())
    }

    /// Has nobody wait for a process of which nothing is left.
    async fn bury(&self, id: &ReplicaId) -> Result<(), StoreError> {
        let all = self.store.replicas().await?;
        if let Some(row) = all.replicas.iter().find(|replica| replica.id == *id) {
            self.store.leave(id, row.incarnation).await?;
            tracing::info!(replica = %id, "the process before this one is gone, and nobody waits for it any longer");
        }
        Ok(())
    }

    /// Finds the store that was away at the start.
    async fn find(&self) -> Result<(), StoreError> {
        if !self.unseen.load(Ordering::Acquire) {
            return Ok(());
        }
        self.store.prepare().await?;
        self.look_around().await?;
        self.unseen.store(false, Ordering::Release);
        tracing::info!("the store answers, and this replica joins the others");
        Ok(())
    }

    /// Has what is remembered from now on written there.
    pub(in crate::keyring) fn keep_snapshot(self: &Arc<Self>, place: Place) {
        if self.membership.is_none() {
            return;
        }
        match Snapshot::start(self, place) {
            Ok(snapshot) => {
                let _ = self.snapshot.set(snapshot);
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "no snapshot is kept: it would have a thread of its own")
            }
        }
    }
}

/// Says goodbye for the process before, once what this one remembers has taken the place of what that one left: so a crash costs
/// nobody a wait where keyward is started again at once.
pub(in crate::keyring) async fn succeed(shared: Arc<Shared>, before: ReplicaId, end: CancellationToken) {
    let succeeded = async {
        let Some(snapshot) = shared.snapshot.get() else { return };
        if before == shared.own.id || !snapshot.in_place().await {
            return;
        }
        while let Err(error) = shared.bury(&before).await {
            tracing::debug!(error = chain(&error), "no goodbye could be said for the process before");
            tokio::time::sleep(LATER).await;
        }
    };
    end.run_until_cancelled(succeeded).await;
}

/// Waits for a store that was away at the start, until told to end.
pub(in crate::keyring) async fn find(shared: &Shared, end: &CancellationToken) {
    let mut told = false;
    while let Err(error) = shared.find().await {
        if !error.is_outage() && !std::mem::replace(&mut told, true) {
            tracing::error!(
                error = chain(&error),
                "the store answers, and cannot be used: this replica ends with its lease"
            );
        }
        if slept(SOON, end).await {
            return;
        }
    }
}

//! Drives the fence against the store: applies what other hands changed, and says when it cannot.
//!
//! On SQLite the lease never expires: the store's lock makes this process the only one that serves from it, so whatever
//! an operator changes through keyward is applied before they are answered, and only an edit by hand needs this loop to be
//! noticed. While the store cannot be read such an edit goes unnoticed, remembered keys go on, and [`Keyring::ready`] says
//! no. On a store that several processes share the lease ends, and [`membership`] drives it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::adopted::Adopted;
use super::fence::Point;
use super::{Keyring, Shared, membership};
use crate::clock::BootTime;
use crate::store::log::{News, Subject};
use crate::store::{StoreError, Tail};
use crate::telemetry::chain;

/// How often the log is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two trims of the log: a minute.
const TRIM: u32 = 1200;
/// A store that could not be read for so long makes the keyring not ready.
const PATIENCE: Duration = Duration::from_secs(2);

impl Keyring {
    /// Whether the store could be read lately.
    #[must_use]
    pub fn hears(&self) -> bool {
        let (shared, now) = (&self.shared, self.shared.clock.boot());
        if shared.store.is_shared() { shared.fence.holds(now) } else { now.since(shared.heard()) < PATIENCE }
    }

    /// Whether requests with remembered keys are let pass: the store could be read lately, or that is done without for a while.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.hears() || self.shared.store.is_shared() && self.shared.fence.serves(self.shared.clock.boot())
    }
}

impl Shared {
    /// The first tail: from here on remembered look-ups count.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        if self.store.is_shared() {
            if let Some(membership) = &self.membership {
                self.join(membership).await?;
            }
            return self.settle_doubt().await;
        }
        let asked = self.fence.point();
        let tail = self.store.tail(0).await?;
        self.fence.flush(tail.head);
        self.hear(asked, &tail);
        self.adopted.store(Arc::new(Adopted::of(self.store.adopted_prefixes().await?)));
        self.fence.extend(BootTime::from_nanos(u64::MAX));
        Ok(())
    }

    /// Applies whatever is new in the log.
    pub(super) async fn follow_once(&self) -> Result<(), StoreError> {
        if let Some(membership) = &self.membership {
            self.look_now(membership).await?;
        } else if !self.store.is_shared() {
            let asked = self.fence.point();
            let tail = self.store.tail(asked.position()).await?;
            self.hear(asked, &tail);
        }
        self.settle_doubt().await
    }

    /// Reads which prefixes there are, where that is in doubt.
    pub(super) async fn settle_doubt(&self) -> Result<(), StoreError> {
        let doubt = self.adopted.load_full();
        if matches!(*doubt, Adopted::Unsure) {
            let prefixes = self.store.adopted_prefixes().await?;
            // A newer doubt stays: it came after this reading, perhaps.
            self.adopted.compare_and_swap(&doubt, Arc::new(Adopted::of(prefixes)));
        }
        Ok(())
    }

    /// When the store last answered what is new, in boot time.
    pub(super) fn heard(&self) -> BootTime {
        BootTime::from_nanos(self.heard.load(Ordering::Acquire))
    }

    /// What follows the log beside the fence takes in what it tells. Before the log counts as applied: whoever sees the change
    /// applied sees the new secrets known and the prefixes in doubt.
    pub(super) fn take_note(&self, news: &News) {
        self.known.hear(news);
        if touches_prefixes(news) {
            self.adopted.store(Arc::new(Adopted::Unsure));
        }
    }

    /// Trims what is old.
    pub(super) async fn trim(&self) {
        let trimmed = self.store.trim(self.clock.now()).await;
        self.counts.changed(&trimmed);
        if let Err(error) = trimmed {
            tracing::warn!(error = chain(&error), "the log could not be trimmed");
        }
        self.trim_audit().await;
    }

    fn hear(&self, asked: Point, tail: &Tail) {
        if matches!(tail.news, News::WentBack) && !self.went_back.swap(true, Ordering::Relaxed) {
            tracing::error!(
                store = %self.store.path().display(),
                "the store went back in time, as if an older copy replaced it: every request is looked up until keyward is restarted"
            );
        }
        self.take_note(&tail.news);
        self.fence.apply(asked, tail);
        self.open.hear(&tail.news);
        self.heard.store(self.clock.boot().as_nanos(), Ordering::Release);
    }
}

/// Follows the log until told to end.
pub(super) async fn follow(shared: Arc<Shared>, end: CancellationToken) {
    if let Some(membership) = &shared.membership {
        let following = membership::follow(&shared, membership, &end);
        let listening = membership::listen(&shared, membership, &end);
        let announcing = membership::announce(&shared, membership, &end);
        tokio::join!(following, listening, announcing);
    } else if !shared.store.is_shared() {
        follow_alone(&shared, &end).await;
    }
}

/// Follows the log of a store that nobody else serves from.
async fn follow_alone(shared: &Shared, end: &CancellationToken) {
    let mut failing = false;
    let mut ticks = 0;
    while !slept(TICK, end).await {
        match shared.follow_once().await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the store can be read again");
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = chain(&error), "the store cannot be read: keys not yet remembered fail");
            }
            Ok(()) | Err(_) => {}
        }
        ticks = (ticks + 1) % TRIM;
        if ticks == 0 {
            shared.trim().await;
        }
    }
}

/// Sleeps; whether it was told to end meanwhile.
pub(super) async fn slept(span: Duration, end: &CancellationToken) -> bool {
    tokio::time::timeout(span, end.cancelled()).await.is_ok()
}

fn touches_prefixes(news: &News) -> bool {
    match news {
        News::Entries(all) => all.iter().any(|entry| matches!(entry.subject, Subject::Prefixes | Subject::Everything)),
        News::Gone | News::WentBack => true,
    }
}

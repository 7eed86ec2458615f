//! Drives the fence against the store: applies what other hands changed, and says when it cannot.
//!
//! On SQLite the lease never expires: the store's lock makes this process the only one that serves from it, so whatever
//! an operator changes through keyward is applied before they are answered, and only an edit by hand needs this loop to be
//! noticed. While the store cannot be read such an edit goes unnoticed, remembered keys go on, and [`Keyring::ready`] says
//! no. A store that several processes share only has to set the deadline here, from the time each tail was sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::adopted::Adopted;
use super::fence::Point;
use super::{Keyring, Shared};
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
    pub fn ready(&self) -> bool {
        let last = BootTime::from_nanos(self.shared.heard.load(Ordering::Acquire));
        self.shared.clock.boot().since(last) < PATIENCE
    }
}

impl Shared {
    /// The first tail: from here on remembered look-ups count.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
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
        let asked = self.fence.point();
        let tail = self.store.tail(asked.position()).await?;
        self.hear(asked, &tail);
        let doubt = self.adopted.load_full();
        if matches!(*doubt, Adopted::Unsure) {
            let prefixes = self.store.adopted_prefixes().await?;
            // A newer doubt stays: it came after this reading, perhaps.
            self.adopted.compare_and_swap(&doubt, Arc::new(Adopted::of(prefixes)));
        }
        Ok(())
    }

    fn hear(&self, asked: Point, tail: &Tail) {
        if matches!(tail.news, News::WentBack) && !self.went_back.swap(true, Ordering::Relaxed) {
            tracing::error!(
                store = %self.store.path().display(),
                "the store went back in time, as if an older copy replaced it: every request is looked up until keyward is restarted"
            );
        }
        // Before the log counts as applied: whoever sees the change applied sees the new secrets known and the prefixes in
        // doubt.
        self.known.hear(&tail.news);
        if touches_prefixes(&tail.news) {
            self.adopted.store(Arc::new(Adopted::Unsure));
        }
        self.fence.apply(asked, tail);
        self.heard.store(self.clock.boot().as_nanos(), Ordering::Release);
    }
}

/// Follows the log until told to end.
pub(super) async fn follow(shared: Arc<Shared>, end: CancellationToken) {
    let mut failing = false;
    let mut ticks = 0;
    while !slept(TICK, &end).await {
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
            let trimmed = shared.store.trim(shared.clock.now()).await;
            shared.counts.changed(&trimmed);
            if let Err(error) = trimmed {
                tracing::warn!(error = chain(&error), "the log could not be trimmed");
            }
            shared.trim_audit().await;
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

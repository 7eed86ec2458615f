//! Keys whose use goes on after a request was judged: a tunnel, a long answer, a long upload. Whoever has one open holds a
//! [`Vigil`], and is told what became of the key.
//!
//! ```text
//!  log applied -> fence raised --look--> which vigils stand on a stripe that changed? --judge again--> news, and the bell
//!                                        (all, where all is void)        as for a request: memory while it counts, else the store
//! ```
//!
//! Nothing is asked of the store for who is not touched, and no request pays for it: the look is the control runtime's. What time
//! alone ends is no news, and is judged by who holds the vigil ([`Keyring::still`]); since when nobody could tell, too.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::fence::Owners;
use super::{Denied, Keyring, Shared};
use crate::clock::BootTime;
use crate::key::{Digest, Refusal, Verified, judge};
use crate::store::log::News;

/// Every vigil of the process.
#[derive(Debug, Default)]
pub(super) struct Open {
    all: Mutex<Vec<Arc<Seen>>>,
    look: Notify,
}

/// One key that is in use for long.
pub struct Vigil {
    shared: Arc<Shared>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    digest: Digest,
    /// Rung when there is news.
    bell: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is known of it takes in the log up to here, a fence's point.
    as_of: u64,
    owners: Owners,
    /// Something about it changed after that, and it is not known what.
    doubted: Option<BootTime>,
    asked: BootTime,
    news: Option<Result<Verified, Refusal>>,
}

impl Keyring {
    /// Keeps a vigil over a key. Its first news is what the key is worth now, which may be less than when it was verified. `bell` is
    /// rung when there is any, from another thread.
    #[must_use]
    pub fn vigil(&self, verified: &Verified, bell: Arc<Notify>) -> Vigil {
        let (shared, now) = (&self.shared, self.shared.clock.boot());
        let owners = shared.fence.owners(Some(verified.standing()));
        let state = State { as_of: 0, owners, doubted: Some(now), asked: BootTime::from_nanos(0), news: None };
        let seen = Arc::new(Seen { digest: *verified.digest(), bell, state: Mutex::new(state) });
        shared.open.all().push(Arc::clone(&seen));
        shared.open.look.notify_one();
        Vigil { shared: Arc::clone(shared), seen }
    }

    /// What a key that was verified before is worth now, as far as time goes.
    ///
    /// # Errors
    /// What ended meanwhile: its life, or the grace of its secret.
    pub fn still(&self, verified: &Verified) -> Result<Verified, Refusal> {
        judge(verified.shared_standing(), verified.digest(), self.shared.clock.now())
    }

    /// Since when nothing can be told of any key; none where it can.
    #[must_use]
    pub fn silent_since(&self) -> Option<BootTime> {
        (!self.ready()).then(|| self.shared.heard())
    }

    /// How many keep a vigil.
    #[must_use]
    pub fn vigils(&self) -> usize {
        self.shared.open.all().len()
    }
}

impl Vigil {
    /// What became of the key since this was asked last.
    #[must_use]
    pub fn news(&self) -> Option<Result<Verified, Refusal>> {
        self.seen.state().news.take()
    }

    /// Since when it is not known what became of it, where something did.
    #[must_use]
    pub fn doubted_since(&self) -> Option<BootTime> {
        self.seen.state().doubted
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        let mut all = self.shared.open.all();
        if let Some(at) = all.iter().position(|seen| Arc::ptr_eq(seen, &self.seen)) {
            all.swap_remove(at);
        }
    }
}

impl std::fmt::Debug for Vigil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Vigil").field(&self.seen).finish()
    }
}

impl Open {
    /// The log tells this, and the fence has it.
    pub(super) fn hear(&self, news: &News) {
        if !matches!(news, News::Entries(entries) if entries.is_empty()) {
            self.look();
        }
    }

    /// Has whoever is touched judged again.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Seen>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whom something new touches, and who was not told yet; the newest doubts first, at most [`AT_ONCE`] of them.
    fn doubted(&self) -> Vec<Arc<Seen>> {
        let now = self.clock.boot();
        // After that everything is void for good, and whoever is judged would be judged again at once.
        let pause = if self.went_back.load(Ordering::Relaxed) { LONG_PAUSE } else { Duration::ZERO };
        let mut doubted: Vec<_> = self
            .open
            .all()
            .iter()
            .filter_map(|seen| {
                let mut state = seen.state();
                let touched = self.fence.changed(&seen.digest, &state.owners) > state.as_of;
                if state.doubted.is_none() && touched && now.since(state.asked) >= pause {
                    state.doubted = Some(now);
                }
                Some((state.doubted?, Arc::clone(seen)))
            })
            .collect();
        doubted.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        doubted.into_iter().take(AT_ONCE).map(|(_, seen)| seen).collect()
    }

    /// Judges one again; whether that could be told.
    async fn judge_again(self: Arc<Self>, seen: Arc<Seen>) -> bool {
        // Before it is asked: whatever is applied from here on touches it anew.
        let point = self.fence.point();
        let (as_of, now) = (point.at(point.position()), self.clock.boot());
        let news = match self.present(seen.digest).await {
            Ok(verified) => Ok(verified),
            Err(Denied::Refused(refusal)) => Err(refusal),
            Err(Denied::Failed(_)) => return false,
        };
        let mut state = seen.state();
        if let Ok(verified) = &news {
            state.owners = self.fence.owners(Some(verified.standing()));
        }
        (state.as_of, state.asked, state.doubted, state.news) = (as_of, now, None, Some(news));
        drop(state);
        seen.bell.notify_one();
        true
    }
}

/// Judges again whoever is touched by what is applied, until told to end.
pub(super) async fn watch_over(shared: Arc<Shared>, end: CancellationToken) {
    let mut pause = LONG_PAUSE;
    loop {
        tokio::select! {
            () = shared.open.look.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = end.cancelled() => return,
        }
        let doubted = shared.doubted();
        let (asked, mut told, mut under_way) = (doubted.len(), 0, JoinSet::new());
        for seen in doubted {
            if under_way.len() >= TOGETHER {
                told += usize::from(matches!(under_way.join_next().await, Some(Ok(true))));
            }
            under_way.spawn_on(Arc::clone(&shared).judge_again(seen), &shared.control);
        }
        while let Some(judged) = under_way.join_next().await {
            told += usize::from(matches!(judged, Ok(true)));
        }
        if asked == AT_ONCE && told > 0 {
            shared.open.look();
        }
        pause = if told < asked { RETRY } else { LONG_PAUSE };
    }
}

/// So many are judged at one time: each may be a look-up in the store, where requests have theirs.
const TOGETHER: usize = 16;
/// And so many before it is looked who is touched by now.
const AT_ONCE: usize = 1024;
/// Whoever could not be judged is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// Also without a word, as after a store that went back in time.
const LONG_PAUSE: Duration = Duration::from_secs(5);

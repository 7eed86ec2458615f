//! Drives this process's membership of a shared store: asks what [`Member`] wants asked, and feeds it the answers.
//!
//! ```text
//!  tick, notice, own change --> Member::next --> Store --> answer --> Fence --> Member::next --> … --> rest
//! ```
//!
//! Everything that makes it true is in [`fence`](super::fence), without I/O. Here nothing may be wrong but late: a question that is
//! not answered in time is given up, and the lease goes on running out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::adopted::Adopted;
use super::fence::lapse;
use super::fence::member::{Member, Next, Renewed};
use super::follow::slept;
use super::snapshot::{self, Lease, Terms, resume};
use super::{Keyring, Shared};
use crate::clock::{BootTime, Timestamp};
use crate::measure::Span;
use crate::store::StoreError;
use crate::store::log::{Entry, News};
use crate::store::replica::{Instance, Registration};
use crate::telemetry::chain;

/// This process among those that serve from the store.
#[derive(Debug)]
pub(super) struct Membership {
    member: Mutex<Member>,
    /// Rung when there may be something new.
    bell: Notify,
    /// Rung when others should look, too.
    news: Notify,
    /// The store did not answer when it was last asked.
    cut_off: AtomicBool,
    /// It was said that the store lets nobody serve for as long as this process was told to.
    curtailed: AtomicBool,
}

impl Membership {
    /// Goes on from what a process before was told, and knows that the store does not answer.
    pub(super) async fn resume(&self, instance: Instance, fence: Duration) {
        self.member.lock().await.resume(instance, fence);
        self.cut_off.store(true, Ordering::Release);
    }

    pub(super) fn new() -> Self {
        Self {
            member: Mutex::new(Member::new()),
            bell: Notify::new(),
            news: Notify::new(),
            cut_off: AtomicBool::new(false),
            curtailed: AtomicBool::new(false),
        }
    }
}

/// Notices to others go out so often at the most; what comes in between goes out together.
const NOTICES: Duration = Duration::from_millis(10);
/// Before one tries again to set the fence.
const AGAIN: Duration = Duration::from_secs(1);
/// Before one tries again to hear notices.
const DEAF: Duration = Duration::from_secs(1);

impl Shared {
    /// Asks whatever is to be asked now, and until when then nothing is. What an error leaves behind is asked again after a rest.
    async fn keep_up(&self, membership: &Membership) -> Result<BootTime, StoreError> {
        let mut member = membership.member.lock().await;
        self.step(&mut member).await
    }

    /// The same, and what is new is asked for in any case.
    pub(super) async fn look_now(&self, membership: &Membership) -> Result<(), StoreError> {
        let mut member = membership.member.lock().await;
        member.wake();
        self.step(&mut member).await.map(drop)
    }

    /// Until the first lease: registered, and up to date.
    pub(super) async fn join(&self, membership: &Membership) -> Result<(), StoreError> {
        loop {
            let rest = self.keep_up(membership).await?;
            let now = self.clock.boot();
            if self.fence.holds(now) {
                return Ok(());
            }
            tokio::time::sleep(rest.since(now)).await;
        }
    }

    /// Has an answer that is taken in written, with the lease it brought.
    fn write_down(&self, member: &Member, entries: Vec<Entry>, time: Option<(Timestamp, BootTime)>) {
        let Some((snapshot, (instance, fence))) = self.snapshot.get().zip(member.told()) else { return };
        let (deadline, stale, heard) = (self.fence.deadline(), self.fence.stale(), self.heard());
        let (point, terms) = (self.fence.point(), Terms { deadline, stale, heard, time, instance, fence });
        snapshot.applied(point, entries, Lease::new(point.position(), terms));
    }

    /// Whether what is applied is written down, where it must be: a process that starts by that later must lack nothing that was
    /// acknowledged.
    async fn is_written_down(&self) -> bool {
        match self.snapshot.get() {
            Some(snapshot) => snapshot.settled(self.fence.point()).await,
            None => true,
        }
    }

    /// Says goodbye, so that nobody waits for this process. Only once no request is taken in any more.
    pub(super) async fn leave(&self) {
        let Some(membership) = &self.membership else { return };
        if let Some(snapshot) = self.snapshot.get() {
            // Who said goodbye is not waited for, and nor is then who would start by what it left.
            let stays = self.store.ping().await.is_err();
            let ended = snapshot.end(stays).await;
            if stays || !ended {
                tracing::info!(
                    "this replica says no goodbye, since its snapshot stays: a change may have to wait for it once"
                );
                return;
            }
        }
        let mut member = membership.member.lock().await;
        member.leave();
        if let Err(error) = self.step(&mut member).await {
            tracing::info!(
                error = chain(&error),
                "this replica could not say goodbye; a change may have to wait for it once"
            );
        }
    }

    /// Whether the store did not answer when it was last asked.
    pub(super) fn is_cut_off(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.cut_off.load(Ordering::Acquire))
    }

    /// Has all replicas count what they read for so long, and this one serve for `stale` beyond that. Where that is shorter than
    /// before, the change is whole once nothing counts any more that was read until now.
    async fn agree(&self, fence: Duration, stale: Duration) -> Result<(), StoreError> {
        let shortened = self.store.set_fence(fence, stale).await?;
        // Only now that it is written does whoever waits for changes wait for that.
        if let Some(membership) = &self.membership {
            membership.member.lock().await.outlast(stale);
        }
        if let Some(shortened) = shortened {
            tokio::time::sleep(lapse(shortened.before)).await;
            self.store.end_shortening(shortened).await?;
        }
        Ok(())
    }

    /// Says once that another replica's settings are in force.
    fn tell_stale(&self, own: Duration, told: Duration) {
        let Some(membership) = &self.membership else { return };
        if told < own && !membership.curtailed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                own = %Span(own), store = %Span(told),
                "another replica has said another `store.outage`: while the database is away this one serves by what it \
                 remembers for no longer than the store says. Say the same for all"
            );
        }
    }

    async fn step(&self, member: &mut Member) -> Result<BootTime, StoreError> {
        loop {
            let (now, random) = (self.clock.boot(), getrandom::u64().map_err(|_| StoreError::NoEntropy)?);
            match member.next(&self.fence, now, random) {
                Next::Register(asked) => {
                    let registration = Registration {
                        id: self.own.id.clone(),
                        incarnation: asked.incarnation(),
                        node: self.own.node.clone(),
                        version: self.own.version.clone(),
                    };
                    in_time(asked.timeout(), self.store.register(registration, asked.timeout())).await?;
                    member.registered(asked);
                }
                Next::Renew(asked) => {
                    let renewal = self.store.renew(&self.own.id, asked.incarnation(), asked.after(), asked.timeout());
                    let renewal = in_time(asked.timeout(), renewal).await?;
                    let back = matches!(renewal.tail.news, News::WentBack);
                    let longest = renewal.fence.saturating_add(renewal.stale);
                    self.completion.met(&renewal.instance, back, longest, self.clock.boot());
                    member.connected(self.store.connected());
                    let time = renewal.time.map(|time| (time, now));
                    if let Some((time, now)) = time {
                        self.clock.tell(time, now);
                    }
                    self.tell_stale(member.stale(), renewal.stale);
                    match member.renewed(&self.fence, asked, renewal) {
                        Renewed::News(news) => {
                            self.take_note(&news.tail().news);
                            let entries = self.snapshot.get().map(|_| snapshot::told(news.tail()));
                            let quiet = matches!(&news.tail().news, News::Entries(entries) if entries.is_empty());
                            member.took(news.apply(&self.fence).extend(&self.fence));
                            if !quiet {
                                self.open.look();
                            }
                            self.heard.store(self.clock.boot().as_nanos(), Ordering::Release);
                            self.write_down(member, entries.unwrap_or_default(), time);
                        }
                        Renewed::Turned => {
                            if let Some(snapshot) = self.snapshot.get() {
                                snapshot.turned();
                            }
                            self.known.void();
                            self.open.look();
                            self.adopted.store(Arc::new(Adopted::Unsure));
                            tracing::warn!(
                                store = %self.store.path().display(),
                                "another database answers, or one that was set back: everything that was read is read anew. \
                                 What it lost by that, if anything, nobody here can know: compare with the audit log"
                            );
                        }
                        Renewed::Unlisted => tracing::info!("this replica was taken for dead, and registers anew"),
                    }
                }
                // Where it is not, the next renewal tries again.
                Next::Acknowledge(_) if !self.is_written_down().await => {}
                Next::Acknowledge(asked) => {
                    let (incarnation, applied) = (asked.incarnation(), asked.applied());
                    let live = self.store.acknowledge(&self.own.id, incarnation, applied).await?;
                    member.acknowledged(asked, live);
                }
                Next::Leave(incarnation) => self.store.leave(&self.own.id, incarnation).await?,
                Next::Rest(until) => return Ok(until),
                Next::Left => return Ok(BootTime::from_nanos(u64::MAX)),
            }
        }
    }

    /// Has others look at the log soon.
    pub(super) async fn tell_others(&self) {
        match &self.membership {
            Some(membership) => membership.news.notify_one(),
            None => self.store.wake_others().await,
        }
    }
}

impl Keyring {
    /// Has all replicas of a shared store count what they read for so long, and serve for `stale` beyond that. As soon as the store
    /// takes it: until then its own stays in force.
    pub fn set_fence(&self, fence: Duration, stale: Duration) {
        let (shared, end) = (Arc::clone(&self.shared), self.end.token().clone());
        self.shared.control.spawn(async move {
            let mut told = false;
            while let Err(error) = shared.agree(fence, stale).await {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(error = chain(&error), "the fence could not be set yet; the store's stays in force");
                }
                if slept(AGAIN, &end).await {
                    return;
                }
            }
        });
    }
}

/// Keeps up until told to end.
pub(super) async fn follow(shared: &Shared, membership: &Membership, end: &CancellationToken) {
    let mut minute = shared.clock.boot();
    let mut failed = None;
    resume::find(shared, end).await;
    membership.cut_off.store(false, Ordering::Release);
    loop {
        let began = shared.clock.boot();
        let rest = match shared.keep_up(membership).await {
            Ok(until) => until.since(shared.clock.boot()),
            Err(error) => {
                membership.cut_off.store(true, Ordering::Release);
                if failed.is_none() {
                    tracing::warn!(error = chain(&error), "the store cannot be read: keys not yet remembered fail");
                    failed = Some(shared.heard());
                }
                Duration::ZERO
            }
        };
        // That nothing is to be asked now is no answer.
        if failed.is_some_and(|before| shared.heard() > before) {
            failed = None;
            membership.cut_off.store(false, Ordering::Release);
            tracing::info!("the store can be read again");
        }
        if let Err(error) = shared.settle_doubt().await {
            tracing::debug!(error = chain(&error), "the prefixes of adopted secrets could not be read");
        }
        if shared.clock.boot().since(minute) >= MINUTE {
            minute = shared.clock.boot();
            shared.trim().await;
        }
        tokio::select! {
            () = membership.bell.notified() => {
                // Anybody may ring it, as often as they like.
                if slept(HEARD.saturating_sub(shared.clock.boot().since(began)), end).await {
                    return;
                }
                membership.member.lock().await.wake();
            }
            ended = slept(rest.max(PAUSE), end) => if ended { return },
        }
    }
}

/// Between two looks at what is to be asked, at the least.
const PAUSE: Duration = Duration::from_millis(1);
/// Notices are followed so often at the most; what comes in between is followed together.
const HEARD: Duration = Duration::from_millis(5);
const MINUTE: Duration = Duration::from_secs(60);

/// Listens for others' notices until told to end.
pub(super) async fn listen(shared: &Shared, membership: &Membership, end: &CancellationToken) {
    let mut deaf = false;
    if let Ok(false) = shared.store.hears().await {
        tracing::warn!(
            "notices of changes do not come back, as behind a pooler of transactions: the log is looked at twice a second. \
             store.listen_url may lead past the pooler"
        );
    }
    loop {
        let heard = tokio::select! {
            heard = shared.store.woken() => heard,
            () = end.cancelled() => return,
        };
        match heard {
            Ok(()) => {
                deaf = false;
                membership.bell.notify_one();
            }
            Err(error) => {
                if !std::mem::replace(&mut deaf, true) {
                    tracing::warn!(error = chain(&error), "changes are not heard at once, but within half a second");
                }
                if slept(DEAF, end).await {
                    return;
                }
            }
        }
    }
}

/// Tells others of changes made here until told to end.
pub(super) async fn announce(shared: &Shared, membership: &Membership, end: &CancellationToken) {
    loop {
        tokio::select! {
            () = membership.news.notified() => shared.store.wake_others().await,
            () = end.cancelled() => return,
        }
        if slept(NOTICES, end).await {
            return;
        }
    }
}

/// The store keeps to the limit itself, once it is connected; and it may have to connect first, or again.
async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(limit * 3, answer).await.unwrap_or(Err(StoreError::TimedOut))
}

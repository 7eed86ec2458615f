//! What a connection rings when something happens to it.
//!
//! Whoever polls a connection would leave its own waker in three places inside: the socket and two channels of hyper's.
//! So a connection has a waker of its own, for life. Three things come of that:
//!
//! - The channels wake the task that is polling them at this moment, so that each exchange with an origin would run its
//!   whole task twice more for nothing. A bell that rings from within a poll asks for another round of that poll instead.
//! - A kept connection changes hands without being polled: rung from outside, the bell wakes whoever listens by now, and
//!   one that did not ring says that nothing happened.
//! - hyper asks a socket for more several times in one poll. A socket that had nothing has nothing until the bell rings, so
//!   it need not be asked again (see [`Silence`]).

#[cfg(all(test, feature = "model"))]
mod model;

use std::sync::{Arc, PoisonError};
#[cfg(not(all(test, feature = "model")))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU64, Ordering},
};
use std::task::{Context, Poll, Wake, Waker};

#[cfg(all(test, feature = "model"))]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

/// One connection's bell.
#[derive(Clone, Debug)]
pub struct Bell {
    shared: Arc<Shared>,
    waker: Waker,
}

/// Nearly all of it happens on one thread; but a look-up in the store is answered by another, which rings too. That it rang
/// and that it is attended stand in one place, so that a ring is either seen by who attends or sees that nobody does: of two
/// places, each side could read the other's older value.
#[derive(Debug, Default)]
struct Shared {
    /// [`RUNG`] and [`ATTENDED`].
    state: AtomicU8,
    /// How often it has rung.
    rings: AtomicU64,
    listener: Mutex<Option<Waker>>,
}

/// It rang since it was last polled.
const RUNG: u8 = 1;
/// Somebody is polling, and looks whether it rang before it rests.
const ATTENDED: u8 = 2;

impl Bell {
    /// A bell that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Polls with this bell as the waker, again where it rings meanwhile, at most `rounds` times; then it rings for `cx`.
    /// More than one round is for what cannot keep itself busy: hyper gives way to other tasks by ringing.
    pub fn attend<T>(
        &self,
        cx: &Context<'_>,
        rounds: usize,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let shared = &*self.shared;
        let mut own = Context::from_waker(&self.waker);
        let mut left = rounds;
        let polled = loop {
            // What was done before a ring is seen by the poll that follows it.
            shared.state.swap(ATTENDED, Ordering::AcqRel);
            let polled = poll(&mut own);
            left = left.saturating_sub(1);
            if polled.is_ready() || left == 0 || !self.has_rung() {
                break polled;
            }
        };
        if polled.is_pending() {
            shared.listen(cx.waker());
        }
        // What rang by now was seen to, wakes, or does not matter any more.
        let rang = shared.state.swap(0, Ordering::AcqRel) & RUNG != 0;
        if polled.is_pending() && rang {
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Whether who polls with this context attends this bell.
    pub(super) fn is_attended_by(&self, cx: &Context<'_>) -> bool {
        cx.waker().will_wake(&self.waker)
    }

    /// Wakes whoever listens.
    pub fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// Nobody is woken any more, and it is not forgotten that it rang.
    pub fn rest(&self) {
        *self.shared.listener() = None;
    }

    /// Whether it rang since the last poll, asked while it is attended; else since that ended, for what rang before was seen to
    /// or did not matter.
    #[must_use]
    pub fn has_rung(&self) -> bool {
        self.shared.state.load(Ordering::Relaxed) & RUNG != 0
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

/// A socket under a bell, and when it last had nothing to read.
#[derive(Debug)]
pub struct Silence {
    bell: Bell,
    since: Option<u64>,
}

impl Silence {
    /// Of a socket whose connection has this bell.
    #[must_use]
    pub const fn under(bell: Bell) -> Self {
        Self { bell, since: None }
    }

    /// Asks by `read`, unless it would be told again that there is nothing.
    pub fn or_ask<T>(&mut self, cx: &mut Context<'_>, read: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        // Read first: a ring during the read, such as the runtime's when a task has had its share, is news.
        let now = self.bell.shared.rings.load(Ordering::Relaxed);
        // For anybody else the runtime rings no bell.
        let ours = self.bell.is_attended_by(cx);
        if ours && self.since == Some(now) {
            return Poll::Pending;
        }
        let read = read(cx);
        self.since = (ours && read.is_pending()).then_some(now);
        read
    }
}

impl Shared {
    fn listener(&self) -> MutexGuard<'_, Option<Waker>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, waker: &Waker) {
        let mut listener = self.listener();
        if !listener.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *listener = Some(waker.clone());
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        let before = self.state.fetch_or(RUNG, Ordering::AcqRel);
        if before & ATTENDED == 0
            && let Some(listener) = &*self.listener()
        {
            listener.wake_by_ref();
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn rung_from_within_it_polls_again_and_wakes_nobody() {
        let (bell, (woken, waker)) = (Bell::new(), task());
        let mut rounds = 0;
        let polled = bell.attend(&Context::from_waker(&waker), 4, |cx| {
            rounds += 1;
            if rounds < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((rounds, woken.0.load(Ordering::Relaxed), bell.has_rung()), (3, 0, false));
    }

    #[test]
    fn rung_from_outside_it_wakes_who_attended_last() {
        let (bell, (first, one), (second, two)) = (Bell::new(), task(), task());
        let mut inner = None;
        for waker in [&one, &two] {
            let polled = bell.attend(&Context::from_waker(waker), 4, |cx| {
                inner = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
        }
        inner.take().unwrap().wake();
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
        assert!(bell.has_rung());
    }

    #[test]
    fn at_rest_it_wakes_nobody_and_remembers() {
        let (bell, (woken, waker)) = (Bell::new(), task());
        let mut inner = None;
        let polled = bell.attend(&Context::from_waker(&waker), 4, |cx| {
            inner = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        bell.rest();
        inner.take().unwrap().wake();
        assert_eq!((woken.0.load(Ordering::Relaxed), bell.has_rung()), (0, true));
    }

    #[test]
    fn who_never_stops_ringing_gives_way_to_other_tasks() {
        let (bell, (woken, waker)) = (Bell::new(), task());
        let mut rounds = 0;
        let polled = bell.attend(&Context::from_waker(&waker), 2, |cx| {
            rounds += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((rounds, woken.0.load(Ordering::Relaxed)), (2, 1));
    }

    /// Whether the socket was really asked, which had nothing, and rang meanwhile or not.
    fn asked(silence: &mut Silence, cx: &mut Context<'_>, rings: bool) -> bool {
        let bell = silence.bell.clone();
        let mut asked = false;
        let polled = silence.or_ask(cx, |_| {
            asked = true;
            if rings {
                bell.ring();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        asked
    }

    #[test]
    fn a_silence_lasts_until_the_bell_rings() {
        let (bell, (_, waker)) = (Bell::new(), task());
        let mut silence = Silence::under(bell.clone());
        let attended = |silence: &mut Silence, rings| {
            let asked = bell.attend(&Context::from_waker(&waker), 1, |cx| Poll::Ready(asked(silence, cx, rings)));
            matches!(asked, Poll::Ready(true))
        };
        assert!(attended(&mut silence, false) && !attended(&mut silence, false));
        bell.ring();
        assert!(attended(&mut silence, true), "it rang since");
        assert!(attended(&mut silence, false), "it rang while it was asked");
        assert!(!attended(&mut silence, false));
        assert!(asked(&mut silence, &mut Context::from_waker(&waker), false), "somebody else waits");
        assert!(attended(&mut silence, false), "and of them this bell knows nothing");
    }
}

//! What a kept connection rings when something happens to it.
//!
//! Whoever polls a connection would leave its own waker in three places inside: the socket and two channels of hyper's.
//! Two things follow. The channels wake the task that is polling them at this moment, so that each exchange would run its
//! whole task twice more for nothing; and the next user has to poll the connection only to take the places over. So the
//! connection has a waker of its own, for life: rung from within a poll it asks for another round of that poll; rung from
//! outside it wakes the listener, whoever that is by now; and a bell that did not ring says that nothing happened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// One connection's bell.
#[derive(Debug)]
pub(super) struct Bell {
    shared: Arc<Shared>,
    waker: Waker,
}

/// A waker may be sent anywhere, so this is made for it; in fact all of it happens on one thread.
#[derive(Debug, Default)]
struct Shared {
    rung: AtomicBool,
    /// Somebody is polling, and looks at `rung` before it rests.
    attended: AtomicBool,
    listener: Mutex<Option<Waker>>,
}

impl Bell {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Polls with this bell as the waker, again for as long as it rings meanwhile; then it rings for `cx`.
    pub(super) fn attend<T>(&self, cx: &Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let shared = &*self.shared;
        shared.attended.store(true, Ordering::Relaxed);
        let mut own = Context::from_waker(&self.waker);
        let polled = loop {
            shared.rung.store(false, Ordering::Relaxed);
            let polled = poll(&mut own);
            if polled.is_ready() || !shared.rung.load(Ordering::Relaxed) {
                break polled;
            }
        };
        shared.attended.store(false, Ordering::Relaxed);
        if polled.is_pending() {
            shared.listen(cx.waker());
        }
        polled
    }

    /// Nobody is woken any more, and it is not forgotten that it rang.
    pub(super) fn rest(&self) {
        *self.shared.listener() = None;
    }

    /// Whether it rang since it was last attended.
    pub(super) fn has_rung(&self) -> bool {
        self.shared.rung.load(Ordering::Relaxed)
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
        self.rung.store(true, Ordering::Relaxed);
        if !self.attended.load(Ordering::Relaxed)
            && let Some(listener) = &*self.listener()
        {
            listener.wake_by_ref();
        }
    }
}

#[cfg(test)]
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
        let polled = bell.attend(&Context::from_waker(&waker), |cx| {
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
            let polled = bell.attend(&Context::from_waker(waker), |cx| {
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
        let polled = bell.attend(&Context::from_waker(&waker), |cx| {
            inner = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        bell.rest();
        inner.take().unwrap().wake();
        assert_eq!((woken.0.load(Ordering::Relaxed), bell.has_rung()), (0, true));
    }
}

//! How many of something a face may have at one time, all workers together, which a reload may change.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// The number, and what is left of it; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Open {
    left: Arc<Semaphore>,
    allowed: Arc<Mutex<usize>>,
}

impl Open {
    pub(super) fn new(allowed: usize) -> Self {
        let allowed = allowed.min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(allowed)), allowed: Arc::new(Mutex::new(allowed)) }
    }

    /// What is left of them.
    pub(super) fn left(&self) -> &Arc<Semaphore> {
        &self.left
    }

    /// Allows so many from now on; every worker may say the same. Where more are open, none is let in until they have
    /// become fewer: what this returns has then to be waited for.
    pub(super) fn allow(&self, wanted: usize) -> Option<Fewer> {
        let wanted = wanted.min(Semaphore::MAX_PERMITS);
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *allowed, wanted);
        if wanted >= before {
            self.left.add_permits(wanted - before);
            return None;
        }
        let owed = before - wanted - self.left.forget_permits(before - wanted);
        let (left, owed) = (Arc::clone(&self.left), u32::try_from(owed).unwrap_or(u32::MAX));
        (owed > 0).then_some(Fewer { left, owed })
    }
}

/// So many too many are there.
#[derive(Debug)]
pub(super) struct Fewer {
    left: Arc<Semaphore>,
    owed: u32,
}

impl Fewer {
    /// Waits until they are gone.
    pub(super) async fn reached(self) {
        // Whoever asks later stands behind this one in the queue.
        if let Ok(excess) = self.left.acquire_many_owned(self.owed).await {
            excess.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn fewer_are_let_in_once_so_many_have_left_and_more_at_once() {
        let open = Open::new(3);
        let one = || open.left().clone().acquire_owned();
        let mut held = vec![one().await, one().await, one().await];
        let mut owed = Box::pin(open.allow(1).unwrap().reached());
        assert!(open.allow(1).is_none(), "said again, it changes nothing");
        assert!(now(owed.as_mut()).is_none());
        held.pop();
        assert!(now(one()).is_none() && now(owed.as_mut()).is_none());
        held.pop();
        owed.await;
        assert!(now(one()).is_none(), "one is open, and one is allowed");
        assert!(open.allow(2).is_none());
        assert!(now(one()).is_some());
    }
}

//! How many requests are in flight, of all workers together, each until its answer has ended.
//!
//! Beyond the limit a request is answered 503 before anything is done for it: work that is begun and not finished is how
//! an overload feeds itself. One number for all workers, since few connections may carry many requests and lie with one.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The count.
#[derive(Debug, Default)]
pub struct InFlight(AtomicUsize);

impl InFlight {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more, to be taken off by [`Self::leave`]; false where there are `most` already, and it is not counted.
    pub(super) fn enter(&self, most: usize) -> bool {
        let entered = self.0.fetch_add(1, Ordering::Relaxed) < most;
        if !entered {
            self.leave();
        }
        entered
    }

    /// Takes one off that was counted.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_enter_than_may_however_many_try_at_once() {
        let all = InFlight::default();
        let entered: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| all.enter(100)).count())).collect();
            tries.into_iter().map(|tried| tried.join().unwrap()).sum()
        });
        // A try that fails is counted for a moment, so one beside it may fail too early; never too late.
        assert!(entered <= 100 && entered == all.count());
        all.leave();
        assert!(all.enter(100));
    }
}

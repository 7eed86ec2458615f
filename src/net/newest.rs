//! Hands workers what is newest of something that all of them use, and tells when all of them do.
//!
//! A worker waits for it in a task of its own and puts it where its requests find it, so that a request that begins reads
//! a cell of its own thread, and no lock or counter that the workers share.

use std::sync::Arc;

use tokio::sync::watch;

/// The newest of something; clones share it.
#[derive(Debug)]
pub struct Newest<T> {
    offered: watch::Sender<(u64, Arc<T>)>,
    /// What each follower took last, by its place.
    taken: watch::Sender<Vec<u64>>,
}

impl<T> Newest<T> {
    /// Begins with `first`.
    #[must_use]
    pub fn new(first: T) -> Self {
        Self { offered: watch::Sender::new((0, Arc::new(first))), taken: watch::Sender::new(Vec::new()) }
    }

    /// What is newest now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.offered.borrow().1)
    }

    /// What is newest now, and whoever wants to be told of every newer one.
    #[must_use]
    pub fn follow(&self) -> (Arc<T>, Follower<T>) {
        let mut offered = self.offered.subscribe();
        let (number, newest) = offered.borrow_and_update().clone();
        let mut place = 0;
        self.taken.send_modify(|taken| {
            place = taken.len();
            taken.push(number);
        });
        (newest, Follower { offered, taken: self.taken.clone(), place })
    }

    /// Offers a newer one, and returns when every follower that is left uses it.
    pub async fn offer(&self, next: T) {
        let mut number = 0;
        self.offered.send_modify(|(newest, value)| {
            *newest += 1;
            number = *newest;
            *value = Arc::new(next);
        });
        let all = |taken: &Vec<u64>| taken.iter().all(|last| *last >= number);
        // Fails only without a sender, and `self` has one.
        let _ = self.taken.subscribe().wait_for(all).await;
    }
}

impl<T> Clone for Newest<T> {
    fn clone(&self) -> Self {
        Self { offered: self.offered.clone(), taken: self.taken.clone() }
    }
}

/// One worker's view.
#[derive(Debug)]
pub struct Follower<T> {
    offered: watch::Receiver<(u64, Arc<T>)>,
    taken: watch::Sender<Vec<u64>>,
    place: usize,
}

impl<T> Follower<T> {
    /// Waits for a newer one and has `take` put it to use; never returns where none will come. One that was overtaken by the
    /// next is left out.
    pub async fn next(&mut self, take: impl FnOnce(Arc<T>)) {
        if self.offered.changed().await.is_err() {
            return std::future::pending().await;
        }
        let (number, newest) = self.offered.borrow_and_update().clone();
        take(newest);
        self.took(number);
    }

    fn took(&self, number: u64) {
        self.taken.send_modify(|taken| taken[self.place] = number);
    }
}

impl<T> Drop for Follower<T> {
    /// A worker that ended keeps nobody waiting.
    fn drop(&mut self) {
        self.took(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn an_offer_ends_when_every_follower_uses_it_or_is_gone() {
        let newest = Newest::new(1);
        let (first, mut one) = newest.clone().follow();
        let (_, mut two) = newest.follow();
        let (_, three) = newest.follow();
        assert_eq!(*first, 1);
        let mut offer = pin!(newest.offer(2));
        let mut pending = || offer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(pending());
        one.next(|newer| assert_eq!(*newer, 2)).await;
        drop(three);
        assert!(pending());
        two.next(|newer| assert_eq!(*newer, 2)).await;
        assert!(!pending());
    }

    #[tokio::test]
    async fn who_was_slow_gets_the_last_one_only() {
        let newest = Newest::new(1);
        let (_, mut follower) = newest.follow();
        let (other, again) = (newest.clone(), newest.clone());
        let slow = async {
            tokio::task::yield_now().await;
            let mut got = Vec::new();
            follower.next(|newer| got.push(*newer)).await;
            got
        };
        let (got, (), ()) = tokio::join!(slow, other.offer(2), again.offer(3));
        assert_eq!(got, [3]);
    }
}

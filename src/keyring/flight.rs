//! One look-up in the store at a time for each digest, however many requests ask.
//!
//! The look-up is a task of the control runtime: it outlives the request that caused it, so a client that leaves takes
//! nothing from those that wait with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use tokio::sync::watch;

use super::Shared;
use super::cache::{Entry, Shelf};
use super::verify::Failure;
use crate::key::Digest;
use crate::store::StoreError;
use crate::telemetry::chain;

type Answer = Option<Result<Entry, Failure>>;

/// Look-ups on their way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, watch::Receiver<Answer>, RandomState>>);

impl Shared {
    /// The answer of a look-up: one that is on its way, or a new one.
    pub(super) async fn flight(self: &Arc<Self>, digest: Digest) -> Result<Entry, Failure> {
        let mut answer = self.board(digest);
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            // The control runtime ended under it.
            Ok(None) | Err(_) => Err(Failure::Unavailable),
        }
    }

    fn board(self: &Arc<Self>, digest: Digest) -> watch::Receiver<Answer> {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.entry(digest) {
            Slot::Occupied(flight) => flight.get().clone(),
            Slot::Vacant(place) => {
                let (answer, answered) = watch::channel(None);
                place.insert(answered.clone());
                drop(flights);
                let landing = Landing { shared: Arc::clone(self), digest, answer };
                self.control.spawn(landing.fly());
                answered
            }
        }
    }

    async fn ask(&self, digest: Digest) -> Result<Entry, Failure> {
        let lookup = async {
            let _turn = self.loads.acquire().await.map_err(|_| StoreError::Closed)?;
            self.counts.loads.fetch_add(1, Ordering::Relaxed);
            // Before the question leaves: a change complete by now is in the answer.
            let (asked, sent) = (self.fence.point(), self.clock.boot());
            let loaded = self.store.load(digest).await?;
            Ok(self.entry(asked.at(loaded.as_of), sent, loaded.standing))
        };
        let answer = tokio::time::timeout(self.store.load_timeout(), lookup).await;
        let error = match answer.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(entry) => {
                let shelf = self.shelf(&entry);
                self.cache.put(digest, entry.clone(), shelf);
                if let Some(snapshot) = self.snapshot.get().filter(|_| shelf == Shelf::Live) {
                    snapshot.remembered(vec![(digest, entry.clone())]);
                }
                return Ok(entry);
            }
            Err(error) => error,
        };
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(error = chain(&error), "look-up failed");
        Err(match error {
            StoreError::TimedOut => Failure::TimedOut,
            StoreError::Busy => Failure::Overloaded,
            _ => Failure::Unavailable,
        })
    }
}

/// Takes the look-up off the list however it ends, then answers.
struct Landing {
    shared: Arc<Shared>,
    digest: Digest,
    answer: watch::Sender<Answer>,
}

impl Landing {
    async fn fly(self) {
        let answer = self.shared.ask(self.digest).await;
        // Off the list before the answer is out: whoever comes after it must not join this look-up.
        self.clear();
        self.answer.send_replace(Some(answer));
    }

    fn clear(&self) {
        self.shared.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Where the runtime dropped the task; else it is off already, and a newer one may have taken its place.
        if self.answer.borrow().is_none() {
            self.clear();
        }
    }
}

//! The threads that talk to a database: one that writes, several that read, each with a connection of its own.
//!
//! They block, so no runtime thread may. A question goes into a bounded queue and its answer comes back through
//! a oneshot; a full queue is an error at once. Who stops waiting before their question's turn is passed over.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::StoreError;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

/// Questions that may wait in one queue.
const QUEUE: usize = 1024;

/// Both queues and the threads behind them, which end when this is closed or dropped.
#[derive(Debug)]
pub(super) struct Threads<C> {
    // In this order, in which they are dropped too: see `close`.
    reads: Lane<C>,
    writes: Lane<C>,
}

impl<C: Send + 'static> Threads<C> {
    /// Starts a thread for every connection.
    pub(super) fn start(writer: C, readers: Vec<C>) -> io::Result<Self> {
        let reads = Lane::start("store-read", readers)?;
        let writes = Lane::start("store-write", vec![writer])?;
        Ok(Self { reads, writes })
    }

    /// Waits for what is running, then closes the connections: the readers' first, so that the writer's is the last, and its
    /// close folds the write-ahead log back into the database.
    pub(super) fn close(&self) {
        self.reads.close();
        self.writes.close();
    }

    /// Has one of the reading threads answer.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reads.ask(question).await
    }

    /// Has the writing thread answer.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writes.ask(question).await
    }
}

/// One queue and the threads that serve it, which end when this is closed or dropped.
#[derive(Debug)]
pub(super) struct Lane<C> {
    queue: Mutex<Option<SyncSender<Job<C>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<C: Send + 'static> Lane<C> {
    /// Starts a thread for every connection.
    pub(super) fn start(name: &str, connections: Vec<C>) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let serve = |connection| {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(connection, &jobs))
        };
        let threads = connections.into_iter().map(serve).collect::<io::Result<_>>()?;
        Ok(Self { queue: Mutex::new(Some(queue)), threads: Mutex::new(threads) })
    }

    /// Has one of the threads answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job<C> = Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(question(connection));
            }
        });
        self.queue(job)?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    fn queue(&self, job: Job<C>) -> Result<(), StoreError> {
        match lock(&self.queue).as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(StoreError::Closed),
        }
    }
}

impl<C> Lane<C> {
    /// Waits for what is running, then has the threads close their connections.
    pub(super) fn close(&self) {
        *lock(&self.queue) = None;
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }
}

impl<C> Drop for Lane<C> {
    fn drop(&mut self) {
        self.close();
    }
}

fn run<C>(mut connection: C, jobs: &Mutex<Receiver<Job<C>>>) {
    loop {
        // Whoever holds the lock waits for the next job; the others wait for the lock.
        let next = lock(jobs).recv();
        let Ok(job) = next else { break };
        job(&mut connection);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

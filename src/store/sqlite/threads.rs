//! The threads that talk to SQLite: one that writes, several that read, each with a connection of its own.
//!
//! SQLite blocks, so no runtime thread may call it. A question goes into a bounded queue and its answer comes back through
//! a oneshot; a full queue is an error at once. Who stops waiting before their question's turn is passed over.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Questions that may wait in one queue.
const QUEUE: usize = 1024;

/// Both queues and the threads behind them, which end when this is closed or dropped.
#[derive(Debug)]
pub(super) struct Threads {
    reads: Lane,
    writes: Lane,
}

impl Threads {
    /// Starts a thread for every connection.
    pub(super) fn start(writer: Connection, readers: Vec<Connection>) -> io::Result<Self> {
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
        question: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reads.ask(question).await
    }

    /// Has the writing thread answer.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writes.ask(question).await
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.close();
    }
}

/// One queue and the threads that serve it.
#[derive(Debug)]
struct Lane {
    queue: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Lane {
    fn start(name: &str, connections: Vec<Connection>) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let serve = |connection| {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(connection, &jobs))
        };
        let threads = connections.into_iter().map(serve).collect::<io::Result<_>>()?;
        Ok(Self { queue: Mutex::new(Some(queue)), threads: Mutex::new(threads) })
    }

    fn close(&self) {
        *lock(&self.queue) = None;
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(question(connection));
            }
        });
        self.queue(job)?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    fn queue(&self, job: Job) -> Result<(), StoreError> {
        match lock(&self.queue).as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(StoreError::Closed),
        }
    }
}

fn run(mut connection: Connection, jobs: &Mutex<Receiver<Job>>) {
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

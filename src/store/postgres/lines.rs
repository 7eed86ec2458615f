//! Connections that many share: each question is one statement that reads, and goes out while others wait for their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::address::Address;
use super::connection::Connection;
use super::trouble::Trouble;
use crate::store::sql::{Error, Row, Value};

/// Some connections, opened when they are needed.
pub(super) struct Lines {
    address: Arc<Address>,
    runtime: Handle,
    lines: Box<[Mutex<Option<Arc<Connection>>>]>,
    next: AtomicUsize,
    /// Connections that were ever opened.
    opened: AtomicUsize,
    nonce: AtomicI64,
}

impl Lines {
    pub(super) fn new(address: Arc<Address>, runtime: Handle, many: usize, nonce: i64) -> Self {
        let lines = (0..many.max(1)).map(|_| Mutex::default()).collect();
        Self {
            address,
            runtime,
            lines,
            next: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            nonce: AtomicI64::new(nonce),
        }
    }

    /// A number that no earlier question had: an answer that does not have it is not to this question.
    pub(super) fn nonce(&self) -> i64 {
        self.nonce.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks with one statement that changes nothing, and reads the answer. Where the connection turns out to have died, another
    /// one is asked once; one that leads to no primary is left, for the next may.
    pub(super) async fn ask<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        limit: Duration,
        read: impl FnOnce(&[Row<'_>]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len();
        let (mut connection, used) = self.line(at).await?;
        let mut rows = connection.query(sql, values, limit).await;
        if let Err(trouble) = &rows
            && trouble.ends_connection()
        {
            self.give_up(at, &connection, trouble).await;
            if used && !matches!(trouble, Trouble::TimedOut) {
                connection = self.line(at).await?.0;
                rows = connection.query(sql, values, limit).await;
            }
        }
        let answer = rows.map_err(Error::from).and_then(|rows| {
            let rows: Vec<_> = rows.iter().map(Row::Postgres).collect();
            read(&rows)
        });
        if let Err(Error::Postgres(trouble @ Trouble::NoPrimary)) = &answer {
            self.give_up(at, &connection, trouble).await;
        }
        answer
    }

    /// Writes with one statement, which may be asked again by who hears nothing; how many rows.
    pub(super) async fn execute(&self, sql: &str, values: &[Value<'_>], limit: Duration) -> Result<u64, Trouble> {
        let (connection, _) = self.line(0).await?;
        let answer = connection.execute(sql, values, limit).await;
        if let Err(trouble) = &answer
            && trouble.ends_connection()
        {
            self.give_up(0, &connection, trouble).await;
        }
        answer
    }

    /// One of the connections, and whether it was there before.
    pub(super) async fn line(&self, at: usize) -> Result<(Arc<Connection>, bool), Trouble> {
        let mut line = self.lines[at].lock().await;
        if let Some(connection) = line.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok((Arc::clone(connection), true));
        }
        let connection = Arc::new(Connection::open(&self.address, &self.runtime).await?);
        self.opened.fetch_add(1, Ordering::Relaxed);
        *line = Some(Arc::clone(&connection));
        Ok((connection, false))
    }

    /// How many connections were ever opened.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Others who wait on it are told that it ended.
    async fn give_up(&self, at: usize, connection: &Arc<Connection>, why: &Trouble) {
        let mut line = self.lines[at].lock().await;
        line.take_if(|open| Arc::ptr_eq(open, connection));
        if matches!(why, Trouble::TimedOut) {
            let slow = Arc::clone(connection);
            self.runtime.spawn(async move { slow.cancel().await });
        } else {
            connection.end();
        }
    }
}

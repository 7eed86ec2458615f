//! Connections that many share: each question is one statement that reads, and goes out while others wait for their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_postgres::Row;

use super::address::Address;
use super::connection::Connection;
use super::trouble::Trouble;
use crate::store::sql::Value;

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

    /// Asks with one statement that changes nothing. Where the connection turns out to have died, another one is asked once.
    pub(super) async fn query(&self, sql: &str, values: &[Value<'_>], limit: Duration) -> Result<Vec<Row>, Trouble> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len();
        let (connection, used) = self.line(at).await?;
        match connection.query(sql, values, limit).await {
            Err(trouble @ Trouble::TimedOut) => {
                self.give_up(at, &connection).await;
                Err(trouble)
            }
            Err(trouble) if trouble.ends_connection() => {
                self.give_up(at, &connection).await;
                if !used {
                    return Err(trouble);
                }
                self.line(at).await?.0.query(sql, values, limit).await
            }
            answer => answer,
        }
    }

    /// Writes with one statement, which may be asked again by who hears nothing; how many rows.
    pub(super) async fn execute(&self, sql: &str, values: &[Value<'_>], limit: Duration) -> Result<u64, Trouble> {
        let (connection, _) = self.line(0).await?;
        let answer = connection.execute(sql, values, limit).await;
        if answer.as_ref().is_err_and(Trouble::ends_connection) {
            self.give_up(0, &connection).await;
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
    pub(super) async fn give_up(&self, at: usize, connection: &Arc<Connection>) {
        let mut line = self.lines[at].lock().await;
        line.take_if(|open| Arc::ptr_eq(open, connection));
        connection.end();
    }
}

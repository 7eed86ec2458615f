//! A connection for one thread that blocks: what the statements of `store/sql` run on.
//!
//! It is opened when it is first needed, and anew after it broke. A transaction begins with everything it needs in one message,
//! and its commit and the position that it got come back in one too, so that we hold the others' way for as short as can be.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::Row;

use super::address::Address;
use super::connection::Connection;
use super::trouble::Trouble;
use crate::store::replica::Instance;
use crate::store::sql::Value;

/// A connection that is opened when it is needed.
pub(in crate::store) struct Link {
    address: Arc<Address>,
    runtime: Handle,
    /// For what begins a transaction, and waits for nobody but whoever has our lock.
    beginning: Duration,
    limit: Duration,
    open: RefCell<Option<Connection>>,
}

/// A transaction that was committed.
#[derive(Debug)]
pub(super) struct Committed<T> {
    pub(super) made: T,
    /// The log's position with it, and which database gave that out.
    pub(super) at: (u64, Instance),
    /// Whether the server warned that the commit may be lost.
    pub(super) warned: bool,
}

/// Why a transaction came to nothing, or may have.
#[derive(Debug)]
pub(super) enum NotCommitted<T, E> {
    /// The work itself ended it.
    Work(E),
    /// The database; nothing was changed.
    Nothing(Trouble),
    /// The connection ended while it committed.
    Unsure {
        made: T,
        trouble: Trouble,
        /// The transaction's number, the server's place in its log, and since when that gives out its numbers.
        number: String,
    },
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Became {
    /// It was committed: the log's position since, and which database has it.
    Committed((u64, Instance)),
    /// Nothing.
    Nothing,
}

/// Which server's log a transaction's number belongs to: no other's says anything of it.
pub(super) const PLACE: &str = "(SELECT system_identifier::text FROM pg_control_system()) || '/' ||
    CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

/// Since when that server gives out numbers as it does: one that crashed may give out once more the number of a transaction of
/// which nothing had reached its disk. Its recovery ends with a checkpoint; that any other one tells the same does no harm.
pub(super) const SINCE: &str = "(SELECT checkpoint_lsn::text FROM pg_control_checkpoint())";

/// Answers nothing on a primary. What a standby has may be old, and a secret that it lacks may well be a key's.
pub(super) const STANDBY: &str = "SELECT 'standby' WHERE pg_is_in_recovery()";

/// The log's position, and which database has it.
fn position() -> String {
    format!("seq || ' ' || cluster || '/' || {PLACE}")
}

/// What [`position`] says.
fn at(said: &str) -> Option<(u64, Instance)> {
    let (position, instance) = said.split_once(' ')?;
    Some((position.parse().ok()?, Instance(instance.into())))
}

/// How often, and after what, it is asked again what became of a transaction: in all as long as a database takes to restart.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

impl Link {
    /// One whose transactions begin within `beginning`, and whose statements take no longer than `limit`.
    pub(super) fn new(address: Arc<Address>, runtime: Handle, beginning: Duration, limit: Duration) -> Self {
        Self { address, runtime, beginning, limit, open: RefCell::default() }
    }

    /// Asks, inside the transaction that runs.
    pub(in crate::store) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Trouble> {
        self.on(|connection| self.runtime.block_on(connection.query(sql, values, self.limit)))
    }

    /// Changes, inside the transaction that runs; how many rows.
    pub(in crate::store) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Trouble> {
        self.on(|connection| self.runtime.block_on(connection.execute(sql, values, self.limit)))
    }

    /// Does several statements without values, inside the transaction that runs.
    pub(in crate::store) fn script(&self, sql: &str) -> Result<Option<String>, Trouble> {
        self.on(|connection| self.runtime.block_on(connection.script(sql, self.limit)))
    }

    /// Runs `work` between `begin` and a commit. What `begin` answers last is the transaction's number.
    pub(super) fn commit<T, E: From<Trouble>>(
        &self,
        begin: &str,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<Committed<T>, NotCommitted<T, E>> {
        let number = self.begin(begin).map_err(NotCommitted::Nothing)?.unwrap_or_default();
        let made = work(self).map_err(|error| {
            self.roll_back();
            NotCommitted::Work(error)
        })?;
        self.with(Connection::take_warned);
        // In a transaction that has failed the first statement fails too; so a commit that answers is one.
        match self.script(&format!("SELECT {} FROM keyward.head; COMMIT", position())) {
            Ok(said) => {
                let Some(at) = said.as_deref().and_then(at) else {
                    return Err(NotCommitted::Unsure { made, trouble: Trouble::NoPrimary, number });
                };
                let warned = self.with(Connection::take_warned).unwrap_or(false);
                Ok(Committed { made, at, warned })
            }
            Err(said @ Trouble::Said { .. }) if !said.ends_connection() => {
                self.roll_back();
                Err(NotCommitted::Nothing(said))
            }
            Err(trouble) => Err(NotCommitted::Unsure { made, trouble, number }),
        }
    }

    /// What became of a transaction whose commit was not answered; none where that cannot be told.
    pub(super) fn became(&self, number: &str) -> Option<Became> {
        let (transaction, rest) = number.split_once(' ')?;
        let (place, since) = rest.split_once(' ')?;
        let sql = format!(
            "SELECT CASE WHEN {PLACE} = '{place}'
                         THEN nullif(pg_xact_status('{transaction}'::xid8),
                                     CASE WHEN {SINCE} <> '{since}' THEN 'committed' END) END || ' ' || {}
               FROM keyward.head",
            position()
        );
        for _ in 0..ATTEMPTS {
            let said = match self.open().and_then(|()| self.script(&sql)) {
                Ok(said) => said?,
                Err(trouble) if trouble.ends_connection() => String::new(),
                Err(_) => return None,
            };
            match said.split_once(' ') {
                Some(("committed", said)) => return at(said).filter(|_| self.stands()).map(Became::Committed),
                Some(("aborted", _)) => return Some(Became::Nothing),
                _ => std::thread::sleep(PAUSE),
            }
        }
        None
    }

    /// Whether what is committed outlives a failover as what is answered does, though nobody heard the server's warning: a later
    /// commit that is answered without one has all before it where it is itself.
    fn stands(&self) -> bool {
        self.with(Connection::take_warned);
        let later = "BEGIN; SET LOCAL synchronous_commit = on; UPDATE keyward.complete SET seq = seq; COMMIT";
        if self.script(later).is_err() {
            self.roll_back();
            return false;
        }
        !self.with(Connection::take_warned).unwrap_or(true)
    }

    /// Runs `work` after `begin` and takes back what it did. Not where `begin` ends with [`STANDBY`], and it is one.
    pub(super) fn roll<T, E: From<Trouble>>(
        &self,
        begin: &str,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.begin(begin)?.as_deref() == Some("standby") {
            *self.open.borrow_mut() = None;
            return Err(Trouble::NoPrimary.into());
        }
        let answer = work(self);
        self.roll_back();
        answer
    }

    /// Begins on an open connection, or on a new one. One may have died since it was last used; nothing is lost by trying again.
    fn begin(&self, begin: &str) -> Result<Option<String>, Trouble> {
        let used = self.with(|connection| !connection.is_closed()).unwrap_or(false);
        if !used {
            self.open()?;
        }
        let script = || self.on(|connection| self.runtime.block_on(connection.script(begin, self.beginning)));
        match script() {
            Err(trouble) if used && trouble.ends_connection() && !matches!(trouble, Trouble::TimedOut) => {
                self.open()?;
                script()
            }
            begun => begun,
        }
        .inspect_err(|_| self.roll_back())
    }

    fn open(&self) -> Result<(), Trouble> {
        let connection = self.runtime.block_on(Connection::open(&self.address, &self.runtime))?;
        *self.open.borrow_mut() = Some(connection);
        Ok(())
    }

    fn roll_back(&self) {
        if self.open.borrow().is_some() && self.script("ROLLBACK").is_err() {
            *self.open.borrow_mut() = None;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&Connection) -> T) -> Option<T> {
        self.open.borrow().as_ref().map(look)
    }

    /// Never opens one: inside a transaction that would go on outside of it.
    fn on<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut open = self.open.borrow_mut();
        let Some(connection) = open.as_ref() else { return Err(Trouble::Gone("the connection ended".into())) };
        let answer = ask(connection);
        if answer.as_ref().is_err_and(Trouble::ends_connection) {
            *open = None;
        }
        answer
    }
}

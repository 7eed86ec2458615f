//! The closed set of backends, and the ways in which each is asked: what runs in a transaction of one runs in a transaction of any.

use std::path::Path;

use super::audit::Details;
use super::postgres::Postgres;
use super::sql::{Db, Error, Stop, note};
use super::sqlite::Sqlite;
use super::{Along, Changed, Rejected, StoreError};

/// Where keys are kept.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    /// In a file, by one process.
    Sqlite(Sqlite),
    /// In a database, by many.
    Postgres(Postgres),
}

impl Backend {
    /// The file it is kept in.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Sqlite(db) => db.path(),
            Self::Postgres(db) => db.path(),
        }
    }

    /// Waits for what is running, and lets go.
    pub(super) fn close(&self) {
        match self {
            Self::Sqlite(db) => db.close(),
            Self::Postgres(db) => db.close(),
        }
    }

    /// Asks within one snapshot.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(db) => db.read(move |db| question(&Db::Sqlite(db))).await,
            Self::Postgres(db) => db.read(question).await,
        }
    }

    /// Changes keys, or what they belong to, within one transaction. What it answers is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        match self {
            Self::Sqlite(db) => db.write(move |db| change(&Db::Sqlite(db))).await,
            Self::Postgres(db) => db.write(change).await,
        }
    }

    /// Writes what is no change of a key within one transaction: uses, refusals, what is trimmed away. It is not in the log, and
    /// need not wait for changes where a backend can tell them apart.
    pub(super) async fn write_apart<T: Send + 'static>(
        &self,
        upkeep: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Rejected> {
        match self {
            Self::Sqlite(db) => db.write(move |db| Ok(upkeep(&Db::Sqlite(db))?)).await.map(|changed| changed.record),
            Self::Postgres(db) => db.write_apart(upkeep).await,
        }
    }

    /// Changes within one transaction, and writes what goes along with the change inside it; see [`Self::write`].
    pub(super) async fn change<T: Send + 'static>(
        &self,
        along: Along,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        self.change_telling(along, |_| Details::new(), change).await
    }

    /// As [`Self::change`], where what became of the change is noted too.
    pub(super) async fn change_telling<T: Send + 'static>(
        &self,
        along: Along,
        tell: fn(&T) -> Details,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        self.write(note::along(along, tell, change)).await
    }

    /// Changes within one transaction, and takes it back: what it answers is what would have been.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Rejected> {
        match self {
            Self::Sqlite(db) => db.attempt(move |db| change(&Db::Sqlite(db))).await,
            Self::Postgres(db) => db.attempt(change).await,
        }
    }
}

//! The store in one SQLite file, for one process.
//!
//! ```text
//!  open: lock -> create -> schema (pragmas, migrations, pepper) -> threads
//!  read:  queue -> one of the readers -> deferred transaction  -> answer
//!  write: queue -> the writer -> immediate transaction, commit -> answer
//! ```
//!
//! SQL stays in this folder, and so do the driver's types: an error leaves it as a sentence that names the file.

pub(super) mod ahead;
pub(super) mod bulk;
pub(super) mod change;
pub(super) mod list;
pub(super) mod load;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod threads;
pub(super) mod usage;
pub(super) mod words;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use self::threads::Threads;
use super::lock::Lock;
use super::{Access, Changed, Config, Rejected, StoreError};

/// An open database. The lock goes last: while a thread may still write, nobody else may open.
#[derive(Debug)]
pub(super) struct Sqlite {
    threads: Threads,
    path: Arc<Path>,
    _lock: Lock,
}

impl Sqlite {
    pub(super) fn open(config: &Config, mark: [u8; 8], access: Access) -> Result<Self, StoreError> {
        let path = config.path()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        // What may not be looked at may well be there.
        let exists =
            |place: &Path| place.try_exists().map_err(|source| StoreError::Denied { path: place.to_owned(), source });
        if !exists(folder)? || !folder.is_dir() {
            return Err(StoreError::NoFolder { folder: folder.to_owned() });
        }
        if access == Access::Existing && !exists(&path)? {
            return Err(StoreError::Missing { path });
        }
        let lock = Lock::take(&path)?;
        create(&path)?;
        let writer = schema::open_writer(&path, config, mark)?;
        let readers =
            (0..config.readers.max(1)).map(|_| schema::open_reader(&path, config)).collect::<Result<_, _>>()?;
        let threads = Threads::start(writer, readers)
            .map_err(|error| StoreError::Failed { path: path.clone(), source: error.into() })?;
        Ok(Self { threads, path: path.into(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks within one snapshot.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.threads.read(move |db| question(&*db.transaction()?)).await?;
        answer.map_err(|error| trouble(&self.path, error))
    }

    /// Changes within one transaction. What it answers is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        let answer = self.threads.write(move |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let record = change(&transaction)?;
            let head = load::head(&transaction)?;
            transaction.commit()?;
            Ok(Changed { record, head })
        });
        answer.await?.map_err(|stop| match stop {
            Stop::Rejected(rejected) => rejected,
            Stop::Sql(error) => trouble(&self.path, error).into(),
        })
    }
}

/// Why a change ended early: it does not fit, or the driver failed. The transaction is rolled back either way.
pub(super) enum Stop {
    Rejected(Rejected),
    Sql(rusqlite::Error),
}

impl From<Rejected> for Stop {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Makes the file where it is missing, for its owner only; SQLite gives the files beside it the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(StoreError::Denied { path: path.to_owned(), source }),
    }
}

/// The driver's error as ours.
fn trouble(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = PathBuf::from(path);
    if let rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) = error {
        return StoreError::Row { path, what: error.to_string() };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotOurs { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, source: error.into() },
        Some(ErrorCode::DiskFull) => StoreError::Full { path, source: error.into() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Held { path, source: error.into() },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            StoreError::Denied { path, source: io::Error::other(error) }
        }
        _ => StoreError::Failed { path, source: error.into() },
    }
}

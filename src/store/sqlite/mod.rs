//! The store in one SQLite file, for one process.
//!
//! ```text
//!  open: lock -> create -> files whole? -> schema (pragmas, migrations, pepper) -> threads
//!  read:  queue -> one of the readers -> deferred transaction -> files whole? -> answer
//!  write: queue -> the writer -> files whole? -> immediate transaction, commit -> files whole? -> answer
//! ```
//!
//! What is here is the file's own; what is asked of it and changed in it is in [`sql`](super::sql), as for every backend. An error
//! leaves as a sentence that names the file.

pub(super) mod ahead;
mod files;
pub(super) mod load;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi};

use self::files::Files;
use super::error::Cause;
use super::lock::Lock;
use super::replica::Instance;
use super::sql::{Db, Error, Stop, log};
use super::threads::Threads;
use super::{Access, Changed, Config, Rejected, StoreError};

/// An open database. The lock goes last: while a thread may still write, nobody else may open.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    threads: Arc<Threads<Connection>>,
    files: Arc<Files>,
    _lock: Arc<Lock>,
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
        let made = create(&path)?;
        let opened = Self::connect(&path, config, mark, made);
        if opened.is_err() && made && path.metadata().is_ok_and(|file| file.len() == 0) {
            // Left behind it would be taken for a store that was cut off.
            let _ = std::fs::remove_file(&path);
        }
        let (threads, files) = opened?;
        Ok(Self { threads: Arc::new(threads), files: Arc::new(files), _lock: Arc::new(lock) })
    }

    fn connect(
        path: &Path,
        config: &Config,
        mark: [u8; 8],
        made: bool,
    ) -> Result<(Threads<Connection>, Files), StoreError> {
        if !made {
            files::check_closed(path)?;
        }
        let writer = schema::open_writer(path, config, mark)?;
        let files = Files::of(path, &writer)?;
        let readers =
            (0..config.readers.max(1)).map(|_| schema::open_reader(path, config)).collect::<Result<_, _>>()?;
        let threads = Threads::start(writer, readers)
            .map_err(|error| StoreError::Failed { path: path.to_owned(), source: error.into() })?;
        Ok((threads, files))
    }

    pub(super) fn path(&self) -> &Path {
        self.files.path()
    }

    /// Closes the database; see [`Threads::close`].
    pub(super) fn close(&self) {
        self.threads.close();
    }

    /// Asks within one snapshot.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = Arc::clone(&self.files);
        let answer = self.threads.read(move |db| {
            let answer = db.transaction().map_err(Error::from).and_then(|snapshot| question(&snapshot));
            // Last: what was read from a file that is no longer whole is not believed, least of all that a key is not there.
            files.check()?;
            answer.map_err(|error| trouble(files.path(), error))
        });
        answer.await?
    }

    /// Changes within one transaction. What it answers is committed, and in the files that the next start reads.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        let files = Arc::clone(&self.files);
        self.threads.write(move |db| commit(db, &files, change)).await?
    }

    /// Changes within one transaction, and takes it back: what it answers is what would have been.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Rejected> {
        let files = Arc::clone(&self.files);
        self.threads.write(move |db| take_back(db, &files, change)).await?
    }
}

fn commit<T>(
    db: &mut Connection,
    files: &Files,
    change: impl FnOnce(&Connection) -> Result<T, Stop>,
) -> Result<Changed<T>, Rejected> {
    let failed = |error| trouble(files.path(), error);
    files.check_both(db)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let record = change(&transaction).map_err(|stop| rejected(files, stop))?;
    let head = log::head(&Db::Sqlite(&transaction)).map_err(|error| trouble(files.path(), error))?;
    let unsure = |error: Cause| StoreError::Unsure { path: files.path().to_owned(), source: error };
    if let Err(error) = transaction.commit() {
        return Err(match failed(error) {
            // Without room the last page of a commit is not there, so it is none.
            nothing @ (StoreError::Full { .. } | StoreError::Held { .. }) => nothing,
            nothing if overwrite(db).is_ok() => nothing,
            StoreError::Failed { source, .. } => unsure(source),
            error => unsure(error.into()),
        }
        .into());
    }
    files.check_both(db).map_err(|error| unsure(error.into()))?;
    Ok(Changed { record, head, instance: Instance::sqlite() })
}

fn take_back<T>(
    db: &mut Connection,
    files: &Files,
    change: impl FnOnce(&Connection) -> Result<T, Stop>,
) -> Result<T, Rejected> {
    let failed = |error| trouble(files.path(), error);
    files.check_both(db)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let record = change(&transaction).map_err(|stop| rejected(files, stop))?;
    transaction.rollback().map_err(failed)?;
    Ok(record)
}

/// Commits nothing, where a commit failed before. Of that one all pages may be in the log, unseen as long as we run, and be
/// taken for committed at the next start; this is written in their place, and what is left of them is void.
fn overwrite(db: &mut Connection) -> rusqlite::Result<()> {
    let nothing = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Twice, because a page that is left as it was is not written.
    nothing.execute_batch("UPDATE head SET bulk = 1; UPDATE head SET bulk = 0")?;
    nothing.commit()
}

/// Why no change was made.
fn rejected(files: &Files, stop: Stop) -> Rejected {
    match stop {
        Stop::Rejected(rejected) => rejected,
        Stop::Sql(error) => trouble(files.path(), error).into(),
    }
}

/// Makes the file where it is missing, for its owner only; SQLite gives the files beside it the same mode. Whether it was
/// missing.
fn create(path: &Path) -> Result<bool, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(StoreError::Denied { path: path.to_owned(), source }),
    }
}

/// The driver's error as ours.
fn trouble(path: &Path, error: impl Into<Error>) -> StoreError {
    let path = PathBuf::from(path);
    let error = match error.into() {
        Error::Sqlite(error) => error,
        error @ Error::Value { .. } => return StoreError::Row { path, what: error.to_string() },
        error @ (Error::NoRow | Error::Postgres(_)) => return StoreError::Failed { path, source: error.into() },
    };
    if let rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) = error {
        return StoreError::Row { path, what: error.to_string() };
    }
    // No room for the index of the log, which SQLite shares between connections through a file.
    if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE) {
        return StoreError::Full { path, source: error.into() };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotOurs { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, source: error.into() },
        Some(ErrorCode::DiskFull) => StoreError::Full { path, source: error.into() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            StoreError::Held { path, source: error.into() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            StoreError::Denied { path, source: io::Error::other(error) }
        }
        _ => StoreError::Failed { path, source: error.into() },
    }
}

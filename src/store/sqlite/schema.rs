//! Opening a database: what each connection is told, whose file it is, and how it grows from version to version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::trouble;
use crate::store::{Config, StoreError};

/// One step of the schema. Written so that the previous keyward still runs on the result: it adds, with defaults; what is
/// to go is first left unused for one version.
struct Migration {
    sql: &'static str,
    /// The oldest schema whose keyward can run on this one.
    oldest: i64,
}

/// In order; the first leads from nothing to version 1.
const MIGRATIONS: &[Migration] = &[Migration { sql: include_str!("migrations/0001_keys.sql"), oldest: 1 }];

/// "kywd": marks the file as ours, so that another program's database is not mistaken for an empty store.
const APPLICATION: i64 = 0x6b79_7764;

/// Opens the connection that writes, brings the schema up to date and checks the pepper's mark.
pub(super) fn open_writer(path: &Path, config: &Config, mark: [u8; 8]) -> Result<Connection, StoreError> {
    let mut db = connect(path, config, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| trouble(path, error))?;
    let whose = whose(&db).map_err(|error| trouble(path, error))?;
    if whose == Whose::Others {
        return Err(StoreError::NotOurs { path: path.to_owned() });
    }
    prepare(&db).map_err(|error| trouble(path, error))?;
    migrate(&mut db, path)?;
    check_mark(&mut db, path, mark)?;
    Ok(db)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path, config: &Config) -> Result<Connection, StoreError> {
    connect(path, config, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|error| trouble(path, error))
}

/// What every connection is told.
fn connect(path: &Path, config: &Config, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection has one thread, so SQLite's own mutexes would only cost.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.set_prepared_statement_cache_capacity(64);
    // A sqlite3 shell may hold a lock for a moment: wait, then say so.
    db.busy_timeout(config.busy_timeout.0.min(LONGEST))?;
    // SQLite leaves foreign keys unchecked unless asked, for every connection anew.
    db.pragma_update(None, "foreign_keys", true)?;
    // 4 MiB of pages a connection; the system's cache holds the rest. No mmap: a failing disk would be a signal that ends
    // the process, not an error.
    db.pragma_update(None, "cache_size", -4096)?;
    // Sorting a list needs no file on disk, and a read-only container has no place for one.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    // A page that was overwritten is found out when it is read, not when a cell in it leads astray.
    db.pragma_update(None, "cell_size_check", true)?;
    // A file we did not write must not run functions through its views and triggers; ours use only harmless ones.
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}

/// What only the writer is told, because it holds for the file or for commits.
fn prepare(db: &Connection) -> rusqlite::Result<()> {
    // Readers do not wait for the writer, nor it for them.
    db.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: the answer to a change is a promise, and with NORMAL the last commits may vanish when the power does.
    db.pragma_update(None, "synchronous", "FULL")?;
    // The log is folded into the database every 1000 pages (4 MB), which bounds both its size and the pause.
    db.pragma_update(None, "wal_autocheckpoint", 1000)?;
    // After an import made it large, give the room back.
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Whose {
    Ours,
    Nobodys,
    Others,
}

fn whose(db: &Connection) -> rusqlite::Result<Whose> {
    let application: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, tables) {
        (APPLICATION, _) => Whose::Ours,
        (0, 0) => Whose::Nobodys,
        _ => Whose::Others,
    })
}

/// Applies what is missing, each step in a transaction of its own.
fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let ours = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let version = version(db).map_err(|error| trouble(path, error))?;
    if version > ours {
        let oldest: Option<i64> = db
            .query_row("SELECT value FROM meta WHERE name = 'oldest'", [], |row| row.get(0))
            .optional()
            .map_err(|error| trouble(path, error))?;
        return match oldest {
            Some(oldest) if oldest <= ours => Ok(()),
            _ => Err(StoreError::Newer { path: path.to_owned() }),
        };
    }
    for (step, migration) in (1..).zip(MIGRATIONS).filter(|(step, _)| *step > version) {
        apply(db, step, migration).map_err(|error| trouble(path, error))?;
    }
    Ok(())
}

fn apply(db: &mut Connection, step: i64, migration: &Migration) -> rusqlite::Result<()> {
    let step_over = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    step_over.execute_batch(migration.sql)?;
    step_over.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('oldest', ?1)", [migration.oldest])?;
    step_over.pragma_update(None, "application_id", APPLICATION)?;
    step_over.pragma_update(None, "user_version", step)?;
    step_over.commit()
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The pepper's mark is kept with the first open. While no secret is stored it may still change.
fn check_mark(db: &mut Connection, path: &Path, mark: [u8; 8]) -> Result<(), StoreError> {
    match keep_mark(db, mark).map_err(|error| trouble(path, error))? {
        true => Ok(()),
        false => Err(StoreError::Pepper { path: path.to_owned() }),
    }
}

fn keep_mark(db: &mut Connection, mark: [u8; 8]) -> rusqlite::Result<bool> {
    // Without a lock: as a rule there is nothing to write, and a shell that holds one must not keep keyward from starting.
    if is_marked(db, mark)? {
        return Ok(true);
    }
    let keep = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let empty: bool = keep.query_row("SELECT NOT EXISTS (SELECT 1 FROM secret)", [], |row| row.get(0))?;
    if !empty {
        return Ok(false);
    }
    keep.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('pepper', ?1)", [&mark[..]])?;
    keep.commit()?;
    Ok(true)
}

fn is_marked(db: &Connection, mark: [u8; 8]) -> rusqlite::Result<bool> {
    let mut stored = db.prepare("SELECT 1 FROM meta WHERE name = 'pepper' AND value = ?1")?;
    stored.exists([&mark[..]])
}

/// The longest wait for a lock, some three weeks: what SQLite can count in milliseconds.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

//! The database's files, looked at from outside SQLite, which believes whatever it is given.
//!
//! To SQLite a database that was cut off within a page is one whose last page is half empty: a key there is not found, and a
//! living key would be refused as unknown. A file that was removed or replaced under it goes on being written, and whatever
//! was answered is gone with the process. A write-ahead log that was cut short is written on behind the hole, and the next
//! start reads it up to the hole. A look at the sizes tells each of these: at every question, and before and after every
//! change.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;

use super::trouble;
use crate::store::StoreError;

/// The files of an open database.
#[derive(Debug)]
pub(super) struct Files {
    database: Named,
    log: Named,
    /// Bytes in a page.
    page: u64,
    /// The longest the database has been, unless SQLite itself made it shorter since.
    longest: AtomicU64,
    /// Once damaged it stays so: what SQLite writes later may give it its length back, with a hole in it.
    damaged: AtomicBool,
}

/// Looks at a database that was there before, ahead of its being opened.
///
/// # Errors
/// It was cut off: it is shorter than it says, and what is missing is not in the log either.
pub(super) fn check_closed(path: &Path) -> Result<(), StoreError> {
    let look = || -> io::Result<Option<StoreError>> {
        let path = path.to_owned();
        let length = std::fs::metadata(&path)?.len();
        Ok(match (length, Header::of(&path)?) {
            (0, _) => Some(StoreError::Empty { path }),
            // SQLite would take it for an empty database.
            (1..100, _) => Some(StoreError::NotOurs { path }),
            (_, Some(header)) if length < header.length() && !log_holds(&path, length, &header)? => {
                let what = format!("it has {length} bytes, and should have {}", header.length());
                Some(damaged(&path, what))
            }
            _ => None,
        })
    };
    match look() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(source) => Err(StoreError::Denied { path: path.to_owned(), source }),
    }
}

/// Whether the log has every page that the database lacks. So it may be after a crash.
fn log_holds(database: &Path, length: u64, header: &Header) -> io::Result<bool> {
    let mut missing: BTreeSet<u64> = (length / header.page + 1..=header.pages).collect();
    let log = match File::open(log_of(database)) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::new(log);
    let Some(first) = read_or_end::<{ LOG_HEADER as usize }>(&mut log)? else { return Ok(false) };
    let salts = &first[16..24];
    let step = i64::try_from(header.page).unwrap_or(i64::MAX);
    while let Some(frame) = read_or_end::<{ FRAME_HEADER as usize }>(&mut log)? {
        // From here on an older log goes on that this one has not overwritten yet.
        if &frame[8..16] != salts {
            break;
        }
        missing.remove(&u64::from(word(&frame, 0)));
        log.seek_relative(step)?;
    }
    Ok(missing.is_empty())
}

/// The next bytes; none at the end.
fn read_or_end<const N: usize>(file: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files {
    /// The files behind the connection that writes, which has made the log.
    pub(super) fn of(path: &Path, db: &Connection) -> Result<Self, StoreError> {
        let named =
            |path: PathBuf| Named::of(&path).map_err(|source| StoreError::Denied { path: path.clone(), source });
        let page = db.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0));
        let page = page.map_err(|error| trouble(path, error))?.unsigned_abs();
        let (database, log) = (named(path.to_owned())?, named(log_of(path))?);
        Ok(Self { database, log, page, longest: AtomicU64::new(0), damaged: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.database.path
    }

    /// Whether the database is there and whole.
    ///
    /// # Errors
    /// It was removed, replaced or cut off.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut length = self.length(&self.database)?;
        let longest = self.longest.fetch_max(length, Ordering::Relaxed);
        if length < longest {
            // It may have grown since this look, and another thread have seen that.
            length = self.length(&self.database)?;
        }
        if length < longest {
            // After a VACUUM by hand it is shorter, and says so.
            match Header::of(self.path()) {
                Ok(Some(header)) if header.length() == length => self.longest.store(length, Ordering::Relaxed),
                _ => self.damaged.store(true, Ordering::Relaxed),
            }
        }
        if self.damaged.load(Ordering::Relaxed) {
            return Err(damaged(self.path(), "it was cut off while keyward ran".to_owned()));
        }
        Ok(())
    }

    /// Whether both files are there and whole. `db` is the connection that writes, between two transactions.
    ///
    /// # Errors
    /// One of them was removed, replaced or cut off.
    pub(super) fn check_both(&self, db: &Connection) -> Result<(), StoreError> {
        self.check()?;
        // Twice, because a shell may fold the log into the database between the two looks of one.
        if self.log_is_whole(db)? || self.log_is_whole(db)? {
            return Ok(());
        }
        self.damaged.store(true, Ordering::Relaxed);
        Err(damaged(&self.log.path, "it was cut off while keyward ran".to_owned()))
    }

    fn log_is_whole(&self, db: &Connection) -> Result<bool, StoreError> {
        let frames = db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1));
        let frames = frames.map_err(|error| trouble(self.path(), error))?.max(0).unsigned_abs();
        let wanted = if frames == 0 { 0 } else { LOG_HEADER + frames * (FRAME_HEADER + self.page) };
        Ok(self.length(&self.log)? >= wanted)
    }

    fn length(&self, file: &Named) -> Result<u64, StoreError> {
        match std::fs::metadata(&file.path) {
            Ok(found) if identity(&found) == file.identity => Ok(found.len()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Denied { path: file.path.clone(), source })
            }
            Ok(_) | Err(_) => Err(StoreError::Replaced { path: file.path.clone() }),
        }
    }
}

/// A file by its name, and which one it was when it was opened.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    identity: (u64, u64),
}

impl Named {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&std::fs::metadata(path)?) })
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// What a database says of its own length, at its beginning (SQLite's "Database File Format", section 1.3).
struct Header {
    /// Bytes in a page.
    page: u64,
    pages: u64,
}

impl Header {
    /// None where it does not say, or is no database.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let Some(header) = read_or_end::<100>(&mut File::open(path)?)? else { return Ok(None) };
        // The count is right only where whoever changed the file last knew of it.
        if !header.starts_with(b"SQLite format 3\0") || word(&header, 24) != word(&header, 92) {
            return Ok(None);
        }
        let page = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            page => u64::from(page),
        };
        Ok((page >= 512).then(|| Self { page, pages: u64::from(word(&header, 28)) }))
    }

    const fn length(&self) -> u64 {
        self.page * self.pages
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), source: what.into() }
}

/// Bytes before the first frame of a write-ahead log, and before the page in each (section 4.1).
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_grows_while_several_look_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)").unwrap();
        let files = Files::of(&path, &db).unwrap();
        let database = File::options().write(true).open(&path).unwrap();
        let pages = files.length(&files.database).unwrap() / files.page;
        let grown = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !grown.load(Ordering::Relaxed) {
                        files.check().unwrap();
                    }
                });
            }
            for page in 0..20_000 {
                database.set_len((pages + page) * files.page).unwrap();
            }
            grown.store(true, Ordering::Relaxed);
        });
        files.check().unwrap();
    }
}

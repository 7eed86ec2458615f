//! One SQLite store, or one replica's folder, one process: an exclusive lock of the operating system on a file beside it.
//!
//! On SQLite that lock is why a lease on cached keys need not expire: nobody else serves from the store. Of a replica's folder it
//! says that whoever left something there is gone. The kernel drops it with the process, however that ends, so the file
//! stays behind and means nothing by itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::Config;
use super::error::StoreError;

/// Holds the store until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`, or says who has it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        Self::take_beside(path, |holder| StoreError::Locked { path: path.to_owned(), holder })
    }

    fn take_beside(path: &Path, taken: impl FnOnce(Option<u32>) -> StoreError) -> Result<Self, StoreError> {
        let mut place = path.as_os_str().to_owned();
        place.push(".lock");
        let place = PathBuf::from(place);
        let denied = |source| StoreError::Denied { path: place.clone(), source };

        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&place).map_err(denied)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // Whoever took the lock a moment ago may not have written yet.
                    let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
                    let holder = holder.trim().parse().ok();
                    // We may just have let it go: a process that we are starting has it until it becomes another program.
                    if holder == Some(std::process::id()) && attempt < ATTEMPTS {
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                    return Err(taken(holder));
                }
                Err(TryLockError::Error(source)) => return Err(denied(source)),
            }
        }
        // Only for others' messages; on a full disk there is no room for it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

/// Holds a replica's folder, `store.folder`, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    lock: Lock,
    folder: PathBuf,
}

impl Seat {
    /// Takes the folder of a replica of a shared store; nothing where none is named.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] by another process, or the folder is not there or not ours.
    pub fn take(config: &Config) -> Result<Option<Self>, StoreError> {
        let Some(folder) = config.folder.clone().filter(|_| config.is_postgres()) else { return Ok(None) };
        if !folder.is_dir() {
            return Err(StoreError::NoFolder { folder });
        }
        let Some(place) = config.place() else { return Ok(None) };
        let lock = Lock::take_beside(&place, |holder| StoreError::Occupied { folder: folder.clone(), holder })?;
        Ok(Some(Self { lock, folder }))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What tells this folder from a copy of it: the device and the number of its lock's file.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        let found = self.lock.file.metadata().ok()?;
        Some(format!("{}:{}", found.dev(), found.ino()))
    }
}

/// How often, and after what, a lock is tried that this very process seems to have.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(10);

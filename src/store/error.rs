//! Why the store did not answer. Every sentence names the file and says what to do; none of this is the caller's fault,
//! so none of it may ever become a 401.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whatever a backend's driver reported; its own type stays behind the store's door.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The store could not be opened, or could not tell.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The setting names no backend we have.
    #[error(
        "store.url {url:?} is not understood: write sqlite:///absolute/path, sqlite://relative/path or \
         postgres://host:5432/database"
    )]
    Url {
        /// As it was set.
        url: String,
    },
    /// A setting that says how a database is reached says it wrongly.
    #[error("{setting} is not understood: {what}")]
    Address {
        /// Which.
        setting: &'static str,
        /// What is wrong with it. Never the address, which may hold a password.
        what: String,
    },
    /// No connection to the database can be had.
    #[error("the database {} cannot be reached: {why}", .path.display())]
    Unreachable {
        /// Its name.
        path: PathBuf,
        /// What the driver or the server said.
        why: String,
    },
    /// What answers is no primary server, or something between us and it that gives old answers.
    #[error(
        "the database {} answered as a standby, or with an answer to another question: point store.url at the primary, \
         past anything that splits reads or remembers answers", .path.display()
    )]
    NoPrimary {
        /// Its name.
        path: PathBuf,
    },
    /// Changes are made in one store, and would be followed in another.
    #[error("store.listen_url leads to another store than store.url: both must lead to the same database")]
    Elsewhere,
    /// A process that serves from it cannot be named.
    #[error("the system gives no random bytes, and this process needs a name among the replicas")]
    NoEntropy,
    /// Its folder is missing.
    #[error("the store's folder {} does not exist: create it, owned by the user keyward runs as", .folder.display())]
    NoFolder {
        /// The missing folder.
        folder: PathBuf,
    },
    /// It was to exist already.
    #[error("there is no store at {}: start `keyward serve` or make the first account or user there, or correct --store", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The operating system says no.
    #[error("{} cannot be opened: see that the user keyward runs as may read and write it and its folder", .path.display())]
    Denied {
        /// What was to be opened.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another keyward has it.
    #[error(
        "another keyward{} runs on the store {}: stop it first, or ask it (the command line does, through the socket \
         beside the store). One SQLite file serves one process; several need a PostgreSQL store",
        .holder.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .path.display()
    )]
    Locked {
        /// The store.
        path: PathBuf,
        /// The other's process id, where it said so.
        holder: Option<u32>,
    },
    /// Another keyward has a replica's folder.
    #[error(
        "another keyward{} runs in the folder {}: stop it first, or give this one another `store.folder`. A folder is one \
         replica's own",
        .holder.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The other's process id, where it said so.
        holder: Option<u32>,
    },
    /// It belongs to somebody else.
    #[error("{} is not a keyward store: correct the path, or restore the store from a backup", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A newer keyward changed it beyond what this one understands.
    #[error("the store {} was changed by a newer keyward that this one cannot follow: run that version or a later one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The digests in it were made under another pepper.
    #[error(
        "the keys in {} were stored under another pepper than keys.pepper_file gives: restore the old pepper; under \
         this one every key would be refused", .path.display()
    )]
    Pepper {
        /// The file.
        path: PathBuf,
    },
    /// It is torn or truncated.
    #[error("the store {} is damaged: restore it from a backup, or save what is left with `sqlite3 … .recover`", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// It has no content at all.
    #[error(
        "the store {} is an empty file: it was cut off, so restore it from a backup; where there never was a store, \
         remove the file", .path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is gone from its place, or something else is there.
    #[error(
        "{} was removed or replaced while keyward ran: put it back, or restart keyward to use what is there now; until \
         then nothing is changed", .path.display()
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// No room to write.
    #[error("the disk that holds the store {} is full: make room; nothing was changed", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// A program other than keyward keeps it locked.
    #[error("another program keeps the store {} locked: end its transaction (a shell's?) and try again", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// A row says what no keyward writes.
    #[error("the store {} has a row that keyward cannot read ({what}): correct what was edited by hand", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which column, and what is wrong with it. Never its value.
        what: String,
    },
    /// It failed while it committed a change.
    #[error(
        "the store {} failed while a change was committed, so whether it was made is not known: look with `list` or \
         `show` before trying again", .path.display()
    )]
    Unsure {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Cause,
    },
    /// Anything else the driver reports.
    #[error("the store {} failed", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// Too much is waiting already.
    #[error("the store has more to do than it can: try again")]
    Busy,
    /// No answer within `store.load_timeout`.
    #[error("the store did not answer in time")]
    TimedOut,
    /// Its threads have ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it is that no store answers, or none that may: another time it may.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NoPrimary { .. } | Self::TimedOut)
    }
}

/// What a change does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clash {
    /// What was done to the record so far.
    State,
    /// A rotation that runs.
    Rotation,
    /// A rotation that was made meanwhile.
    Overtaken,
    /// What the caller has seen of the record: it is no longer so.
    Seen,
    /// Whose the secret is.
    Owner,
    /// A licence that its holder does not have.
    Licence,
    /// Another request that came under the same `Idempotency-Key`.
    Reused,
    /// The same request, which is still being carried out.
    Running,
}

/// Why a change was not made; in every case nothing was changed, except that with [`StoreError::Unsure`] that is not known.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// Nothing is called so.
    #[error("no {what} {id:?}")]
    Missing {
        /// `account`, `user`, `member` or `key`.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// Something is called so already.
    #[error("{what} {id:?} exists already")]
    Exists {
        /// `account`, `user` or `key`.
        what: &'static str,
        /// What is there.
        id: String,
    },
    /// The change does not fit what is there.
    #[error("{1}")]
    Conflict(Clash, String),
    /// The change makes no sense of what is there.
    #[error("{0}")]
    Invalid(String),
    /// A key would be accepted for longer than it may be: what is said of it, and how many seconds it may have.
    #[error("{0}")]
    ExpiryTooLong(String, u64),
    /// The holder has as many living keys as they may: what is said of it, and how many that is.
    #[error("{0}")]
    LimitReached(String, u32),
    /// The store could not tell or could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

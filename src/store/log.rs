//! The log of changes: how whoever remembers what the store said learns that it no longer does.

use serde::{Deserialize, Serialize};

/// What changed since a position.
#[derive(Debug)]
pub struct Tail {
    /// The log's last position in the snapshot this was read from.
    pub head: u64,
    /// What stands between the two.
    pub news: News,
}

/// The entries after a position, as far as they can be had.
#[derive(Debug)]
pub enum News {
    /// All of them, oldest first; none where nothing changed.
    Entries(Vec<Entry>),
    /// Some are trimmed away, or there are too many to go through: anything may have changed.
    Gone,
    /// The position lies ahead of the log: the store was replaced by an older copy of itself.
    WentBack,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its position: gapless, in the order of commits.
    pub seq: u64,
    /// What it touched.
    pub subject: Subject,
}

/// What a change touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The secret whose digest begins so, and with it its key.
    Secret([u8; 16]),
    /// An account, by the text of its id.
    Account(Box<str>),
    /// A user, by the text of their id: where they belong.
    User(Box<str>),
    /// The prefixes of adopted secrets.
    Prefixes,
    /// Anything: a bulk change, or an entry this version does not know.
    Everything,
}

/// More entries than this at once are not worth going through one by one.
pub(super) const MANY: usize = 2000;

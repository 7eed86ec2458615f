//! What every backend says in the same words: changes, lists, the audit log, callers. Written once over a [`Db`], so that the very
//! same functions run on SQLite and on PostgreSQL.
//!
//! ```text
//!  Store -> Backend -> one transaction of a backend -> Db -> change, list, note, … -> Stop or Error -> a backend's sentence
//! ```
//!
//! The SQL is of the subset that both understand: `?1` for values, `"user"` in quotes (PostgreSQL keeps the word), `ON CONFLICT`,
//! `RETURNING`, `IS NOT DISTINCT FROM`, `CASE` for the smaller of two. Files, locks, schemas and look-ups are each backend's own.

pub(super) mod answer;
pub(super) mod bulk;
pub(super) mod callers;
pub(super) mod change;
mod db;
pub(super) mod edit;
mod holder;
pub(super) mod legacy;
pub(super) mod list;
pub(super) mod log;
pub(super) mod note;
mod record;
pub(super) mod rotate;
mod row;
mod standing;
pub(super) mod usage;
mod value;
mod words;

use super::Rejected;
use super::postgres::trouble::Trouble;

pub(in crate::store) use self::db::Db;
pub(in crate::store) use self::row::Row;
pub(in crate::store) use self::standing::{is_licensed, membership, standing};
pub(in crate::store) use self::value::{Value, values};
pub use self::words::Words;

/// Why a question has no answer. It leaves the store as a sentence that says where.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Error {
    /// What SQLite's driver said.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What PostgreSQL's driver said.
    #[error(transparent)]
    Postgres(#[from] Trouble),
    /// A row is gone that is always there.
    #[error("a row is missing that every store has")]
    NoRow,
    /// A column holds what no keyward writes.
    #[error("column {column}: {what}")]
    Value {
        /// Which, counted from 0.
        column: usize,
        /// What is wrong with it. Never its value.
        what: String,
    },
}

impl Error {
    fn value(column: usize, what: &dyn std::error::Error) -> Self {
        Self::Value { column, what: what.to_string() }
    }
}

/// Why a change ended early: it does not fit, or it could not be written. The transaction is rolled back either way.
pub(in crate::store) enum Stop {
    /// It does not fit.
    Rejected(Rejected),
    /// It could not be written.
    Sql(Error),
}

impl From<Rejected> for Stop {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Sql(error.into())
    }
}

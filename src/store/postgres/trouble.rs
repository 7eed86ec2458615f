//! What can go wrong between us and the database, and which [`StoreError`] that is.

use std::path::Path;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Trouble {
    /// It says so itself, and goes on talking to us.
    #[error("{message}")]
    Said {
        /// The five characters of its code.
        state: SqlState,
        /// Its sentence. Never its details, which name values.
        message: String,
    },
    /// The connection could not be made, or ended.
    #[error("{0}")]
    Gone(String),
    /// No answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// A column holds what no keyward writes.
    #[error("{0}")]
    Value(String),
    /// What answered is no primary, or answered something else than it was asked.
    #[error("it is no primary, or its answer is to another question")]
    NoPrimary,
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Said { state: said.code().clone(), message: said.message().to_owned() };
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        // The driver's words for a column that it cannot read.
        if error.to_string().starts_with("error deserializing column") {
            return Self::Value(error.to_string());
        }
        Self::Gone(cause.unwrap_or_else(|| error.to_string()))
    }
}

impl Trouble {
    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Gone(_) | Self::TimedOut | Self::NoPrimary => true,
            Self::Value(_) => false,
            // 57: the server ends, or its administrator ended this connection; 57014 is a statement that took too long. Who may not
            // write has met a standby. Who held others up for too long, as a process does that was stopped, is shown out.
            Self::Said { state, .. } => {
                *state == SqlState::READ_ONLY_SQL_TRANSACTION
                    || *state == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                    || state.code().starts_with("57") && *state != SqlState::QUERY_CANCELED
            }
        }
    }

    /// As the store's error, of the store with this name.
    pub(super) fn of(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        let (state, message) = match self {
            Self::Said { state, message } => (state, message),
            Self::Gone(why) => return StoreError::Unreachable { path, why },
            Self::TimedOut => return StoreError::TimedOut,
            Self::Value(what) => return StoreError::Row { path, what },
            Self::NoPrimary => return StoreError::NoPrimary { path },
        };
        let source = message.clone().into();
        match state.code() {
            "57014" => StoreError::TimedOut,
            "55P03" | "40P01" | "40001" => StoreError::Held { path, source },
            "53100" | "53200" => StoreError::Full { path, source },
            "25006" => StoreError::NoPrimary { path },
            "25P03" => StoreError::Unreachable { path, why: message },
            "42501" => {
                let needed =
                    "its user has to have CREATE on the database for the first start, and to own the schema keyward";
                StoreError::Failed { path, source: format!("{message}: {needed}").into() }
            }
            // Who may not log in, a database that is not there, a server that starts, ends or has no room.
            code if ["08", "28", "3D", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                StoreError::Unreachable { path, why: message }
            }
            _ => StoreError::Failed { path, source },
        }
    }
}

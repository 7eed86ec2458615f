//! The settings of the store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use crate::measure::Span;

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which backend and where: `sqlite:///absolute/path` or `sqlite://relative/path`.
    pub url: String,
    /// Threads that read.
    pub readers: usize,
    /// How long a change waits for a lock that another process holds.
    pub busy_timeout: Span,
    /// How long a look-up may take.
    pub load_timeout: Span,
}

impl Config {
    /// The database file that `url` names.
    ///
    /// # Errors
    /// [`StoreError::Url`] where it names none.
    pub fn path(&self) -> Result<PathBuf, StoreError> {
        match self.url.strip_prefix("sqlite://") {
            // `?` would be read as parameters by SQLite's own addresses, ours have none: better an error than a file so called.
            Some(path) if !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '\0']) => Ok(path.into()),
            _ => Err(StoreError::Url { url: self.url.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_absolute_or_a_relative_file() {
        let path = |url: &str| {
            let second = Span(std::time::Duration::from_secs(1));
            Config { url: url.into(), readers: 1, busy_timeout: second, load_timeout: second }.path()
        };
        assert_eq!(path("sqlite:///var/lib/k.db").unwrap(), PathBuf::from("/var/lib/k.db"));
        assert_eq!(path("sqlite://k.db").unwrap(), PathBuf::from("k.db"));
        for bad in ["", "k.db", "sqlite://", "sqlite:///var/", "sqlite://k.db?mode=ro", "postgres://host/db"] {
            assert!(matches!(path(bad), Err(StoreError::Url { .. })), "{bad}");
        }
    }
}

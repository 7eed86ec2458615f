//! The settings of the store.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::postgres::address::Address;
use crate::measure::Span;

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which backend and where: `sqlite:///absolute/path`, `sqlite://relative/path`, or `postgres://user@host:5432/database`.
    pub url: String,
    /// PostgreSQL: where to connect to hear of changes at once, if `url` leads to a pooler of transactions.
    pub listen_url: Option<String>,
    /// PostgreSQL: a file with the password.
    pub password_file: Option<PathBuf>,
    /// PostgreSQL: the certificates that its own must descend from, in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// PostgreSQL: where this process keeps what is its own, such as its command socket; nowhere, if nothing is said.
    pub folder: Option<PathBuf>,
    /// PostgreSQL: whether what this process remembers is kept in that folder, so that it can start while the store is away.
    pub snapshot: bool,
    /// PostgreSQL: how long what a replica has read may count without its asking again.
    pub fence: Span,
    /// PostgreSQL: what a replica does that could not ask again for so long.
    pub outage: Outage,
    /// Threads that read.
    pub readers: usize,
    /// PostgreSQL: connections that look-ups share.
    pub lookups: usize,
    /// How long a change waits for a lock that another process holds.
    pub busy_timeout: Span,
    /// How long a look-up may take.
    pub load_timeout: Span,
}

/// What a replica does whose store cannot be asked for longer than the fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", from = "Said")]
pub enum Outage {
    /// It serves nobody: 503.
    #[default]
    FailClosed,
    /// The same, after so long: the fence of all replicas is this.
    Bridge(Span),
    /// It goes on for so long beyond the fence by what it last read, which may have been revoked since. A revocation is complete
    /// only once nobody can be doing so.
    StaleUnsafe(Span),
}

/// As it is said: one of them, where a table could say two.
#[derive(Deserialize)]
#[serde(untagged, expecting = "not one of \"fail_closed\", { bridge = \"60s\" } and { stale_unsafe = \"5m\" }")]
enum Said {
    Word(Word),
    Bridge(Bridge),
    StaleUnsafe(StaleUnsafe),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    FailClosed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bridge {
    bridge: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaleUnsafe {
    stale_unsafe: Span,
}

impl From<Said> for Outage {
    fn from(said: Said) -> Self {
        match said {
            Said::Word(Word::FailClosed) => Self::FailClosed,
            Said::Bridge(Bridge { bridge }) => Self::Bridge(bridge),
            Said::StaleUnsafe(StaleUnsafe { stale_unsafe }) => Self::StaleUnsafe(stale_unsafe),
        }
    }
}

impl Config {
    /// Whether the store is one that processes share.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme))
    }

    /// How long what a replica has read may count.
    #[must_use]
    pub fn fence(&self) -> Duration {
        match self.outage {
            Outage::Bridge(span) => span.0,
            Outage::FailClosed | Outage::StaleUnsafe(_) => self.fence.0,
        }
    }

    /// For how long beyond that a replica serves by it nonetheless.
    #[must_use]
    pub const fn stale(&self) -> Duration {
        match self.outage {
            Outage::StaleUnsafe(span) => span.0,
            Outage::FailClosed | Outage::Bridge(_) => Duration::ZERO,
        }
    }

    /// Whether the addresses of a PostgreSQL store can be understood.
    ///
    /// # Errors
    /// Which setting cannot, and why.
    pub fn check_address(&self) -> Result<(), (&'static str, String)> {
        let listen = self.listen_url.as_ref().map(|url| (url, "store.listen_url"));
        for (url, setting) in std::iter::once((&self.url, "store.url")).chain(listen) {
            match Address::of(url, setting, self) {
                Ok(_) => {}
                Err(StoreError::Address { setting, what }) => return Err((setting, what)),
                Err(StoreError::Denied { path, source }) => {
                    return Err(("store.password_file", format!("{}: cannot be read: {source}", path.display())));
                }
                Err(error) => return Err((setting, error.to_string())),
            }
        }
        Ok(())
    }

    /// Where the command socket and other files of this process are: beside the database file, or in the folder that is named.
    #[must_use]
    pub fn place(&self) -> Option<PathBuf> {
        if self.is_postgres() { self.folder.as_ref().map(|folder| folder.join("keyward")) } else { self.path().ok() }
    }

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
impl Config {
    /// As the defaults are, but for the address.
    pub(crate) fn example() -> Self {
        let second = Span(Duration::from_secs(5));
        Self {
            url: String::new(),
            listen_url: None,
            password_file: None,
            ca_file: None,
            folder: None,
            snapshot: true,
            fence: Span(Duration::from_secs(10)),
            outage: Outage::FailClosed,
            readers: 2,
            lookups: 2,
            busy_timeout: second,
            load_timeout: second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_absolute_or_a_relative_file() {
        let path = |url: &str| Config { url: url.into(), ..Config::example() }.path();
        assert_eq!(path("sqlite:///var/lib/k.db").unwrap(), PathBuf::from("/var/lib/k.db"));
        assert_eq!(path("sqlite://k.db").unwrap(), PathBuf::from("k.db"));
        for bad in ["", "k.db", "sqlite://", "sqlite:///var/", "sqlite://k.db?mode=ro", "postgres://host/db"] {
            assert!(matches!(path(bad), Err(StoreError::Url { .. })), "{bad}");
        }
    }
}

//! The settings of the store.

use serde::{Deserialize, Serialize};

use crate::measure::Span;

/// `[store]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
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

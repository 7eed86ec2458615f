//! What a change answers with that takes something away: when, and where, it became true.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::store::replica::ReplicaId;

/// When and where a change became true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The change's position in the log.
    pub revision: u64,
    /// How far it has come.
    pub progress: Progress,
    /// The replicas that had to learn of it, and how each did; none where that is no longer known.
    pub replicas: Vec<Heard>,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// No request that arrives from now on is served, anywhere, by what was before.
    Complete {
        /// Since when, by the clock of who says so.
        at: Timestamp,
    },
    /// It is committed, and will be complete after so long at the latest.
    Pending {
        /// The longest that it takes from now on.
        within: Duration,
    },
}

/// A replica that had to learn of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Which.
    pub id: ReplicaId,
    /// Its machine.
    pub node: String,
    /// What came of it.
    pub how: How,
}

/// How a replica stopped serving from what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It said that it applied the change.
    Acknowledged,
    /// It was silent, and whatever it had read counts no longer.
    Lapsed,
    /// It has neither said so nor been silent for long enough.
    Waiting,
}

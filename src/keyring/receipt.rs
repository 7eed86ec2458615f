//! What a change answers with that takes something away: when, and where, it became true.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Outcome, Problem};
use crate::clock::Timestamp;
use crate::store::replica::ReplicaId;

/// The header with which a request says of which position of the log it has been told: it is judged as of that, or later.
pub const AT_LEAST: &str = "keyward-at-least";

/// A position of the log as it is written: digits alone, and no zero before them.
#[must_use]
pub fn position(text: &[u8]) -> Option<u64> {
    let plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

/// A command that was carried out, before anybody has waited for it.
#[derive(Debug)]
pub struct Committed {
    /// What it brought about, or what it shows.
    pub outcome: Outcome,
    /// The log's position with what it changed.
    pub revision: Option<u64>,
    /// Whether it is to be told when that is true everywhere.
    pub(super) awaited: bool,
}

/// A command that was carried out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// What it brought about, or what it shows.
    pub outcome: Outcome,
    /// The log's position with what it changed; none where it changed nothing.
    pub revision: Option<u64>,
    /// When and where that became true, of what may have taken something away.
    pub receipt: Option<Receipt>,
}

impl Done {
    /// It, where the change is still there.
    ///
    /// # Errors
    /// The database that answers now does not have it.
    pub fn unlost(self) -> Result<Self, Problem> {
        let is_lost = self.receipt.as_ref().is_some_and(|receipt| receipt.progress == Progress::Lost);
        if is_lost { Err(Problem::lost()) } else { Ok(self) }
    }

    /// The outcome, for who cannot be told that it is not true everywhere yet.
    ///
    /// # Errors
    /// It is not: the store did not tell in time.
    pub fn in_force(self) -> Result<Outcome, Problem> {
        let done = self.unlost()?;
        match &done.receipt {
            Some(receipt) if !receipt.is_complete() => Err(Problem::not_in_force()),
            Some(_) | None => Ok(done.outcome),
        }
    }
}

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

impl Receipt {
    /// Whether the change is true everywhere.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.progress, Progress::Complete { .. })
    }
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
    /// The database that answers now does not have it: a failover, or a restore, lost it.
    Lost,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::command::Outcome;

    #[test]
    fn a_change_that_was_lost_is_done_to_nobody() {
        let told = |progress| {
            let receipt = Receipt { revision: 7, progress, replicas: Vec::new() };
            let done = Done { outcome: Outcome::Revision(7), revision: Some(7), receipt: Some(receipt.clone()) };
            (done.unlost().map(|done| done.receipt), receipt)
        };
        assert_eq!(told(Progress::Lost).0.unwrap_err(), Problem::lost());
        for progress in
            [Progress::Complete { at: Timestamp::from_millis(0) }, Progress::Pending { within: Duration::from_secs(1) }]
        {
            let (done, receipt) = told(progress);
            assert_eq!(done, Ok(Some(receipt)));
        }
    }
}

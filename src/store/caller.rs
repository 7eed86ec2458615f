//! Who uses which secret of a key: the words in which it is written and read.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::key::{AccountId, Key, SecretState};

/// What was seen of one kind of use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The key's number.
    pub key: i64,
    /// Which of its secrets was used, counted from 1.
    pub secret: i64,
    /// What is told of it.
    pub what: What,
}

/// What a use tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Who it was.
    Caller {
        /// The client's address.
        address: IpAddr,
        /// What it called itself; empty where it did not.
        agent: Box<str>,
        /// The route, by its name.
        route: Box<str>,
    },
    /// One more than there are places for.
    Others,
    /// In which account a user's key was used.
    Account(AccountId),
}

/// How often something was seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// When first.
    pub first_seen: Timestamp,
    /// When last.
    pub last_seen: Timestamp,
}

impl Tally {
    /// Seen once, now.
    #[must_use]
    pub const fn once(now: Timestamp) -> Self {
        Self { count: 1, first_seen: now, last_seen: now }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first_seen: self.first_seen.min(other.first_seen),
            last_seen: self.last_seen.max(other.last_seen),
        }
    }
}

/// One secret that authenticates, and who uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Which of the key's secrets, counted from 1.
    pub number: i64,
    /// What it is to its key.
    pub state: SecretState,
    /// Its last four characters.
    pub hint: String,
    /// From then on it no longer authenticates, where it is pending or in grace.
    pub valid_until: Option<Timestamp>,
    /// Its callers, last seen first.
    pub callers: Vec<Caller>,
    /// Those for whom there was no place.
    pub more: Option<Tally>,
}

/// A rotation that was completed, and who had not left the old secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The key as it is now.
    pub key: Key,
    /// Who used the old secret while the rotation ran and not the new one since, last seen first.
    pub left: Vec<Caller>,
    /// Those of the old secret for whom there was no place.
    pub more: Option<Tally>,
}

/// A client that uses a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its address.
    pub address: IpAddr,
    /// What it called itself; empty where it did not.
    pub user_agent: String,
    /// The route, by its name.
    pub route: String,
    /// How often, and when.
    #[serde(flatten)]
    pub seen: Tally,
}

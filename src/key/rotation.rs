//! How a key changes its secret. At most two of a key's secrets authenticate at a time.
//!
//! ```text
//!  immediate   new: current                       old: retired
//!  grace       new: current                       old: grace --its time, quiet, or complete--> retired
//!  first use   new: pending --first use--> current
//!              old: current --first use--> grace or retired
//! ```
//!
//! The clock ends a grace and a pending secret at the very moment, at every use; no sweeper is needed for that. A rotation may
//! be cancelled while nobody has used the new secret: then the old one is current again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::line::Edit;
use crate::clock::Timestamp;

/// How to rotate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// What becomes of the old secret, and when.
    pub mode: Mode,
    /// Ends a rotation that still runs; without it, one that runs is a conflict.
    pub supersede: bool,
    /// The old secret ends before its grace does, once nobody has used it for so long.
    pub until_quiet: Option<Duration>,
    /// How many secrets the key has had, to who asks; a conflict where that is not so any more. Of two who rotate what both
    /// have seen, one finds out.
    pub generation: Option<i64>,
    /// What the key is called from then on; as it was where nothing is said.
    pub name: Option<String>,
    /// Until when the key is accepted; as it was where nothing is said, so that a rotation by itself prolongs nothing.
    pub expires_at: Edit<Timestamp>,
}

impl Rotation {
    /// The old secret ends at once, and with it whatever rotation still runs.
    pub const IMMEDIATE: Self = Self {
        mode: Mode::Immediate,
        supersede: false,
        until_quiet: None,
        generation: None,
        name: None,
        expires_at: Edit::Keep,
    };
}

/// What becomes of the old secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It ends.
    Immediate,
    /// It is good for so long, but not longer than the key.
    Grace(Duration),
    /// It stays until the new one is first used.
    FirstUse {
        /// A new secret that is not used for so long is given up.
        within: Duration,
        /// How long the old one is good after that first use; zero for not at all.
        grace: Duration,
    },
}

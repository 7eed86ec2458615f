//! Who asked for a change, and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::key::KeyId;

/// Who asks for a command, from where, and in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub who: Who,
    /// The address they ask from, where they ask over a network.
    pub address: Option<IpAddr>,
    /// The request they ask with, where it has a name.
    pub request_id: Option<Box<str>>,
}

/// Who asks for a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Who {
    /// keyward itself: what it does at its first start, and what follows from a use.
    Keyward,
    /// The command line on this machine.
    CommandLine {
        /// The user of the operating system, as the system tells it.
        uid: u32,
    },
    /// Whoever holds this operator key.
    Operator {
        /// The operator key.
        key: KeyId,
    },
    /// Whoever holds this key, about what is theirs.
    Holder {
        /// The key they presented.
        key: KeyId,
    },
}

impl By {
    /// keyward itself.
    pub const KEYWARD: Self = Self { who: Who::Keyward, address: None, request_id: None };

    /// The command line, run by this user of the operating system.
    #[must_use]
    pub const fn command_line(uid: u32) -> Self {
        Self { who: Who::CommandLine { uid }, address: None, request_id: None }
    }
}

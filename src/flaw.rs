//! What is wrong with one setting, before it is known which file said it.

use std::fmt;

/// One wrong setting: where it stands and what is wrong with it. Every part collects all of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The setting's dotted key, such as `routes.0.service`; list members by number, from 0.
    pub key: String,
    /// What is wrong and what would be right, as one sentence without its full stop.
    pub message: String,
}

impl Flaw {
    /// A flaw of the setting `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

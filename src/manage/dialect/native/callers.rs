//! Who uses which secret, on the wire.

use serde::Serialize;

use super::key::Body;
use crate::clock::Timestamp;
use crate::keyring::command::{Caller, Completed, SecretUse, Tally};

/// The secrets of a key that authenticate, and their callers.
#[derive(Debug, Serialize)]
pub(super) struct Secrets<'a> {
    pub(super) secrets: &'a [SecretUse],
}

/// A key whose rotation has ended, and who had not left the old secret.
#[derive(Debug, Serialize)]
pub(super) struct Ended<'a> {
    key: Body<'a>,
    left: &'a [Caller],
    more: Option<Tally>,
}

impl<'a> Ended<'a> {
    pub(super) fn of(completed: &'a Completed, now: Timestamp) -> Self {
        let Completed { key, left, more } = completed;
        Self { key: Body::of(key, now), left, more: *more }
    }
}

//! What stands in a snapshot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{BootTime, Timestamp};
use crate::key::{Digest, Standing};
use crate::store::log::{Entry, News, Subject, Tail};
use crate::store::replica::{Instance, ReplicaId};

/// One record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// Whose it is; the first one.
    Owner(ReplicaId),
    /// Living keys.
    Keys(Vec<Kept>),
    /// What was applied of the log.
    Entries(Vec<Entry>),
    /// What the last answer of the store lets this process believe, everything before it being applied.
    Lease(Lease),
    /// Everything is there; what follows came later.
    Whole,
}

/// A key that is remembered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The digest of its secret, as numbers: shorter to write than bytes are.
    digest: [u64; 4],
    /// The log's position when it was read.
    pub(super) as_of: u64,
    pub(super) standing: Standing,
}

impl Kept {
    pub(super) fn new(digest: &Digest, as_of: u64, standing: Standing) -> Self {
        let mut numbers = [0; 4];
        for (number, bytes) in numbers.iter_mut().zip(digest.as_bytes().as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        Self { digest: numbers, as_of, standing }
    }

    pub(super) fn digest(&self) -> Digest {
        let mut bytes = [0; 32];
        for (eight, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.digest) {
            *eight = number.to_le_bytes();
        }
        Digest::from_bytes(bytes)
    }
}

/// A lease, in boot time: whoever reads it later on the same machine, since the same start of it, may go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::keyring) struct Lease {
    /// The log is applied up to here.
    pub(in crate::keyring) applied: u64,
    /// Until when what is remembered counts.
    deadline: u64,
    /// Until when it may be used beyond that; zero where it may not.
    stale: u64,
    /// When the store was last heard.
    heard: u64,
    /// The store's clock, and when it was asked.
    time: Option<(Timestamp, u64)>,
    /// Who answered.
    instance: Box<str>,
    /// In milliseconds.
    fence: u64,
}

/// The same, taken apart.
#[derive(Clone, Debug)]
pub(in crate::keyring) struct Terms {
    pub(in crate::keyring) deadline: BootTime,
    pub(in crate::keyring) stale: BootTime,
    pub(in crate::keyring) heard: BootTime,
    pub(in crate::keyring) time: Option<(Timestamp, BootTime)>,
    pub(in crate::keyring) instance: Instance,
    pub(in crate::keyring) fence: Duration,
}

impl Lease {
    pub(in crate::keyring) fn new(applied: u64, terms: Terms) -> Self {
        Self {
            applied,
            deadline: terms.deadline.as_nanos(),
            stale: terms.stale.as_nanos(),
            heard: terms.heard.as_nanos(),
            time: terms.time.map(|(time, asked)| (time, asked.as_nanos())),
            instance: terms.instance.0,
            fence: u64::try_from(terms.fence.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(in crate::keyring) fn terms(&self) -> Terms {
        Terms {
            deadline: BootTime::from_nanos(self.deadline),
            stale: BootTime::from_nanos(self.stale),
            heard: BootTime::from_nanos(self.heard),
            time: self.time.map(|(time, asked)| (time, BootTime::from_nanos(asked))),
            instance: Instance(self.instance.clone()),
            fence: Duration::from_millis(self.fence),
        }
    }
}

/// What a tail told, as entries: where it does not tell all, anything may have changed.
pub(in crate::keyring) fn told(tail: &Tail) -> Vec<Entry> {
    match &tail.news {
        News::Entries(entries) => entries.clone(),
        News::Gone | News::WentBack => vec![Entry { seq: tail.head, subject: Subject::Everything }],
    }
}

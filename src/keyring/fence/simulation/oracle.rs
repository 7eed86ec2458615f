//! What must hold, judged from outside: on the world's own time, by what the store did, and by no state of any process.

use std::fmt;
use std::time::Duration;

use super::chance::MS;
use super::keys::{Keys, What};

/// What must not happen, and in which history it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) seed: u64,
    pub(super) what: String,
}

#[derive(Debug)]
pub(super) struct Oracle {
    seed: u64,
    pub(super) changes: Vec<Change>,
    /// For each process, until when it can hold a lease: by when it sent what the store answered, on the slowest clock.
    leases: Vec<u64>,
    pub(super) told: Told,
    violation: Option<String>,
    /// The slowest clock, in millionths.
    slowest: u64,
}

/// A committed change.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) seq: u64,
    pub(super) what: What,
    /// When somebody was first told that it is complete.
    complete: Option<u64>,
    /// A failover lost it: then nothing is promised of it.
    lost: bool,
}

/// How often what happened, so that a test can tell whether anything did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told([u64; NOTES.len()]);

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A request was answered from memory, by a look-up of its own, or by one that it joined.
    Remembered,
    Fresh,
    Joined,
    /// The store did not answer, and what was remembered was used beyond the lease.
    Outlasted,
    /// It was refused, or could not be answered.
    Refused,
    Failed,
    /// A change was complete because everybody had acknowledged it, because time was up, or was seen to be lost.
    ByAcknowledgement,
    ByTime,
    Lost,
    /// A replica saw another history, or that it is not live; it was taken for suspect, for dead.
    Turned,
    Unlisted,
    Suspect,
    Dead,
    Crash,
    Join,
    Left,
    Failover,
    Restart,
    /// Another fence.
    Fence,
}

pub(super) const NOTES: [Note; 19] = [
    Note::Remembered,
    Note::Fresh,
    Note::Joined,
    Note::Outlasted,
    Note::Refused,
    Note::Failed,
    Note::ByAcknowledgement,
    Note::ByTime,
    Note::Lost,
    Note::Turned,
    Note::Unlisted,
    Note::Suspect,
    Note::Dead,
    Note::Crash,
    Note::Join,
    Note::Left,
    Note::Failover,
    Note::Restart,
    Note::Fence,
];

impl Told {
    pub(super) const fn of(&self, note: Note) -> u64 {
        self.0[note as usize]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (all, more) in self.0.iter_mut().zip(other.0) {
            *all += more;
        }
    }
}

impl Oracle {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, changes: Vec::new(), leases: Vec::new(), told: Told::default(), violation: None, slowest: 990_000 }
    }

    /// Clocks differ by so many millionths.
    pub(super) const fn drift(&mut self, drift: u64) {
        self.slowest = 1_000_000 - drift;
    }

    pub(super) const fn note(&mut self, note: Note) {
        self.told.0[note as usize] += 1;
    }

    pub(super) fn broken(&self) -> bool {
        self.violation.is_some()
    }

    /// What happened, or what must not have.
    pub(super) fn verdict(self) -> Result<Told, Violation> {
        match self.violation {
            Some(what) => Err(Violation { seed: self.seed, what }),
            None => Ok(self.told),
        }
    }

    pub(super) fn violated(&mut self, now: u64, what: &str) {
        if self.violation.is_none() {
            self.violation = Some(format!("{} ms: {what}", now / MS));
        }
    }

    /// A change is in the log; what it is called from now on.
    pub(super) fn committed(&mut self, seq: u64, what: What) -> usize {
        self.changes.push(Change { seq, what, complete: None, lost: false });
        self.changes.len() - 1
    }

    pub(super) fn completed(&mut self, now: u64, change: usize) {
        let change = &mut self.changes[change];
        change.complete = Some(change.complete.map_or(now, |before| before.min(now)));
    }

    pub(super) fn is_lost(&self, change: usize) -> bool {
        self.changes[change].lost
    }

    /// A failover left the log with this head.
    pub(super) fn failed_over(&mut self, head: u64) {
        for change in self.changes.iter_mut().filter(|change| change.seq > head) {
            change.lost = true;
        }
    }

    /// G1: nobody is served whose request began after a change that takes the key away was complete.
    pub(super) fn served(&mut self, now: u64, keys: &Keys, process: usize, key: usize, began: u64) {
        let over = |change: &&Change| {
            !change.lost && change.complete.is_some_and(|at| at < began) && keys.of(change.what).any(|each| each == key)
        };
        if let Some(change) = self.changes.iter().find(over) {
            let complete = change.complete.unwrap_or_default();
            let what = format!(
                "G1: process {process} served key {key}; the request began at {} us, change {} was complete at {} us",
                began / 1000,
                change.seq,
                complete / 1000
            );
            self.violated(now, &what);
        }
    }

    /// The store has answered a renewal of a live registration that was sent at `sent`.
    pub(super) fn granted(&mut self, process: usize, sent: u64, fence: Duration) {
        if self.leases.len() <= process {
            self.leases.resize(process + 1, 0);
        }
        let lease = fence.as_nanos() as u64 / 100 * 98;
        let longest = lease * 1000 / (self.slowest / 1000);
        self.leases[process] = self.leases[process].max(sent + longest);
    }

    /// Nothing counts outside a lease.
    pub(super) fn counted(&mut self, now: u64, process: usize) {
        let lease = self.leases.get(process).copied().unwrap_or(0);
        if now > lease {
            let what =
                format!("lease: process {process} believed what it remembered; its lease ended at {} ms", lease / MS);
            self.violated(now, &what);
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, note) in NOTES.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{note:?} {}", self.of(note))?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

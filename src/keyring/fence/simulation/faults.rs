//! The test of the test: each fault of REVOCATION's table, and some more, put in one at a time, must be found.
//!
//! A fault is put in where the parts are called, or by a stand-in for one of them; the parts themselves have no switches.
//!
//! | fault | simulation, histories | Spin (`cargo xtask spin`) | loom (`cargo xtask loom`) |
//! |---|---|---|---|
//! | lease not checked | 1 | yes | |
//! | stale fill | 3 | yes | |
//! | waiter trusts a joined look-up | 102 | yes | |
//! | deadline from receive time | 8 | yes | |
//! | deadline read after validity | 913 | yes | yes |
//! | deadline stored before applying | 18 | yes | yes |
//! | Relaxed atomics | | | yes |
//! | acknowledged before applied | 82 | yes | "applied before it is" |
//! | snapshot before registration | 1012, about joins | yes | |
//! | one-phase purge | 17, about purges | yes | |
//! | sequence numbers, no head row | 14 | | |
//! | no drift allowance, at ±20 % | 688 | | |
//! | another database taken for the same | 9, about failovers | | "the lease comes before the turn" |
//! | rows count at once after a failover | 1326, about failovers | | |
//! | goodbye while requests are taken | 39 | | |
//! | a change counted from before its commit | 74 | | |
//!
//! How many histories it takes changes with every change of a plan; ten thousand must be enough.

use super::super::{Fence, Judged};
use super::plan::Theme;
use super::run_all;
use crate::clock::BootTime;
use crate::key::Digest;
use crate::keyring::cache::{Entry, Shelf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// What is remembered counts without a lease.
    LeaseIgnored,
    /// What is remembered counts until it is removed, whatever it was read at.
    StaleFill,
    /// Who joined a look-up believes what it brings.
    JoinedTrusted,
    /// A lease is counted from when the answer came.
    LeaseFromReceipt,
    /// The deadline is read after the stripes.
    DeadlineLate,
    /// The lease begins before what came with it is applied.
    LeaseBeforeApplying,
    /// A position is acknowledged before it is applied.
    AcknowledgeBeforeApplying,
    /// What grants the first lease is read before the registration.
    SnapshotBeforeRegistration,
    /// The silent are dead at once.
    OnePhasePurge,
    /// Positions are given out before the commit.
    Sequence,
    /// Clocks that differ by a fifth, with the allowance for a hundredth.
    Drift,
    /// Another database is followed as if it were the same.
    TurnIgnored,
    /// Rows count at once where a database is seen for the first time.
    GraceIgnored,
    /// A replica says goodbye while it takes requests.
    LeavesServing,
    /// The time of a change is counted from before its commit was answered.
    WaitFromBefore,
}

impl Fault {
    /// By how much clocks differ, in millionths.
    pub(super) fn drift(self) -> u64 {
        if self == Self::Drift { 200_000 } else { 10_000 }
    }

    /// What a history must be about for the fault to show soon; none where any will do.
    pub(super) fn theme(self) -> Option<Theme> {
        match self {
            Self::SnapshotBeforeRegistration => Some(Theme::Joins),
            Self::OnePhasePurge => Some(Theme::Purges),
            Self::TurnIgnored | Self::GraceIgnored => Some(Theme::Failover),
            _ => None,
        }
    }

    /// As [`Fence::judge`], or not quite.
    pub(super) fn judge(
        self,
        fence: &Fence,
        digest: &Digest,
        recall: impl FnOnce() -> Option<(Entry, Shelf)>,
        mut now: impl FnMut() -> BootTime,
    ) -> Option<Judged> {
        match self {
            Self::LeaseIgnored => {
                let (entry, shelf) = recall()?;
                let counts = entry.as_of >= fence.changed(digest, &entry.owners);
                now();
                Some(Judged { entry, shelf, counts })
            }
            Self::StaleFill => {
                let deadline = fence.deadline();
                let (entry, shelf) = recall()?;
                Some(Judged { entry, shelf, counts: now() < deadline })
            }
            Self::DeadlineLate => {
                let (entry, shelf) = recall()?;
                let fresh = entry.as_of >= fence.changed(digest, &entry.owners);
                // Others go on here.
                now();
                let deadline = fence.deadline();
                Some(Judged { entry, shelf, counts: fresh && now() < deadline })
            }
            _ => fence.judge(digest, recall, now),
        }
    }
}

/// Each fault, and what it breaks first.
const FAULTS: [(Fault, &str); 15] = [
    (Fault::LeaseIgnored, "lease"),
    (Fault::StaleFill, "G1"),
    (Fault::JoinedTrusted, "G1"),
    (Fault::LeaseFromReceipt, "lease"),
    (Fault::DeadlineLate, "G1"),
    (Fault::LeaseBeforeApplying, "G1"),
    (Fault::AcknowledgeBeforeApplying, "G1"),
    (Fault::SnapshotBeforeRegistration, "G1"),
    (Fault::OnePhasePurge, "G1"),
    (Fault::Sequence, "G1"),
    (Fault::Drift, "G1"),
    (Fault::TurnIgnored, "G1"),
    (Fault::GraceIgnored, "G1"),
    (Fault::LeavesServing, "G1"),
    (Fault::WaitFromBefore, "G1"),
];

/// Within so many histories; the table says after how many it was.
const ENOUGH: u64 = 10_000;

#[test]
fn every_fault_put_in_is_found() {
    for (fault, breaks) in FAULTS {
        match run_all(ENOUGH, fault) {
            Err(violation) => {
                println!("{fault:?}: {violation}");
                assert!(violation.what.contains(breaks), "{fault:?} breaks something else: {violation}");
            }
            Ok(told) => panic!("not found: {fault:?}: {told}"),
        }
    }
}

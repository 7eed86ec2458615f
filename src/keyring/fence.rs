//! What may still be believed of what was read. Pure: no I/O, no clock, only atomics.
//!
//! Every remembered look-up knows the log's position it was read at (`as_of`) and the stripes it depends on. Applying the
//! log raises the stripes of what changed; a look-up counts only while none of its stripes stands above its `as_of`.
//! Nothing has to be removed anywhere for that, so it does not matter in which order a cache is filled and a change
//! arrives: a slow load that read the old state is dead the moment it is put away.
//!
//! The order of reading is load-bearing, so [`Fence::judge`] is the only way to ask. Whoever applies the log raises stripes,
//! then `applied`, then the deadline. Reading the deadline after the stripes would let an old stripe pass under a new lease.
//! A model checker runs these very functions, and shows that it would find that (`cargo xtask loom`, `fence/model.rs`).

#[cfg(all(test, keyward_loom))]
mod model;

use std::hash::BuildHasher;
use std::sync::Arc;
#[cfg(not(all(test, keyward_loom)))]
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
#[cfg(all(test, keyward_loom))]
use loom::sync::atomic::{AtomicU64, Ordering};
use smallvec::SmallVec;

use super::cache::{Entry, Shelf};
use crate::clock::BootTime;
use crate::key::{Digest, Standing};
use crate::store::log::{News, Subject, Tail};

/// Positions up to which each stripe is known to have changed, and how long that knowledge holds.
#[derive(Debug)]
pub(super) struct Fence {
    /// Whatever was read before this position is void.
    floor: AtomicU64,
    /// The log is applied up to here.
    applied: AtomicU64,
    /// Remembered look-ups count only before this moment of boot time.
    deadline: AtomicU64,
    secrets: Box<[AtomicU64]>,
    owners: Box<[AtomicU64]>,
    /// Seeded anew in every process, so that nobody can choose names that share a stripe.
    hasher: RandomState,
}

/// What one look-up depends on.
#[derive(Clone, Debug)]
pub(super) struct Stripes {
    secret: u32,
    /// Its account and its user; for a user key every account the user belongs to.
    owners: SmallVec<[u16; 6]>,
}

/// A remembered look-up, and what it is worth now.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) entry: Arc<Entry>,
    /// Where it is kept.
    pub(super) shelf: Shelf,
    /// Whether it may still be believed.
    pub(super) counts: bool,
}

/// Two megabytes: with a million keys remembered, one change makes about four of them be read again. The model checker
/// follows each of them, and gets no more than it needs.
const SECRETS: usize = if cfg!(all(test, keyward_loom)) { 2 } else { 1 << 18 };
const OWNERS: usize = if cfg!(all(test, keyward_loom)) { 1 } else { 1 << 14 };

impl Fence {
    /// A fence that knows nothing: nothing counts before the first [`Fence::apply`] and [`Fence::extend`].
    pub(super) fn new() -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            floor: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            secrets: zeros(SECRETS),
            owners: zeros(OWNERS),
            hasher: RandomState::default(),
        }
    }

    /// The stripes of a look-up. An unknown digest depends on nothing but being made.
    pub(super) fn stripes(&self, digest: &Digest, standing: Option<&Standing>) -> Stripes {
        let bytes = digest.as_bytes();
        let mut owners = SmallVec::new();
        if let Some(key) = standing {
            owners.extend(key.user.iter().map(|user| self.owner(USER, user.as_str())));
            owners.extend(key.account.iter().map(|(account, _)| self.owner(ACCOUNT, account.as_str())));
            owners.extend(key.memberships.iter().map(|(account, _, _)| self.owner(ACCOUNT, account.as_str())));
            owners.sort_unstable();
            owners.dedup();
        }
        Stripes { secret: secret(&[bytes[0], bytes[1], bytes[2]]), owners }
    }

    /// What `recall` finds remembered, and whether it counts now. The order of the four reads is load-bearing: the deadline
    /// first, then the look-up, then its stripes, and the clock last.
    pub(super) fn judge(
        &self,
        recall: impl FnOnce() -> Option<(Arc<Entry>, Shelf)>,
        now: impl FnOnce() -> BootTime,
    ) -> Option<Judged> {
        let deadline = self.deadline();
        let (entry, shelf) = recall()?;
        let changed = self.changed(&entry.stripes);
        let counts = entry.as_of >= changed && now() < deadline;
        Some(Judged { entry, shelf, counts })
    }

    /// The moment before which a remembered look-up may count.
    fn deadline(&self) -> BootTime {
        BootTime::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    /// The last position that touched any of these stripes; a look-up from before it is void.
    fn changed(&self, stripes: &Stripes) -> u64 {
        let secret = self.secrets[stripes.secret as usize].load(Ordering::Acquire);
        let owners = stripes.owners.iter().map(|stripe| self.owners[usize::from(*stripe)].load(Ordering::Acquire));
        owners.fold(secret.max(self.floor.load(Ordering::Acquire)), u64::max)
    }

    /// The position up to which the log is applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Takes in what changed after `applied`. May run twice at once, and twice for the same entries.
    pub(super) fn apply(&self, tail: &Tail) {
        match &tail.news {
            News::Entries(entries) => {
                for entry in entries {
                    self.stripe(&entry.subject).fetch_max(entry.seq, Ordering::Release);
                }
            }
            News::Gone => self.flush(tail.head),
            // Positions will be given out a second time: until this process ends, nothing remembered can be told from
            // what the older copy says, so every request reads for itself.
            News::WentBack => self.flush(u64::MAX),
        }
        self.applied.fetch_max(tail.head, Ordering::AcqRel);
    }

    /// Voids whatever was read before `position`.
    pub(super) fn flush(&self, position: u64) {
        self.floor.fetch_max(position, Ordering::Release);
    }

    /// Lets remembered look-ups count until `deadline`. Only after everything up to the answer of a tail that was sent
    /// a lease before `deadline` is applied.
    pub(super) fn extend(&self, deadline: BootTime) {
        self.deadline.fetch_max(deadline.as_nanos(), Ordering::Release);
    }

    fn stripe(&self, subject: &Subject) -> &AtomicU64 {
        match subject {
            Subject::Secret(head) => &self.secrets[secret(&[head[0], head[1], head[2]]) as usize],
            Subject::Account(id) => &self.owners[usize::from(self.owner(ACCOUNT, id))],
            Subject::User(id) => &self.owners[usize::from(self.owner(USER, id))],
            // Which prefixes there are concerns no look-up, only whether one is made.
            Subject::Prefixes => &self.owners[0],
            Subject::Everything => &self.floor,
        }
    }

    fn owner(&self, what: u8, id: &str) -> u16 {
        (self.hasher.hash_one((what, id)) % OWNERS as u64) as u16
    }
}

const ACCOUNT: u8 = 0;
const USER: u8 = 1;

/// A digest's bytes are as good as random.
fn secret(head: &[u8; 3]) -> u32 {
    u32::from_le_bytes([head[0], head[1], head[2], 0]) % SECRETS as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{AccountState, KeyState, Kind, Permissions, SecretState};
    use crate::store::log::Entry;

    fn digest(first: u8) -> Digest {
        let mut bytes = [7; 32];
        bytes[0] = first;
        Digest::from_bytes(bytes)
    }

    fn head(digest: &Digest) -> [u8; 16] {
        digest.as_bytes()[..16].try_into().unwrap()
    }

    fn entries(first: u64, subjects: Vec<Subject>) -> Tail {
        let entries: Vec<_> = (first..).zip(subjects).map(|(seq, subject)| Entry { seq, subject }).collect();
        Tail { head: first + entries.len() as u64 - 1, news: News::Entries(entries) }
    }

    fn user_key() -> Standing {
        let place = |id: &str| (id.parse().unwrap(), AccountState::Active, Permissions::default());
        Standing {
            id: "key_1".parse().unwrap(),
            serial: 1,
            kind: Kind::User,
            state: KeyState::Active,
            secret: SecretState::Current,
            not_before: None,
            expires_at: None,
            account: None,
            user: Some("paul".parse().unwrap()),
            memberships: vec![place("101"), place("102")],
            permissions: Permissions::default(),
            allowed_ips: Vec::new(),
        }
    }

    #[test]
    fn a_change_voids_what_was_read_before_it_and_nothing_read_since() {
        let fence = Fence::new();
        let (one, other) = (fence.stripes(&digest(1), None), fence.stripes(&digest(2), None));
        fence.apply(&entries(5, vec![Subject::Secret(head(&digest(1)))]));
        assert_eq!((fence.changed(&one), fence.changed(&other), fence.applied()), (5, 0, 5));
    }

    #[test]
    fn a_user_key_depends_on_its_user_and_on_every_account_of_theirs() {
        for subject in [Subject::User("paul".into()), Subject::Account("101".into()), Subject::Account("102".into())] {
            let fence = Fence::new();
            let stripes = fence.stripes(&digest(1), Some(&user_key()));
            fence.apply(&entries(9, vec![subject]));
            assert_eq!(fence.changed(&stripes), 9);
        }
    }

    #[test]
    fn a_log_that_is_gone_or_went_back_voids_everything() {
        let fence = Fence::new();
        let stripes = fence.stripes(&digest(1), None);
        fence.apply(&Tail { head: 40, news: News::Gone });
        assert_eq!(fence.changed(&stripes), 40);
        fence.apply(&Tail { head: 3, news: News::WentBack });
        assert_eq!(fence.changed(&stripes), u64::MAX);
        assert_eq!(fence.applied(), 40, "a position once reached is not given up");
    }

    #[test]
    fn nothing_counts_before_the_first_lease() {
        let fence = Fence::new();
        assert_eq!(fence.deadline(), BootTime::from_nanos(0));
        fence.extend(BootTime::from_nanos(20));
        fence.extend(BootTime::from_nanos(10));
        assert_eq!(fence.deadline(), BootTime::from_nanos(20));
    }

    proptest! {
        /// However the log is cut into tails, repeated and reordered, every stripe ends at its last change.
        #[test]
        fn applying_twice_or_out_of_order_changes_nothing(firsts in proptest::collection::vec(0_u8..6, 1..40), cut in 0_usize..40) {
            let whole: Vec<_> = firsts.iter().map(|first| Subject::Secret(head(&digest(*first)))).collect();
            let cut = cut.min(whole.len() - 1);
            let fence = Fence::new();
            fence.apply(&entries(1 + cut as u64, whole[cut..].to_vec()));
            fence.apply(&entries(1, whole.clone()));
            for first in 0..6 {
                let last = firsts.iter().rposition(|each| *each == first).map_or(0, |at| at as u64 + 1);
                prop_assert_eq!(fence.changed(&fence.stripes(&digest(first), None)), last);
            }
        }
    }
}

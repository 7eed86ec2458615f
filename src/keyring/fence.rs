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
//!
//! ```text
//!  member: what a replica asks the store, and what an answer lets it believe     -> Fence::apply, then Fence::extend
//!  grace:  what a look at the replicas is worth  -> wait: when a change is complete  -> purge: whom nobody waits for
//! ```
//!
//! All of it is pure: `keyring::follow` and whoever made a change ask the store, and time comes in with the answers.

pub(super) mod grace;
pub(super) mod member;
#[cfg(all(test, feature = "model"))]
mod model;
pub(super) mod purge;
#[cfg(test)]
#[cfg(not(feature = "model"))]
mod simulation;
mod span;
pub(super) mod wait;

use std::hash::BuildHasher;
use std::sync::Arc;
#[cfg(not(all(test, feature = "model")))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;
#[cfg(all(test, feature = "model"))]
use loom::sync::atomic::{AtomicU64, Ordering};
use smallvec::SmallVec;

pub(super) use self::span::lapse;
use super::cache::{Entry, Shelf};
use crate::clock::BootTime;
use crate::key::{Digest, Standing};
use crate::store::log::{News, Subject, Tail};

/// Positions up to which each stripe is known to have changed, and how long that knowledge holds.
#[derive(Debug)]
pub(super) struct Fence {
    /// Whatever was read before this position is void.
    floor: AtomicU64,
    /// The log is applied up to here, a [`Point`].
    applied: AtomicU64,
    /// Remembered look-ups count only before this moment of boot time.
    deadline: AtomicU64,
    /// Where the store cannot be asked, they may be used nonetheless before this one; zero where they may not.
    stale: AtomicU64,
    secrets: Box<[AtomicU64]>,
    owners: Box<[AtomicU64]>,
    /// Seeded anew in every process, so that nobody can choose names that share a stripe.
    hasher: RandomState,
}

/// The stripes of the owners that one look-up depends on: its account and its user; for a user key every account the user
/// belongs to. Small, because a million of them are kept.
#[derive(Clone, Debug)]
pub(super) enum Owners {
    /// Nearly every key has so few; places left over, at the end, hold [`NOBODY`].
    Few([u16; 4]),
    /// More.
    Many(Arc<[u16]>),
}

impl Owners {
    /// Of a look-up that depends on nobody.
    pub(super) const NONE: Self = Self::Few([NOBODY; 4]);

    #[inline]
    fn iter(&self) -> impl Iterator<Item = usize> {
        let all: &[u16] = match self {
            Self::Few(few) => few,
            Self::Many(many) => many,
        };
        all.iter().take_while(|owner| **owner != NOBODY).map(|owner| usize::from(*owner))
    }
}

/// A position of the log in one of the histories that this process has seen.
///
/// A database that took the place of another may have lost the end of its log, and gives those positions out a second time
/// ([`Fence::turn`]). Whatever belongs to a later history therefore stands above all of an earlier one. Who asks the store
/// takes the point before the question leaves: an answer that arrives after a turn then counts as of before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point(u64);

impl Point {
    /// The position in the log.
    pub(super) const fn position(self) -> u64 {
        self.0 & POSITIONS
    }

    /// Where `position` stands if it was read in this point's history.
    pub(super) fn at(self, position: u64) -> u64 {
        (self.0 & !POSITIONS) | position.min(POSITIONS)
    }

    /// The position in the log of what was read at a point.
    pub(super) const fn position_of(as_of: u64) -> u64 {
        Self(as_of).position()
    }

    /// Where `position` stands in the next history. There are enough of them: each takes an election among databases.
    fn turned(self, position: u64) -> u64 {
        Self(self.0.saturating_add(POSITIONS + 1)).at(position)
    }
}

/// The bits of a [`Point`] that are the position, three hundred million million; the others number the history.
const POSITIONS: u64 = (1 << 48) - 1;

/// A remembered look-up, and what it is worth now.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) entry: Entry,
    /// Where it is kept.
    pub(super) shelf: Shelf,
    /// Whether it may still be believed.
    pub(super) counts: bool,
}

/// Two megabytes: with a million keys remembered, one change makes about four of them be read again. The model checker
/// follows each of them, and gets no more than it needs.
const SECRETS: usize = if cfg!(all(test, feature = "model")) { 2 } else { 1 << 18 };
const OWNERS: usize = if cfg!(all(test, feature = "model")) { 1 } else { 1 << 14 };

impl Fence {
    /// A fence that knows nothing: nothing counts before the first [`Fence::apply`] and [`Fence::extend`].
    pub(super) fn new() -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            floor: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            secrets: zeros(SECRETS),
            owners: zeros(OWNERS),
            hasher: RandomState::default(),
        }
    }

    /// Whose change voids a look-up. An unknown digest depends on nothing but being made.
    pub(super) fn owners(&self, standing: Option<&Standing>) -> Owners {
        let Some(key) = standing else { return Owners::NONE };
        let user = key.user.iter().map(|user| self.owner(USER, user.as_str()));
        let account = key.account.iter().map(|(account, _)| account);
        let accounts = account.chain(key.memberships.iter().map(|(account, _, _)| account));
        let mut owners: SmallVec<[u16; 8]> =
            user.chain(accounts.map(|account| self.owner(ACCOUNT, account.as_str()))).collect();
        owners.sort_unstable();
        owners.dedup();
        let mut few = [NOBODY; 4];
        match few.get_mut(..owners.len()) {
            Some(places) => {
                places.copy_from_slice(&owners);
                Owners::Few(few)
            }
            None => Owners::Many(owners.as_slice().into()),
        }
    }

    /// What `recall` finds remembered of a digest, and whether it counts now. The order of the four reads is load-bearing:
    /// the deadline first, then the look-up, then its stripes, and the clock last. That the set of known secrets lacks the
    /// digest is such a look-up too; what the log tells is in the set before the stripes are raised, so it needs none.
    #[inline]
    pub(super) fn judge(
        &self,
        digest: &Digest,
        recall: impl FnOnce() -> Option<(Entry, Shelf)>,
        now: impl FnOnce() -> BootTime,
    ) -> Option<Judged> {
        self.judge_until(&self.deadline, digest, recall, now)
    }

    /// The same by the later moment, for what may be used though it should not be believed any more. All four are read anew, in
    /// the same order: of the first moment that has passed nothing follows for the second, which a lease may just have moved.
    pub(super) fn judge_stale(
        &self,
        digest: &Digest,
        recall: impl FnOnce() -> Option<(Entry, Shelf)>,
        now: impl FnOnce() -> BootTime,
    ) -> Option<Judged> {
        self.judge_until(&self.stale, digest, recall, now)
    }

    #[inline]
    fn judge_until(
        &self,
        deadline: &AtomicU64,
        digest: &Digest,
        recall: impl FnOnce() -> Option<(Entry, Shelf)>,
        now: impl FnOnce() -> BootTime,
    ) -> Option<Judged> {
        let deadline = BootTime::from_nanos(deadline.load(Ordering::Acquire));
        let (entry, shelf) = recall()?;
        // Nothing stands above the last position there is, so what is as true as that asks for no stripe.
        let fresh = entry.as_of == u64::MAX || entry.as_of >= self.changed(digest, &entry.owners);
        let counts = fresh && now() < deadline;
        Some(Judged { entry, shelf, counts })
    }

    /// Whether something else that is known as far as the log is applied is so, and counts now. In the order of [`Self::judge`].
    pub(super) fn counts(&self, known: impl FnOnce() -> bool, now: impl FnOnce() -> BootTime) -> bool {
        let deadline = self.deadline();
        known() && now() < deadline
    }

    /// For how long yet what is remembered may count; none where that has no end.
    pub(super) fn left(&self, now: BootTime) -> Option<Duration> {
        let deadline = self.deadline();
        (deadline.as_nanos() < u64::MAX).then(|| deadline.since(now))
    }

    /// Whether what is remembered may count.
    pub(super) fn holds(&self, now: BootTime) -> bool {
        now < self.deadline()
    }

    /// Whether what is remembered may be used, be it that it should not be believed any more.
    pub(super) fn serves(&self, now: BootTime) -> bool {
        self.holds(now) || now.as_nanos() < self.stale.load(Ordering::Acquire)
    }

    /// Whether a look-up is void for good: what it depends on has changed since.
    pub(super) fn is_void(&self, digest: &Digest, entry: &Entry) -> bool {
        entry.as_of < self.changed(digest, &entry.owners)
    }

    /// The moment before which a remembered look-up may count.
    fn deadline(&self) -> BootTime {
        BootTime::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    /// The last position that touched the digest's stripe or one of its owners'; a look-up from before it is void.
    pub(super) fn changed(&self, digest: &Digest, owners: &Owners) -> u64 {
        let secret = self.secrets[secret(digest.as_bytes())].load(Ordering::Acquire);
        let owners = owners.iter().map(|stripe| self.owners[stripe].load(Ordering::Acquire));
        owners.fold(secret.max(self.floor.load(Ordering::Acquire)), u64::max)
    }

    /// The position up to which the log is applied.
    pub(super) fn applied(&self) -> u64 {
        self.point().position()
    }

    /// The same, and in which history. Whoever asks for a tail or for a key takes it before the question leaves.
    pub(super) fn point(&self) -> Point {
        Point(self.applied.load(Ordering::Acquire))
    }

    /// Takes in what changed after `asked`. May run twice at once, and twice for the same entries.
    pub(super) fn apply(&self, asked: Point, tail: &Tail) {
        match &tail.news {
            News::Entries(entries) => {
                for entry in entries {
                    self.stripe(&entry.subject).fetch_max(asked.at(entry.seq), Ordering::Release);
                }
            }
            News::Gone => self.void(asked.at(tail.head)),
            // Positions will be given out a second time, and nobody saw the store being exchanged: until this process ends,
            // nothing remembered can be told from what the older copy says, so every request reads for itself.
            News::WentBack => self.void(u64::MAX),
        }
        self.applied.fetch_max(asked.at(tail.head), Ordering::AcqRel);
    }

    /// Begins another history of the log, which stands at `head`: whatever was read in the one that `asked` belongs to is
    /// void, and so is what is still to come of questions asked in it.
    pub(super) fn turn(&self, asked: Point, head: u64) {
        self.void(asked.turned(head));
        self.applied.fetch_max(asked.turned(head), Ordering::AcqRel);
    }

    /// Voids whatever was read before `position`.
    pub(super) fn flush(&self, position: u64) {
        self.void(self.point().at(position));
    }

    fn void(&self, before: u64) {
        self.floor.fetch_max(before, Ordering::Release);
    }

    /// Lets remembered look-ups count until `deadline`. Only after everything up to the answer of a tail that was sent
    /// a lease before `deadline` is applied.
    pub(super) fn extend(&self, deadline: BootTime) {
        self.deadline.fetch_max(deadline.as_nanos(), Ordering::Release);
    }

    /// Lets remembered look-ups be used until then, though they count no longer. As [`Self::extend`]: only after everything is
    /// applied, and no later than whoever waits for a change waits.
    pub(super) fn extend_stale(&self, until: BootTime) {
        self.stale.fetch_max(until.as_nanos(), Ordering::Release);
    }

    fn stripe(&self, subject: &Subject) -> &AtomicU64 {
        match subject {
            Subject::Secret(head) => &self.secrets[secret(head)],
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

/// No owner's stripe.
const NOBODY: u16 = u16::MAX;

/// The stripe of a digest, by its first bytes; they are as good as random.
const fn secret<const N: usize>(head: &[u8; N]) -> usize {
    u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize % SECRETS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::{AccountState, KeyState, Kind, Permissions, Presented};
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
            secret: Presented::Current,
            number: 1,
            not_before: None,
            expires_at: None,
            account: None,
            user: Some("paul".parse().unwrap()),
            memberships: vec![place("101"), place("102")],
            licensed: true,
            permissions: Permissions::default(),
            allowed_ips: Vec::new(),
        }
    }

    #[test]
    fn a_change_voids_what_was_read_before_it_and_nothing_read_since() {
        let fence = Fence::new();
        fence.apply(fence.point(), &entries(5, vec![Subject::Secret(head(&digest(1)))]));
        let changed = |first| fence.changed(&digest(first), &Owners::NONE);
        assert_eq!((changed(1), changed(2), fence.applied()), (5, 0, 5));
    }

    #[test]
    fn a_user_key_depends_on_its_user_and_on_every_account_of_theirs() {
        for subject in [Subject::User("paul".into()), Subject::Account("101".into()), Subject::Account("102".into())] {
            let fence = Fence::new();
            let owners = fence.owners(Some(&user_key()));
            fence.apply(fence.point(), &entries(9, vec![subject]));
            assert_eq!(fence.changed(&digest(1), &owners), 9);
        }
    }

    #[test]
    fn a_user_of_many_accounts_depends_on_each() {
        let fence = Fence::new();
        let accounts: Vec<_> = (0..40).map(|at| at.to_string()).collect();
        let place = |id: &String| (id.parse().unwrap(), AccountState::Active, Permissions::default());
        let key = Standing { memberships: accounts.iter().map(place).collect(), ..user_key() };
        let owners = fence.owners(Some(&key));
        for (seq, account) in (1..).zip(&accounts) {
            fence.apply(fence.point(), &entries(seq, vec![Subject::Account(account.as_str().into())]));
            assert_eq!(fence.changed(&digest(1), &owners), seq);
        }
        assert_eq!(size_of::<Owners>(), 16, "a million of them are kept");
    }

    #[test]
    fn a_log_that_is_gone_or_went_back_voids_everything() {
        let fence = Fence::new();
        fence.apply(fence.point(), &Tail { head: 40, news: News::Gone });
        assert_eq!(fence.changed(&digest(1), &Owners::NONE), 40);
        fence.apply(fence.point(), &Tail { head: 3, news: News::WentBack });
        assert_eq!(fence.changed(&digest(1), &Owners::NONE), u64::MAX);
        assert_eq!(fence.applied(), 40, "a position once reached is not given up");
    }

    #[test]
    fn another_history_stands_above_the_one_before_it_wherever_its_log_begins() {
        let fence = Fence::new();
        let before = fence.point();
        fence.apply(before, &entries(1, vec![Subject::Secret(head(&digest(1))); 40]));
        let late = fence.point();
        fence.turn(late, 3);
        fence.turn(late, 3);
        assert_eq!((fence.applied(), fence.point() > late), (3, true), "a turn that two have seen is one turn");
        let changed = |first| fence.changed(&digest(first), &Owners::NONE);
        assert!(changed(1) > late.at(u64::MAX), "what was asked before the turn is void, whenever it is answered");
        assert!(changed(2) <= fence.point().at(3), "and what is asked after it counts");
        fence.apply(fence.point(), &entries(4, vec![Subject::Secret(head(&digest(2)))]));
        assert_eq!(changed(2), fence.point().at(4));
        fence.apply(late, &entries(41, vec![Subject::Secret(head(&digest(2)))]));
        assert_eq!(
            (changed(2), fence.applied()),
            (fence.point().at(4), 4),
            "a tail asked for before it changes nothing"
        );
    }

    #[test]
    fn nothing_counts_before_the_first_lease() {
        let fence = Fence::new();
        assert_eq!(fence.deadline(), BootTime::from_nanos(0));
        fence.extend(BootTime::from_nanos(20));
        fence.extend(BootTime::from_nanos(10));
        assert_eq!(fence.deadline(), BootTime::from_nanos(20));
    }

    #[test]
    fn what_is_used_beyond_a_lease_is_judged_by_the_stripes_all_the_same() {
        let fence = Fence::new();
        fence.extend(BootTime::from_nanos(10));
        fence.extend_stale(BootTime::from_nanos(20));
        let entry = |as_of| super::Entry { as_of, ..super::Entry::UNMADE };
        let counts = |as_of, now, stale: bool| {
            let recall = || Some((entry(as_of), Shelf::Live));
            let judge = |now| match stale {
                true => fence.judge_stale(&digest(1), recall, now),
                false => fence.judge(&digest(1), recall, now),
            };
            judge(|| BootTime::from_nanos(now)).unwrap().counts
        };
        assert_eq!([counts(1, 9, false), counts(1, 10, false)], [true, false]);
        assert_eq!([counts(1, 19, true), counts(1, 20, true)], [true, false]);
        assert_eq!([9, 19, 20].map(|now| fence.serves(BootTime::from_nanos(now))), [true, true, false]);
        fence.apply(fence.point(), &entries(2, vec![Subject::Secret(head(&digest(1)))]));
        assert!(!counts(1, 15, true) && counts(2, 15, true));
        assert!(fence.is_void(&digest(1), &entry(1)) && !fence.is_void(&digest(1), &entry(2)));
    }

    proptest! {
        /// However the log is cut into tails, repeated and reordered, every stripe ends at its last change.
        #[test]
        fn applying_twice_or_out_of_order_changes_nothing(firsts in proptest::collection::vec(0_u8..6, 1..40), cut in 0_usize..40) {
            let whole: Vec<_> = firsts.iter().map(|first| Subject::Secret(head(&digest(*first)))).collect();
            let cut = cut.min(whole.len() - 1);
            let fence = Fence::new();
            fence.apply(fence.point(), &entries(1 + cut as u64, whole[cut..].to_vec()));
            fence.apply(fence.point(), &entries(1, whole.clone()));
            for first in 0..6 {
                let last = firsts.iter().rposition(|each| *each == first).map_or(0, |at| at as u64 + 1);
                prop_assert_eq!(fence.changed(&digest(first), &Owners::NONE), last);
            }
        }
    }
}

//! The fence under a model checker: every interleaving of its reads and writes, and every older value that the memory model
//! of Rust lets a thread read.
//!
//! What runs is what the request path runs: [`Fence`], its stripes, its deadline, [`Fence::judge`], and the entries that the
//! cache holds. Only the cache itself has a stand-in. moka's atomics are the standard library's, of which the checker sees
//! nothing: it would take each of moka's calls for one step that orders everything around it, which is more than moka
//! promises. [`Slot`] orders nothing at all; that the fence holds over it is what `cache` claims. Another test runs the real
//! cache too, each call one step.
//!
//! Nothing here panics inside a model: a request that passed though it must not is noted, and judged when all is explored.
//! Each fault put in on purpose must be found, or the checker would prove nothing.

use std::sync::Mutex;

use loom::sync::atomic::AtomicUsize;
use loom::thread;

use super::super::cache::Cache;
use super::super::known::{Head, Table};
use super::*;
use crate::key::{AccountState, KeyState, Kind, Permissions, Presented};
use crate::store::log::Entry as Change;

/// A request asks the fence, rightly or with a fault.
type Ask = fn(&Fence, &Slot) -> Option<Judged>;
/// The replica takes in the revocation and the lease that came with it, rightly or with a fault.
type TakeIn = fn(&Fence, &Tail);

/// What became of the requests, over all interleavings.
#[derive(Debug, Default)]
struct Seen {
    /// Passed with what was read before the revocation.
    stale: usize,
    /// Passed with what was read since.
    fresh: usize,
    /// Did not pass, and reads for itself.
    void: usize,
}

/// Switches for what must hold: tens of thousands of interleavings, in seconds.
const PROOF: usize = 3;
/// Switches that are enough to find each fault.
const FAULT: usize = 2;

/// The lease by which nothing remembered may be used at `NOW`; the revocation waited for it to end.
const LAPSED: BootTime = BootTime::from_nanos(5);
/// When the requests come.
const NOW: BootTime = BootTime::from_nanos(10);
/// The lease that comes with the revocation.
const RENEWED: BootTime = BootTime::from_nanos(20);
/// Until when the lapsed lease was outlasted, where `store.outage` allows that: the revocation waited for this to end, too.
const OUTLASTED: BootTime = BootTime::from_nanos(7);
/// Until when the new lease is outlasted.
const OUTLASTS: BootTime = BootTime::from_nanos(30);
/// The log's position before the revocation, and the revocation's own.
const BEFORE: u64 = 1;
const REVOKED: u64 = 2;

/// A replica that was cut off. Its lease ended, so the revocation was complete without it; then it hears of the revocation
/// and of a new lease, while two requests come and two look-ups land: one that had read the old state, one the new.
fn cut_off(switches: usize, subject: &Subject, ask: Ask, take_in: TakeIn) -> Seen {
    explore(switches, subject, move |fence, slot, tail, notes| {
        fence.extend(LAPSED);
        fence.extend_stale(OUTLASTED);
        let follower = thread::spawn({
            let (fence, slot) = (Arc::clone(&fence), Arc::clone(&slot));
            move || {
                take_in(&fence, &tail);
                slot.put(FRESH);
                slot.put(STALE);
            }
        });
        let request = |fence: &Fence, slot: &Slot| notes.note(ask(fence, slot));
        let other = thread::spawn({
            let (fence, slot, notes) = (Arc::clone(&fence), Arc::clone(&slot), notes.clone());
            move || notes.note(ask(&fence, &slot))
        });
        request(&fence, &slot);
        follower.join().unwrap();
        other.join().unwrap();
    })
}

/// One process over its own store: the lease never ends. A change applies the log, as the follower may be doing at that
/// moment, and is answered; a request that begins after the answer must not pass.
fn answered(switches: usize, subject: &Subject, take_in: TakeIn) -> Seen {
    explore(switches, subject, move |fence, slot, tail, notes| {
        fence.extend(BootTime::from_nanos(u64::MAX));
        let complete = Arc::new(AtomicUsize::new(0));
        let tail = Arc::new(tail);
        let follower = thread::spawn({
            let (fence, tail) = (Arc::clone(&fence), Arc::clone(&tail));
            move || take_in(&fence, &tail)
        });
        let changer = thread::spawn({
            let (fence, complete) = (Arc::clone(&fence), Arc::clone(&complete));
            move || {
                // As `settle` does: what is not applied yet, by this reading, is applied here.
                if fence.applied() < tail.head {
                    take_in(&fence, &tail);
                }
                complete.store(1, Ordering::Release);
            }
        });
        if complete.load(Ordering::Acquire) == 1 {
            notes.note(judge(&fence, &slot));
        }
        follower.join().unwrap();
        changer.join().unwrap();
    })
}

/// Runs `scene` in every way it can go with so many switches from one thread to another that no thread asked for. It gets a
/// fence and a cache that holds what was read before the revocation, the tail that tells of it, and the notes.
fn explore(
    switches: usize,
    subject: &Subject,
    scene: impl Fn(Arc<Fence>, Arc<Slot>, Tail, Notes) + Send + Sync + 'static,
) -> Seen {
    let notes = Notes::default();
    let (told, subject) = (notes.clone(), subject.clone());
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound = Some(switches);
    checker.check(move || {
        let fence = Arc::new(Fence::new());
        fence.apply(fence.point(), &Tail { head: BEFORE, news: News::Entries(Vec::new()) });
        let slot = Arc::new(Slot::over(&fence));
        let tail = Tail { head: REVOKED, news: News::Entries(vec![Change { seq: REVOKED, subject: subject.clone() }]) };
        scene(fence, slot, tail, told.clone());
    });
    std::mem::take(&mut *notes.0.lock().unwrap())
}

/// What the scenes report.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Seen>>);

impl Notes {
    fn note(&self, judged: Option<Judged>) {
        let mut seen = self.0.lock().unwrap();
        match judged {
            Some(Judged { entry, counts: true, .. }) if entry.as_of < REVOKED => seen.stale += 1,
            Some(Judged { counts: true, .. }) => seen.fresh += 1,
            _ => seen.void += 1,
        }
    }
}

/// One place of a cache that promises nothing about order.
struct Slot {
    holds: AtomicUsize,
    entries: [Entry; 2],
}

const STALE: usize = 0;
const FRESH: usize = 1;

impl Slot {
    fn over(fence: &Fence) -> Self {
        let entry = |as_of| {
            let standing = standing();
            let owners = fence.owners(Some(&standing));
            Entry { as_of, sent: BootTime::from_nanos(as_of), standing: Some(Arc::new(standing)), owners }
        };
        Self { holds: AtomicUsize::new(STALE), entries: [entry(BEFORE), entry(REVOKED)] }
    }

    fn get(&self) -> Option<(Entry, Shelf)> {
        Some((self.entries[self.holds.load(Ordering::Relaxed)].clone(), Shelf::Live))
    }

    fn put(&self, which: usize) {
        self.holds.store(which, Ordering::Relaxed);
    }
}

fn digest() -> Digest {
    Digest::from_bytes([7; 32])
}

fn standing() -> Standing {
    Standing {
        id: "key_1".parse().unwrap(),
        serial: 1,
        kind: Kind::Service,
        state: KeyState::Active,
        secret: Presented::Current,
        number: 1,
        not_before: None,
        expires_at: None,
        account: Some(("101".parse().unwrap(), AccountState::Active)),
        user: None,
        memberships: Vec::new(),
        licensed: true,
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
    }
}

/// The ways a revocation is told: of the secret, of its account, of everything.
fn subjects() -> [Subject; 3] {
    [Subject::Secret([7; 16]), Subject::Account("101".into()), Subject::Everything]
}

fn judge(fence: &Fence, slot: &Slot) -> Option<Judged> {
    fence.judge(&digest(), || slot.get(), || NOW)
}

fn take_in(fence: &Fence, tail: &Tail) {
    fence.apply(fence.point(), tail);
    fence.extend(RENEWED);
}

fn judge_stale(fence: &Fence, slot: &Slot) -> Option<Judged> {
    fence.judge_stale(&digest(), || slot.get(), || NOW)
}

/// As a request is judged whose look-up failed: by the lease, then beyond it.
fn judge_both(fence: &Fence, slot: &Slot) -> Option<Judged> {
    judge(fence, slot).filter(|judged| judged.counts).or_else(|| judge_stale(fence, slot))
}

/// As [`take_in`], where the lease may be outlasted.
fn outlasting(fence: &Fence, tail: &Tail) {
    take_in(fence, tail);
    fence.extend_stale(OUTLASTS);
}

#[test]
fn nothing_from_before_a_revocation_passes_once_it_is_complete() {
    for subject in subjects() {
        let seen = cut_off(PROOF, &subject, judge, take_in);
        println!("{subject:?}, by the end of the lease: {seen:?}");
        assert!(seen.stale == 0 && seen.fresh > 0 && seen.void > 0, "{subject:?}: {seen:?}");
        let seen = answered(PROOF, &subject, take_in);
        println!("{subject:?}, by the answer: {seen:?}");
        assert!(seen.stale == 0 && seen.void > 0, "{subject:?}: {seen:?}");
    }
}

#[test]
fn nothing_of_another_history_passes_once_its_successor_gives_time() {
    let turned: TakeIn = |fence, tail| {
        fence.turn(fence.point(), tail.head);
        fence.extend(RENEWED);
    };
    let early: TakeIn = |fence, tail| {
        fence.extend(RENEWED);
        fence.turn(fence.point(), tail.head);
    };
    let subject = Subject::Secret([7; 16]);
    let seen = cut_off(PROOF, &subject, judge, turned);
    println!("another history: {seen:?}");
    assert!(seen.stale == 0 && seen.void > 0, "{seen:?}");
    let seen = cut_off(FAULT, &subject, judge, early);
    assert!(seen.stale > 0, "not found: the lease comes before the turn: {seen:?}");
}

#[test]
fn nothing_passes_beyond_the_lease_either_once_a_revocation_is_complete() {
    // Who judges twice reads twice as often, and there are many more ways.
    let twice = [(Subject::Secret([7; 16]), FAULT, judge_both as Ask)];
    let once = subjects().map(|subject| (subject, PROOF, judge_stale as Ask));
    for (subject, switches, ask) in once.into_iter().chain(twice) {
        let seen = cut_off(switches, &subject, ask, outlasting);
        println!("{subject:?}, beyond the lease: {seen:?}");
        assert!(seen.stale == 0 && seen.fresh > 0 && seen.void > 0, "{subject:?}: {seen:?}");
    }
    for subject in subjects() {
        let faults: [(&str, Ask, TakeIn); 2] = [
            ("the second moment is read when the first has passed", hasty, outlasting),
            ("the second moment comes before the revocation", judge_stale, outlasting_early),
        ];
        for (fault, ask, take_in) in faults {
            let seen = cut_off(FAULT, &subject, ask, take_in);
            println!("{subject:?}, beyond the lease, {fault}: {seen:?}");
            assert!(seen.stale > 0, "{subject:?}: not found: {fault}: {seen:?}");
        }
    }
}

#[test]
fn the_cache_itself_each_call_one_step_lets_nothing_pass_either() {
    let subject = Subject::Secret([7; 16]);
    let seen = explore(PROOF, &subject, |fence, slot, tail, notes| {
        fence.extend(LAPSED);
        let cache = Arc::new(Cache::new(&config(), 1));
        let step = Arc::new(AtomicUsize::new(0));
        cache.put(digest(), slot.entries[STALE].clone(), Shelf::Live);
        let follower = thread::spawn({
            let (fence, cache, slot, step) = (Arc::clone(&fence), Arc::clone(&cache), slot, Arc::clone(&step));
            move || {
                take_in(&fence, &tail);
                for which in [FRESH, STALE] {
                    step.fetch_add(1, Ordering::Relaxed);
                    cache.put(digest(), slot.entries[which].clone(), Shelf::Live);
                }
            }
        });
        let recall = || {
            step.fetch_add(1, Ordering::Relaxed);
            cache.get(&digest(), Shelf::Live)
        };
        notes.note(fence.judge(&digest(), recall, || NOW));
        follower.join().unwrap();
    });
    assert!(seen.stale == 0 && seen.fresh > 0 && seen.void > 0, "{seen:?}");
}

#[test]
fn every_fault_put_in_is_found() {
    let asks: [(&str, Ask); 2] =
        [("the deadline is read last", reversed), ("the deadline is read without ordering", unordered)];
    let takings: [(&str, TakeIn); 2] =
        [("the lease comes before the revocation", early), ("the lease comes without ordering", loose)];
    for subject in subjects() {
        for (fault, ask) in asks {
            let seen = cut_off(FAULT, &subject, ask, take_in);
            println!("{subject:?}, {fault}: {seen:?}");
            assert!(seen.stale > 0, "{subject:?}: not found: {fault}: {seen:?}");
        }
        for (fault, faulty) in takings {
            let seen = cut_off(FAULT, &subject, judge, faulty);
            println!("{subject:?}, {fault}: {seen:?}");
            assert!(seen.stale > 0, "{subject:?}: not found: {fault}: {seen:?}");
        }
        let seen = answered(FAULT, &subject, boastful);
        println!("{subject:?}, applied before it is: {seen:?}");
        assert!(seen.stale > 0, "{subject:?}: not found: applied before it is: {seen:?}");
    }
}

/// A request with a secret that is being made elsewhere, at a replica whose lease ended: it hears of the secret and of a new
/// lease, and adds it to the set by `take_in`. The request judges by `ask` whether the set lacks it. Counts as stale where it
/// was refused by the new lease, which it must not be.
fn made(ask: AskSet, take_in: TakeInSet) -> Seen {
    let notes = Notes::default();
    let told = notes.clone();
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound = Some(PROOF);
    checker.check(move || {
        let (fence, set) = (Arc::new(Fence::new()), Arc::new(Table::default()));
        fence.extend(LAPSED);
        let follower = thread::spawn({
            let (fence, set) = (Arc::clone(&fence), Arc::clone(&set));
            move || take_in(&fence, &set)
        });
        for _ in 0..2 {
            told.note(ask(&fence, &set));
        }
        follower.join().unwrap();
    });
    std::mem::take(&mut *notes.0.lock().unwrap())
}

type AskSet = fn(&Fence, &Table) -> Option<Judged>;
type TakeInSet = fn(&Fence, &Table);

/// Another secret whose way through the set begins at the same place.
fn neighbour() -> Digest {
    let mut bytes = *digest().as_bytes();
    bytes[0] = 8;
    Digest::from_bytes(bytes)
}

fn lacks(set: &Table) -> Option<(Entry, Shelf)> {
    (!set.holds(Head::of(&digest()))).then_some((UNMADE, Shelf::Unknown))
}

/// As [`Entry::UNMADE`], with a position by which the notes know it.
const UNMADE: Entry = Entry { as_of: BEFORE, ..Entry::UNMADE };

fn judge_set(fence: &Fence, set: &Table) -> Option<Judged> {
    fence.judge(&digest(), || lacks(set), || NOW)
}

fn take_in_set(fence: &Fence, set: &Table) {
    set.add(Head::of(&neighbour()));
    set.add(Head::of(&digest()));
    fence.extend(RENEWED);
}

#[test]
fn a_secret_made_before_the_lease_is_never_refused_by_it() {
    let seen = made(judge_set, take_in_set);
    println!("made elsewhere: {seen:?}");
    assert!(seen.stale == 0 && seen.void > 0, "{seen:?}");
    let reversed: AskSet = |fence, set| {
        let (entry, shelf) = lacks(set)?;
        let deadline = fence.deadline();
        Some(Judged { entry, shelf, counts: NOW < deadline })
    };
    let early: TakeInSet = |fence, set| {
        fence.extend(RENEWED);
        set.add(Head::of(&digest()));
    };
    let loose: TakeInSet = |fence, set| {
        set.add(Head::of(&digest()));
        fence.deadline.fetch_max(RENEWED.as_nanos(), Ordering::Relaxed);
    };
    let faults: [(&str, AskSet, TakeInSet); 3] = [
        ("the deadline is read after the set", reversed, take_in_set),
        ("the lease comes before the secret", judge_set, early),
        ("the lease comes without ordering", judge_set, loose),
    ];
    for (fault, ask, take_in) in faults {
        let seen = made(ask, take_in);
        println!("made elsewhere, {fault}: {seen:?}");
        assert!(seen.stale > 0, "not found: {fault}: {seen:?}");
    }
}

/// [`Fence::judge`] in the wrong order.
fn reversed(fence: &Fence, slot: &Slot) -> Option<Judged> {
    let (entry, shelf) = slot.get()?;
    let changed = fence.changed(&digest(), &entry.owners);
    let deadline = fence.deadline();
    let counts = entry.as_of >= changed && NOW < deadline;
    Some(Judged { entry, shelf, counts })
}

/// [`Fence::judge`] with a deadline that brings nothing else along.
fn unordered(fence: &Fence, slot: &Slot) -> Option<Judged> {
    let deadline = BootTime::from_nanos(fence.deadline.load(Ordering::Relaxed));
    let (entry, shelf) = slot.get()?;
    let changed = fence.changed(&digest(), &entry.owners);
    let counts = entry.as_of >= changed && NOW < deadline;
    Some(Judged { entry, shelf, counts })
}

/// [`Fence::judge_stale`] in one go with [`Fence::judge`], by the stripes of before.
fn hasty(fence: &Fence, slot: &Slot) -> Option<Judged> {
    let deadline = fence.deadline();
    let (entry, shelf) = slot.get()?;
    let fresh = entry.as_of >= fence.changed(&digest(), &entry.owners);
    let counts = fresh && (NOW < deadline || NOW.as_nanos() < fence.stale.load(Ordering::Acquire));
    Some(Judged { entry, shelf, counts })
}

/// As [`outlasting`], which may begin before what came with it is applied.
fn outlasting_early(fence: &Fence, tail: &Tail) {
    fence.extend_stale(OUTLASTS);
    take_in(fence, tail);
}

/// The new lease holds before what came with it is applied.
fn early(fence: &Fence, tail: &Tail) {
    fence.extend(RENEWED);
    fence.apply(fence.point(), tail);
}

/// [`Fence::extend`] that takes nothing else along.
fn loose(fence: &Fence, tail: &Tail) {
    fence.apply(fence.point(), tail);
    fence.deadline.fetch_max(RENEWED.as_nanos(), Ordering::Relaxed);
}

/// [`Fence::apply`] that counts as done before it is.
fn boastful(fence: &Fence, tail: &Tail) {
    fence.applied.fetch_max(tail.head, Ordering::AcqRel);
    fence.apply(fence.point(), tail);
}

fn config() -> crate::keyring::Config {
    let second = "1s".parse().unwrap();
    crate::keyring::Config {
        live: 10,
        refused: 10,
        unknown: 10,
        unknown_for: second,
        warm: false,
        known: 0,
        loads: 1,
        waiting: 1,
        usage_flush: second,
        callers: 0,
        rehearsal: 10,
    }
}

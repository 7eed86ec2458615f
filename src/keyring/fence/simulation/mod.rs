//! The protocol under a seed: thousands of short histories of a cluster in which everything that may go wrong does, on
//! virtual time. What decides is what runs in production: [`Fence`], [`Member`](super::member::Member),
//! [`Wait`](super::wait::Wait), [`Grace`](super::grace::Grace) and [`Purge`](super::purge::Purge). Around them are a store, a
//! network and machines that are made up, and the calls that `keyring::follow`, `verify` and `flight` make.
//!
//! ```text
//!  plan (what happens, drawn) -> world (time, machines, network) -> process (requests, membership)  -> oracle (G1, G2, leases)
//!                                                                -> changes (commits, waits, purge) -> store
//! ```
//!
//! A step of a process is where its code could be interrupted: between two of them others go on, messages arrive, and the
//! machine may stand still. The reads inside [`Fence::judge`] are such steps too. A history is the same for the same seed.
//!
//! `cargo xtask simulate --histories 100000` runs more of them than the tests do: seven minutes on two busy cores, and nothing
//! broken, when this was written. `--seed 42` runs that one alone.

mod chance;
mod changes;
mod faults;
mod keys;
mod oracle;
mod plan;
mod process;
mod store;
mod world;

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use foldhash::quality::RandomState;

use self::faults::Fault;
use self::keys::{ACCOUNTS, KEYS, Keys};
use self::oracle::{NOTES, Told, Violation};
use super::{ACCOUNT, Fence, OWNERS};

/// Runs the histories of these seeds, until one breaks what is promised.
fn run(seeds: Range<u64>, fault: Fault) -> Result<Told, Violation> {
    let (keys, mut fences, mut all) = (Rc::new(Keys::new()), Fences::default(), Told::default());
    for seed in seeds {
        let mut world = plan::world(seed, fault, Rc::clone(&keys), fences);
        plan::play(&mut world);
        fences = std::mem::take(&mut world.fences);
        fences.give_back(world.processes.drain(..).map(|process| process.fence));
        all.add(&world.oracle.verdict()?);
    }
    Ok(all)
}

/// The same on every core; the first that breaks it.
fn run_all(count: u64, fault: Fault) -> Result<Told, Violation> {
    let broken = AtomicU64::new(u64::MAX);
    let next = AtomicU64::new(0);
    let some = || {
        let mut all = Told::default();
        loop {
            let first = next.fetch_add(BATCH, Relaxed);
            // One that is later than what is found is of no interest.
            if first >= count || first > broken.load(Relaxed) {
                return Ok(all);
            }
            match run(first..count.min(first + BATCH), fault) {
                Ok(told) => all.add(&told),
                Err(violation) => {
                    broken.fetch_min(violation.seed, Relaxed);
                    return Err(violation);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(some)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a history that panics")).collect()
    });
    let mut all = Told::default();
    for part in &parts {
        match part {
            Ok(told) => all.add(told),
            Err(_) => {
                let found = parts.iter().filter_map(|part| part.as_ref().err()).min_by_key(|violation| violation.seed);
                return Err(found.cloned().expect("one of them"));
            }
        }
    }
    Ok(all)
}

const BATCH: u64 = 50;

/// Fences to use again: the owners' stripes of one are a hundred kilobytes, and only three of them are ever used.
#[derive(Debug, Default)]
struct Fences(Vec<Rc<Fence>>);

impl Fences {
    fn take(&mut self) -> Rc<Fence> {
        self.0.pop().unwrap_or_else(|| Rc::new(fence()))
    }

    fn give_back(&mut self, used: impl Iterator<Item = Rc<Fence>>) {
        self.0.extend(used.inspect(|fence| wipe(fence)));
    }
}

/// As [`Fence::new`], with stripes for the few keys there are. No two accounts share one, for a history to be the same again.
fn fence() -> Fence {
    let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
    let mut fence = Fence { secrets: zeros(KEYS), owners: zeros(OWNERS), ..empty() };
    while fence.owner(ACCOUNT, ACCOUNTS[0]) == fence.owner(ACCOUNT, ACCOUNTS[1]) {
        fence.hasher = RandomState::default();
    }
    fence
}

fn empty() -> Fence {
    Fence {
        floor: AtomicU64::new(0),
        applied: AtomicU64::new(0),
        deadline: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        secrets: Box::default(),
        owners: Box::default(),
        hasher: RandomState::default(),
    }
}

fn wipe(fence: &Fence) {
    for each in [&fence.floor, &fence.applied, &fence.deadline, &fence.stale].into_iter().chain(&fence.secrets) {
        each.store(0, Relaxed);
    }
    for account in ACCOUNTS {
        fence.owners[usize::from(fence.owner(ACCOUNT, account))].store(0, Relaxed);
    }
}

/// In every `cargo test`.
const HISTORIES: u64 = 10_000;

#[test]
fn nothing_promised_is_broken_in_ten_thousand_histories() {
    check(HISTORIES);
}

/// `cargo xtask simulate` says how many, or which.
#[test]
#[ignore = "for cargo xtask simulate"]
fn as_many_histories_as_are_asked_for() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match asked("KEYWARD_SEED") {
        Some(seed) => match run(seed..seed + 1, Fault::None) {
            Ok(told) => println!("seed {seed}: {told}"),
            Err(violation) => panic!("{violation}"),
        },
        None => check(asked("KEYWARD_HISTORIES").unwrap_or(HISTORIES)),
    }
}

fn check(histories: u64) {
    match run_all(histories, Fault::None) {
        Ok(told) => {
            println!("{histories} histories, nothing broken: {told}");
            let missing: Vec<_> = NOTES.into_iter().filter(|note| told.of(*note) < histories / 100).collect();
            assert!(missing.is_empty(), "hardly ever: {missing:?}");
        }
        Err(violation) => panic!("{violation}; alone: cargo xtask simulate --seed {}", violation.seed),
    }
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..50 {
        let alone = run(seed..seed + 1, Fault::None);
        assert_eq!(alone, run(seed..seed + 1, Fault::None), "seed {seed}");
    }
}

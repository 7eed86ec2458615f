//! What happens in a history, drawn from its seed.

use std::rc::Rc;
use std::time::Duration;

use super::Fences;
use super::chance::{Chance, MS, SECOND};
use super::faults::Fault;
use super::keys::{ACCOUNTS, KEYS, Keys, What};
use super::oracle::Note;
use super::store::Store;
use super::world::{Cut, Machine, Way, World};

/// What a history is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    Anything,
    /// Replicas begin while keys are taken away.
    Joins,
    /// Replicas are taken for dead while they live.
    Purges,
    /// A database takes the place of another.
    Failover,
}

/// A cluster, and everything that is to happen to it.
pub(super) fn world(seed: u64, fault: Fault, keys: Rc<Keys>, fences: Fences) -> World {
    let mut chance = Chance::of(seed);
    let drawn = match chance.below(8) {
        0..4 => Theme::Anything,
        4..6 => Theme::Joins,
        6 => Theme::Purges,
        _ => Theme::Failover,
    };
    let theme = fault.theme().unwrap_or(drawn);
    let fence = Duration::from_millis(chance.between(400, 1000));
    let stale = if chance.percent(25) { Duration::from_millis(chance.between(200, 500)) } else { Duration::ZERO };
    let mut world = World::new(seed, chance, keys, fences, Store::new(fence, stale), fault);
    world.store.sequence = fault == Fault::Sequence;
    world.oracle.drift(fault.drift());
    world.calm = world.chance.between(2 * SECOND, 4 * SECOND);
    let changes: Vec<_> = (0..world.chance.between(1, 6)).map(|_| change(&mut world)).collect();
    let count = world.chance.between(2, 5);
    for _ in 0..count {
        let machine = machine(&mut world);
        world.machines.push(machine);
    }
    for machine in 0..world.machines.len() {
        // Some are there from the beginning; others join.
        let joins = match world.chance.below(4) {
            0..3 if theme != Theme::Joins || machine == 0 => 0,
            0..3 => {
                let near = changes[world.chance.index(changes.len())].0;
                near.saturating_sub(world.chance.below(150 * MS))
            }
            _ => world.chance.below(world.calm),
        };
        if joins > 0 {
            world.oracle.note(Note::Join);
        }
        world.after(joins, None, move |world| {
            let process = world.start(machine);
            // It is asked for what is about to be taken away.
            for _ in 0..4 {
                let (soon, key) = (world.chance.below(200 * MS), world.chance.index(KEYS));
                world.after(soon, Some(process), move |world| world.request(process, key));
            }
        });
    }
    requests(&mut world);
    for (at, what) in changes {
        schedule(&mut world, at, what);
    }
    if world.chance.percent(30) {
        let at = world.chance.between(100 * MS, world.calm);
        world.after(at, None, question);
    }
    troubles(&mut world, theme);
    world
}

/// Lets it happen, then lets everything come to rest, and judges what is left.
pub(super) fn play(world: &mut World) {
    // By then every lease ended, every wait is over, and who was taken for dead wrongly is back.
    let rest = world.calm + 7 * SECOND / 2;
    world.run_until(rest);
    // A fault that was put in must break what is promised, and not only what is nice.
    if world.oracle.broken() || world.fault != Fault::None {
        return;
    }
    let head = world.store.head();
    let there: Vec<_> = (0..world.processes.len()).filter(|process| world.processes[*process].follows).collect();
    for process in &there {
        if world.store.applied(*process) != Some(head) {
            let what =
                format!("rest: process {process} has acknowledged {:?} of {head}", world.store.applied(*process));
            return world.oracle.violated(rest, &what);
        }
        if !world.processes[*process].waits.is_empty() {
            return world.oracle.violated(rest, &format!("rest: process {process} still waits for a change"));
        }
    }
    let failed = world.oracle.told.of(Note::Failed);
    for process in there {
        for key in 0..KEYS {
            world.request(process, key);
        }
    }
    world.run_until(rest + SECOND / 2);
    if world.oracle.told.of(Note::Failed) > failed {
        world.oracle.violated(world.now, "rest: a request failed though nothing was wrong");
    }
}

fn machine(world: &mut World) -> Machine {
    let drift = world.fault.drift();
    let rate = match world.chance.below(3) {
        0 => 1_000_000 - drift,
        1 => 1_000_000 + drift,
        _ => world.chance.between(1_000_000 - drift, 1_000_000 + drift),
    };
    let boot = world.chance.below(100 * SECOND);
    let (mut pauses, mut cuts) = (Vec::new(), Vec::new());
    let mut at = 0;
    for _ in 0..world.chance.below(3) {
        at += world.chance.below(world.calm / 2);
        let long = stretch(world);
        pauses.push((at, at + long));
        at += long;
    }
    for _ in 0..world.chance.below(3) {
        let from = world.chance.below(world.calm);
        let long = stretch(world);
        let ways: &[Way] = match world.chance.below(3) {
            0 => &[Way::ToStore],
            1 => &[Way::FromStore],
            _ => &[Way::ToStore, Way::FromStore],
        };
        cuts.extend(ways.iter().map(|way| Cut { way: *way, from, until: from + long }));
    }
    // All is well once it is calm.
    pauses.retain(|(_, until)| *until < world.calm);
    Machine { rate, boot, pauses, cuts }
}

/// Shorter than a lease, or longer.
fn stretch(world: &mut World) -> u64 {
    if world.chance.percent(50) { world.chance.below(200 * MS) } else { world.chance.between(300 * MS, 2 * SECOND) }
}

fn requests(world: &mut World) {
    let count = if world.chance.percent(90) { world.chance.between(50, 90) } else { world.chance.between(90, 500) };
    let favourite = world.chance.index(KEYS);
    for _ in 0..count {
        let at = world.chance.below(world.calm + SECOND);
        let key = if world.chance.percent(50) { favourite } else { world.chance.index(KEYS) };
        world.after(at, None, move |world| somebody(world, key));
    }
}

/// When, and what is taken away.
fn change(world: &mut World) -> (u64, What) {
    let at = world.chance.between(100 * MS, world.calm);
    let what = match world.chance.below(6) {
        0 => What::Account(world.chance.index(ACCOUNTS.len())),
        1 => What::Anything(world.chance.index(KEYS)),
        _ => What::Key(world.chance.index(KEYS)),
    };
    (at, what)
}

fn schedule(world: &mut World, at: u64, what: What) {
    world.after(at, None, move |world| {
        if let Some(process) = anybody(world) {
            world.after(0, Some(process), move |world| world.change(process, what));
        }
    });
    // Requests come when it matters: some just before, so that they read what is about to change.
    let keys: Vec<_> = world.keys.of(what).collect();
    for _ in 0..world.chance.below(8) {
        let key = keys[world.chance.index(keys.len())];
        let about = (at + world.chance.below(300 * MS)).saturating_sub(150 * MS);
        world.after(about, None, move |world| somebody(world, key));
    }
}

/// Another process is asked about a change.
fn question(world: &mut World) {
    let known = world.oracle.changes.len();
    if let (Some(process), true) = (anybody(world), known > 0) {
        let change = world.chance.index(known);
        world.after(0, Some(process), move |world| world.ask_about(process, change));
    }
}

fn troubles(world: &mut World, theme: Theme) {
    let of_theme: (u64, &[u64]) = match theme {
        Theme::Anything => (4, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        Theme::Joins => (3, &[0, 0, 4, 6]),
        Theme::Purges => (6, &[2, 3, 2, 3, 0]),
        Theme::Failover => (3, &[0, 6, 7, 8, 8]),
    };
    for _ in 0..world.chance.below(of_theme.0) + u64::from(theme != Theme::Anything) {
        let at = world.chance.between(100 * MS, world.calm);
        let trouble = of_theme.1[world.chance.index(of_theme.1.len())];
        world.after(at, None, move |world| trouble_now(world, trouble));
    }
}

fn trouble_now(world: &mut World, trouble: u64) {
    let down = world.chance.below(700 * MS).min(world.calm.saturating_sub(world.now));
    match trouble {
        0 => {
            if let Some(process) = anybody(world) {
                world.crash(process);
                let machine = world.processes[process].machine;
                let away = world.chance.below(600 * MS);
                world.after(away, None, move |world| {
                    world.start(machine);
                });
            }
        }
        1 => {
            if let Some(process) = anybody(world) {
                world.after(0, Some(process), move |world| world.leave(process));
            }
        }
        2..4 => {
            if let Some(process) = anybody(world) {
                world.after(0, Some(process), move |world| world.suspect(process));
            }
        }
        4 => {
            let fence = Duration::from_millis(world.chance.between(300, 1200));
            world.change_fence(fence);
        }
        5 => world.restart_store(false, down),
        6 => world.restart_store(true, down),
        7 => world.fail_over(false, down),
        8 => {
            world.store.replicate();
            let left = world.calm.saturating_sub(world.now);
            let lag = world.chance.below(500 * MS).min(left);
            let mut away = down;
            if world.chance.percent(50) {
                newcomer(world, lag);
                away = away.min(world.chance.below(100 * MS));
            }
            world.after(lag, None, move |world| world.fail_over(true, away));
        }
        _ => unreachable!("no such trouble"),
    }
}

/// A replica begins that the standby does not know yet, and when that takes over it does not come through.
fn newcomer(world: &mut World, lag: u64) {
    let (soon, long) = (lag.saturating_sub(world.chance.below(30 * MS)), world.chance.between(300 * MS, SECOND));
    let from = world.now + soon;
    let cuts = [Way::ToStore, Way::FromStore].map(|way| Cut { way, from, until: from + long });
    let machine = Machine { cuts: cuts.to_vec(), pauses: Vec::new(), ..machine(world) };
    world.machines.push(machine);
    let process = world.start(world.machines.len() - 1);
    for _ in 0..12 {
        let (soon, key) = (world.chance.below(1200 * MS), world.chance.index(KEYS));
        world.after(soon, Some(process), move |world| world.request(process, key));
    }
    for _ in 0..2 {
        let at = soon + world.chance.below(long);
        let what = What::Key(world.chance.index(KEYS));
        world.after(at, None, move |world| {
            if let Some(process) = anybody(world) {
                world.after(0, Some(process), move |world| world.change(process, what));
            }
        });
    }
}

/// A request comes to somebody.
fn somebody(world: &mut World, key: usize) {
    if let Some(process) = anybody(world) {
        world.after(0, Some(process), move |world| world.request(process, key));
    }
}

/// One that takes requests.
fn anybody(world: &mut World) -> Option<usize> {
    let there: Vec<_> = (0..world.processes.len()).filter(|process| world.processes[*process].serving).collect();
    (!there.is_empty()).then(|| there[world.chance.index(there.len())])
}

//! Time, machines and the network of a history; whatever happens is a step in one queue.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::Fences;
use super::chance::{Chance, MS};
use super::faults::Fault;
use super::keys::Keys;
use super::oracle::Oracle;
use super::process::Process;
use super::store::Store;
use crate::clock::BootTime;
use crate::store::replica::ReplicaId;

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) chance: Chance,
    pub(super) store: Store,
    pub(super) machines: Vec<Machine>,
    pub(super) processes: Vec<Process>,
    pub(super) names: Vec<ReplicaId>,
    pub(super) oracle: Oracle,
    pub(super) keys: Rc<Keys>,
    pub(super) fences: Fences,
    pub(super) fault: Fault,
    /// From here on nothing fails any more.
    pub(super) calm: u64,
    queue: BinaryHeap<Event>,
    order: u64,
    depth: u8,
}

/// What a process runs on.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its clock's rate, in millionths.
    pub(super) rate: u64,
    /// What its clock showed at the beginning.
    pub(super) boot: u64,
    /// When it stood still.
    pub(super) pauses: Vec<(u64, u64)>,
    /// When nothing came through.
    pub(super) cuts: Vec<Cut>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) way: Way,
    pub(super) from: u64,
    pub(super) until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToStore,
    FromStore,
}

struct Event {
    at: u64,
    order: u64,
    /// A step of this process: it waits while the machine stands still, and dies with the process.
    owner: Option<usize>,
    step: Step,
}

type Step = Box<dyn FnOnce(&mut World)>;

impl World {
    pub(super) fn new(seed: u64, chance: Chance, keys: Rc<Keys>, fences: Fences, store: Store, fault: Fault) -> Self {
        Self {
            now: 0,
            chance,
            store,
            machines: Vec::new(),
            processes: Vec::new(),
            names: Vec::new(),
            oracle: Oracle::new(seed),
            keys,
            fences,
            fault,
            calm: 0,
            queue: BinaryHeap::new(),
            order: 0,
            depth: 0,
        }
    }

    /// Lets something happen after so long.
    pub(super) fn after(&mut self, delay: u64, owner: Option<usize>, step: impl FnOnce(&mut Self) + 'static) {
        self.order += 1;
        self.queue.push(Event { at: self.now + delay, order: self.order, owner, step: Box::new(step) });
    }

    /// One that nothing else has.
    pub(super) const fn number(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Lets the process go on after a moment.
    pub(super) fn then(&mut self, process: usize, step: impl FnOnce(&mut Self) + 'static) {
        let moment = self.chance.moment();
        self.after(moment, Some(process), step);
    }

    /// Lets everything happen until then.
    pub(super) fn run_until(&mut self, end: u64) {
        while let Some(event) = self.queue.peek()
            && event.at <= end
            && !self.oracle.broken()
        {
            let Some(Event { at, owner, step, .. }) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            if let Some(process) = owner {
                if !self.processes[process].alive {
                    continue;
                }
                if let Some(until) = self.paused(process) {
                    self.order += 1;
                    self.queue.push(Event { at: until, order: self.order, owner, step });
                    continue;
                }
            }
            step(self);
        }
        self.now = self.now.max(end);
    }

    /// Between two steps of a process that nothing separates in its code: others go on, and it may stand still.
    pub(super) fn elsewhere(&mut self, process: usize) {
        if self.depth >= DEEPEST {
            return;
        }
        let pause = match self.chance.below(10) {
            0..7 => return,
            7 => 0,
            8 => self.chance.below(3 * MS),
            _ => self.chance.below(60 * MS),
        };
        self.depth += 1;
        self.run_until(self.now + pause);
        while let Some(until) = self.paused(process)
            && !self.oracle.broken()
        {
            self.run_until(until);
        }
        self.depth -= 1;
    }

    /// What the process reads from its clock now.
    pub(super) fn clock(&self, process: usize) -> BootTime {
        let machine = &self.machines[self.processes[process].machine];
        BootTime::from_nanos(machine.boot + self.now * machine.rate / MILLION)
    }

    /// How long it takes by the world's time until the process's clock shows `moment`.
    pub(super) fn until(&self, process: usize, moment: BootTime) -> u64 {
        let left = moment.since(self.clock(process)).as_nanos() as u64;
        left * MILLION / self.machines[self.processes[process].machine].rate + 1
    }

    /// How long a message travels, if it arrives.
    pub(super) fn travel(&mut self, process: usize, way: Way) -> Option<u64> {
        if self.now >= self.calm {
            return Some(self.chance.between(MS / 2, 5 * MS));
        }
        let took = match self.chance.below(20) {
            0..16 => self.chance.between(MS / 2, 5 * MS),
            16..19 => self.chance.between(MS / 2, 80 * MS),
            _ => self.chance.between(MS / 2, 500 * MS),
        };
        let machine = self.processes[process].machine;
        let meets = |cut: &&Cut| cut.way == way && cut.from <= self.now + took && self.now < cut.until;
        let Some(cut) = self.machines[machine].cuts.iter().find(meets).copied() else { return Some(took) };
        // It is sent again when the way is open, or the connection is gone.
        let again = cut.until - self.now + self.chance.below(10 * MS);
        self.chance.percent(60).then_some(again)
    }

    /// Asks the store: `ask` happens there, `answered` here if the answer comes; neither may.
    pub(super) fn ask<A: 'static>(
        &mut self,
        process: usize,
        ask: impl FnOnce(&mut Self) -> A + 'static,
        answered: impl FnOnce(&mut Self, A) + 'static,
    ) {
        let Some(there) = self.travel(process, Way::ToStore) else { return };
        let connection = self.store.crashes;
        self.after(there, None, move |world| {
            if world.now < world.store.down_until || world.store.crashes != connection {
                return;
            }
            let answer = ask(world);
            let Some(back) = world.travel(process, Way::FromStore) else { return };
            world.after(back, Some(process), move |world| {
                if world.store.crashes == connection {
                    answered(world, answer);
                }
            });
        });
    }

    /// Until when the process stands still, if it does.
    pub(super) fn paused(&self, process: usize) -> Option<u64> {
        let pauses = &self.machines[self.processes[process].machine].pauses;
        pauses.iter().find(|(from, until)| *from <= self.now && self.now < *until).map(|(_, until)| *until)
    }
}

/// Steps inside steps inside steps.
const DEEPEST: u8 = 4;
const MILLION: u64 = 1_000_000;

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The earliest is the greatest, which the queue gives out first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").field("at", &self.at).field("owner", &self.owner).finish_non_exhaustive()
    }
}

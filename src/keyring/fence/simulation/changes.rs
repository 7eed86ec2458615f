//! Changes, who waits for them, and what operators and databases do.

use std::time::Duration;

use super::super::grace::Look;
use super::super::purge::Doubt;
use super::super::span::lapse;
use super::super::wait::{Complete, Judgement, Wait};
use super::chance::MS;
use super::faults::Fault;
use super::keys::What;
use super::oracle::Note;
use super::world::World;
use crate::clock::BootTime;
use crate::store::replica::{ReplicaState, Replicas};

impl World {
    /// A process makes a change, and asks again, by the same name, until it is answered.
    pub(super) fn change(&mut self, process: usize, what: What) {
        self.commit(process, what, None, 5);
    }

    fn commit(&mut self, process: usize, what: What, done: Option<usize>, tries: u8) {
        let before = self.clock(process);
        // Fault: a number that is taken long before it is visible.
        let taken = self.store.sequence.then(|| self.store.next());
        let late = if taken.is_some() { self.chance.below(120 * MS) } else { 0 };
        let answered = std::rc::Rc::new(std::cell::Cell::new(false));
        let heard = std::rc::Rc::clone(&answered);
        self.after(late, Some(process), move |world| {
            let ask = move |world: &mut Self| world.committed(what, done, taken);
            world.ask(process, ask, move |world, change| {
                if !heard.replace(true) {
                    world.await_change(process, change, before);
                }
            });
        });
        let patience = self.until(process, before.plus(Duration::from_millis(600)));
        self.after(patience, Some(process), move |world| {
            if !answered.get() && tries > 0 && !world.store.sequence {
                let done = done.or_else(|| world.oracle.changes.iter().rposition(|change| change.what == what));
                world.commit(process, what, done, tries - 1);
            }
        });
    }

    /// In the store: the change, or that it was made before.
    fn committed(&mut self, what: What, done: Option<usize>, taken: Option<u64>) -> usize {
        if let Some(change) = done.filter(|change| !self.oracle.is_lost(*change)) {
            return change;
        }
        let seq = taken.unwrap_or_else(|| self.store.next());
        let keys = std::rc::Rc::clone(&self.keys);
        self.store.commit(&keys, seq, what);
        for process in 0..self.processes.len() {
            // A wake-up may be lost, be late, and overtake another.
            if self.chance.percent(60) {
                let late = self.chance.moment() + self.chance.moment();
                self.after(late, Some(process), move |world| world.wake(process));
            }
        }
        self.oracle.committed(seq, what)
    }

    /// The commit is answered.
    fn await_change(&mut self, process: usize, change: usize, before: BootTime) {
        let seq = self.oracle.changes[change].seq;
        self.settle(process, seq);
        self.elsewhere(process);
        let began = if self.fault == Fault::WaitFromBefore { before } else { self.clock(process) };
        self.processes[process].waits.push((change, Wait::new(seq, began), began));
        self.then(process, move |world| world.look(process));
    }

    /// Another process is asked about a change that it sees in the log.
    pub(super) fn ask_about(&mut self, process: usize, change: usize) {
        let ask = move |world: &mut Self| world.store.head();
        self.ask(process, ask, move |world, head| {
            if head >= world.oracle.changes[change].seq && !world.oracle.is_lost(change) {
                let now = world.clock(process);
                world.await_change(process, change, now);
            }
        });
    }

    /// Looks at the replicas, for whoever waits here.
    fn look(&mut self, process: usize) {
        let own = &mut self.processes[process];
        if own.looking || (own.waits.is_empty() && own.purge.is_idle() && !std::mem::take(&mut own.curious)) {
            return;
        }
        own.looking = true;
        let number = self.number();
        let seen = std::rc::Rc::new(std::cell::Cell::new(0));
        let heard = std::rc::Rc::clone(&seen);
        let look = Look::at(self.clock(process));
        let ask = move |world: &mut Self| world.store.replicas(&world.names);
        self.ask(process, ask, move |world, replicas| {
            // An answer may come after it was given up.
            world.saw(process, look, replicas);
            if heard.replace(number) == 0 {
                world.look_again(process);
            }
        });
        let patience = self.until(process, self.clock(process).plus(Duration::from_millis(150)));
        self.after(patience, Some(process), move |world| {
            if seen.replace(number) == 0 {
                let now = world.clock(process);
                world.judge_all(process, |wait| wait.judge_by_time(now), now);
                world.look_again(process);
            }
        });
    }

    fn look_again(&mut self, process: usize) {
        self.processes[process].looking = false;
        let pause = self.chance.between(5 * MS, 100 * MS);
        self.after(pause, Some(process), move |world| world.look(process));
    }

    fn saw(&mut self, process: usize, look: Look, replicas: Replicas) {
        let now = self.clock(process);
        let own = &mut self.processes[process];
        if self.fault == Fault::GraceIgnored {
            // As if it had been seen for ever.
            own.grace.see(look, replicas.clone(), BootTime::from_nanos(0));
        }
        let sight = own.grace.see(look, replicas, now);
        self.judge_all(process, |wait| wait.judge(&sight), now);
        for doubt in self.processes[process].purge.next(&sight) {
            self.doubt(process, doubt);
        }
    }

    fn judge_all(&mut self, process: usize, mut judge: impl FnMut(&mut Wait) -> Judgement, now: BootTime) {
        let waits = std::mem::take(&mut self.processes[process].waits);
        for (change, mut wait, began) in waits {
            match judge(&mut wait) {
                Judgement::Complete(how) => {
                    match how {
                        Complete::ByAcknowledgement => self.oracle.note(Note::ByAcknowledgement),
                        Complete::ByTime => self.oracle.note(Note::ByTime),
                    }
                    self.oracle.completed(self.now, change);
                    self.probe(change);
                    self.processes[process].purge.timed_out(&wait);
                }
                Judgement::Pending(left) => {
                    // G2: whoever asks when the time is up is told that it is complete.
                    if left.is_some() && now.since(began) >= lapse(self.store.longest()) {
                        self.oracle.violated(self.now, "G2: a change was not complete after a fence and a little more");
                    }
                    self.processes[process].waits.push((change, wait, began));
                }
                Judgement::Lost => {
                    self.oracle.note(Note::Lost);
                    if !self.oracle.is_lost(change) && self.store.head() >= self.oracle.changes[change].seq {
                        // A look that is older than the failover which brought it: asked again.
                        self.processes[process].waits.push((change, wait, began));
                    }
                }
            }
        }
    }

    /// Requests come when it matters most: just after somebody was told that a key is gone.
    fn probe(&mut self, change: usize) {
        let keys: Vec<_> = self.keys.of(self.oracle.changes[change].what).collect();
        let key = keys[self.chance.index(keys.len())];
        for process in 0..self.processes.len() {
            let soon = if self.chance.percent(50) { self.chance.below(10 * MS) } else { self.chance.below(400 * MS) };
            self.after(soon, Some(process), move |world| world.request(process, key));
        }
    }

    fn doubt(&mut self, process: usize, doubt: Doubt) {
        let Some(whose) = self.names.iter().position(|name| *name == doubt.id) else { return };
        let (incarnation, from) = (doubt.incarnation, doubt.from);
        let to = match from {
            ReplicaState::Live if self.fault != Fault::OnePhasePurge => ReplicaState::Suspect,
            _ => ReplicaState::Dead,
        };
        match to {
            ReplicaState::Dead => self.oracle.note(Note::Dead),
            _ => self.oracle.note(Note::Suspect),
        }
        self.ask(process, move |world| world.store.doubt(whose, incarnation, from, to), |_, ()| ());
    }

    /// Somebody takes one for dead, rightly or wrongly; whoever looks next takes the suspect up.
    pub(super) fn suspect(&mut self, process: usize) {
        let awaited: Vec<_> = self.store.awaited().collect();
        if awaited.is_empty() {
            return;
        }
        let (whose, incarnation) = awaited[self.chance.index(awaited.len())];
        let id = self.names[whose].clone();
        self.doubt(process, Doubt { id, incarnation, from: ReplicaState::Live });
        self.after(40 * MS, Some(process), move |world| {
            world.processes[process].curious = true;
            world.look(process);
        });
    }

    /// The fence changes; the old one is forgotten when nothing counts by it.
    pub(super) fn change_fence(&mut self, fence: Duration) {
        self.oracle.note(Note::Fence);
        let longest = self.store.fence();
        self.store.change_fence(fence);
        if fence + self.store.stale() < longest {
            // By the clock of whoever lowers it, which is slow enough here.
            let old = lapse(longest).as_nanos() as u64;
            self.after(old + old / 50, None, |world| world.store.forget_fence());
        }
    }

    pub(super) fn restart_store(&mut self, loses: bool, down: u64) {
        self.oracle.note(Note::Restart);
        self.store.restart(loses);
        self.cut_off(down);
    }

    pub(super) fn fail_over(&mut self, loses: bool, down: u64) {
        self.oracle.note(Note::Failover);
        self.store.fail_over(loses);
        self.cut_off(down);
        self.oracle.failed_over(self.store.head());
    }

    /// Every connection is gone, and nobody is answered for a while.
    fn cut_off(&mut self, down: u64) {
        self.store.down_until = self.now + down;
        for process in 0..self.processes.len() {
            let connection = self.store.crashes as usize;
            self.then(process, move |world| world.processes[process].member.connected(connection));
        }
    }

    /// The process stops taking requests, and then says goodbye.
    pub(super) fn leave(&mut self, process: usize) {
        self.oracle.note(Note::Left);
        self.processes[process].follows = false;
        self.processes[process].serving = self.fault == Fault::LeavesServing;
        self.then(process, move |world| {
            world.processes[process].member.leave();
            world.wake(process);
        });
    }

    pub(super) fn crash(&mut self, process: usize) {
        self.oracle.note(Note::Crash);
        let own = &mut self.processes[process];
        (own.alive, own.serving, own.follows) = (false, false, false);
    }
}

//! One process: its membership and its requests, driven as `keyring::follow`, `keyring::verify` and `keyring::flight` drive
//! them. What decides is the real thing; what is here only calls it, step by step, with others' steps between.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::member::{Acknowledge, Member, News, Next, Register, Renew, Renewed};
use super::super::span::lease;
use super::super::{Fence, Judged, Point};
use super::chance::MS;
use super::faults::Fault;
use super::keys::{KEYS, digest};
use super::oracle::Note;
use super::world::World;
use crate::clock::BootTime;
use crate::keyring::cache::{Entry, Shelf};
use crate::keyring::fence::grace::Grace;
use crate::keyring::fence::purge::Purge;
use crate::keyring::fence::wait::Wait;
use crate::store::log::{News as Entries, Subject};
use crate::store::replica::Renewal;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) machine: usize,
    pub(super) alive: bool,
    /// Takes requests.
    pub(super) serving: bool,
    /// It is one of those that follow the log.
    pub(super) follows: bool,
    pub(super) fence: Rc<Fence>,
    pub(super) member: Member,
    pub(super) grace: Grace,
    pub(super) purge: Purge,
    /// Changes that are waited for, and when each began to be.
    pub(super) waits: Vec<(usize, Wait, BootTime)>,
    pub(super) looking: bool,
    /// Looks though nothing makes it.
    pub(super) curious: bool,
    cache: [Option<Entry>; KEYS],
    flights: [Option<Flight>; KEYS],
    /// The question that is on its way, or the rest that is being taken.
    turn: u64,
    resting: bool,
}

#[derive(Debug, Default)]
struct Flight {
    number: u64,
    waiting: Vec<Request>,
}

/// A request that its own memory could not answer.
#[derive(Clone, Copy, Debug)]
struct Request {
    key: usize,
    /// When it came, by the world's time.
    came: u64,
    began: BootTime,
    rounds: u8,
}

impl World {
    /// Starts a process, and its membership.
    pub(super) fn start(&mut self, machine: usize) -> usize {
        let process = self.processes.len();
        self.names.push(crate::store::replica::ReplicaId::known(NAMES[process % NAMES.len()]));
        let (fence, mut member) = (self.fences.take(), Member::new());
        member.outlast(self.store.stale());
        self.processes.push(Process {
            machine,
            alive: true,
            serving: true,
            follows: true,
            fence,
            member,
            grace: Grace::default(),
            purge: Purge::default(),
            waits: Vec::new(),
            looking: false,
            curious: false,
            cache: [const { None }; KEYS],
            flights: [const { None }; KEYS],
            turn: 0,
            resting: false,
        });
        self.then(process, move |world| world.drive(process));
        process
    }

    fn fence_of(&self, process: usize) -> Rc<Fence> {
        Rc::clone(&self.processes[process].fence)
    }

    /// The next thing that the membership asks.
    pub(super) fn drive(&mut self, process: usize) {
        let (now, random, fence) = (self.clock(process), self.chance.next(), self.fence_of(process));
        let sent = self.now;
        self.processes[process].turn += 1;
        self.processes[process].resting = false;
        let turn = self.processes[process].turn;
        match self.processes[process].member.next(&fence, now, random) {
            Next::Register(asked) => {
                self.patience(process, turn, asked.timeout());
                self.then(process, move |world| world.register(process, turn, asked));
            }
            Next::Renew(asked) => {
                self.patience(process, turn, asked.timeout());
                self.then(process, move |world| world.renew(process, turn, asked, sent, now));
            }
            Next::Acknowledge(asked) => {
                self.patience(process, turn, std::time::Duration::from_millis(250));
                self.then(process, move |world| world.acknowledge(process, turn, asked));
            }
            Next::Leave(incarnation) => {
                self.ask(process, move |world| world.store.leave(process, incarnation), |_, ()| ());
                self.then(process, move |world| world.drive(process));
            }
            Next::Rest(until) => {
                self.processes[process].resting = true;
                let rest = self.until(process, until);
                self.after(rest, Some(process), move |world| world.resume(process, turn));
            }
            Next::Left => {}
        }
    }

    /// Goes on, unless it went on already.
    fn resume(&mut self, process: usize, turn: u64) {
        if self.processes[process].turn == turn {
            self.drive(process);
        }
    }

    /// Waits no longer than this for an answer.
    fn patience(&mut self, process: usize, turn: u64, timeout: std::time::Duration) {
        let end = self.until(process, self.clock(process).plus(timeout));
        self.after(end, Some(process), move |world| world.resume(process, turn));
    }

    /// Something is new, says the store.
    pub(super) fn wake(&mut self, process: usize) {
        self.processes[process].member.wake();
        if self.processes[process].resting {
            self.drive(process);
        }
    }

    fn register(&mut self, process: usize, turn: u64, asked: Register) {
        let incarnation = asked.incarnation();
        if self.fault == Fault::SnapshotBeforeRegistration {
            return self.register_late(process, turn, asked);
        }
        let ask = move |world: &mut Self| world.store.register(process, incarnation);
        self.ask(process, ask, move |world, ()| {
            world.processes[process].member.registered(asked);
            world.then(process, move |world| world.resume(process, turn));
        });
    }

    /// Fault: what the first lease stands on was read before the registration.
    fn register_late(&mut self, process: usize, turn: u64, asked: Register) {
        let incarnation = asked.incarnation();
        let (sent, local, after) = (self.now, self.clock(process), self.fence_of(process).point());
        let ask = move |world: &mut Self| world.store.renew(process, incarnation, after.position());
        self.ask(process, ask, move |world, snapshot| {
            let late = world.chance.below(200 * MS);
            world.after(late, Some(process), move |world| {
                let ask = move |world: &mut Self| world.store.register(process, incarnation);
                world.ask(process, ask, move |world, ()| {
                    world.processes[process].member.registered(asked);
                    let fence = world.fence_of(process);
                    fence.apply(after, &snapshot.tail);
                    fence.extend(local.plus(lease(snapshot.fence)));
                    world.oracle.granted(process, sent, snapshot.fence);
                    // It has a lease, so it is in no hurry.
                    world.after(150 * MS, Some(process), move |world| world.resume(process, turn));
                });
            });
        });
    }

    fn renew(&mut self, process: usize, turn: u64, asked: Renew, sent: u64, local: BootTime) {
        let (incarnation, after) = (asked.incarnation(), asked.after());
        let ask = move |world: &mut Self| {
            let answer = world.store.renew(process, incarnation, after);
            if answer.live {
                world.oracle.granted(process, sent, answer.fence);
            }
            answer
        };
        self.ask(process, ask, move |world, answer| world.renewed(process, turn, asked, answer, local));
    }

    fn renewed(&mut self, process: usize, turn: u64, asked: Renew, answer: Renewal, local: BootTime) {
        let (fence, head, granted) = (self.fence_of(process), answer.tail.head, lease(answer.fence));
        let touched = touched(&answer.tail.news);
        let now = self.clock(process);
        self.processes[process].grace.met(&answer.instance, answer.fence + answer.stale, now);
        let incarnation = asked.incarnation();
        let answer = match self.fault {
            // Faults: the other database's answer is taken for one of the same, and is not.
            Fault::TurnIgnored if matches!(answer.tail.news, Entries::WentBack) => return self.resume(process, turn),
            Fault::TurnIgnored => Renewal { instance: crate::store::replica::Instance("any".into()), ..answer },
            _ => answer,
        };
        match self.processes[process].member.renewed(&fence, asked, answer) {
            Renewed::News(news) => {
                match self.fault {
                    Fault::LeaseBeforeApplying => fence.extend(local.plus(granted)),
                    Fault::LeaseFromReceipt => fence.extend(self.clock(process).plus(granted)),
                    Fault::AcknowledgeBeforeApplying => {
                        let ask = move |world: &mut Self| world.store.acknowledge(process, incarnation, head);
                        self.ask(process, ask, |_, _| ());
                    }
                    Fault::StaleFill => {
                        for key in 0..KEYS {
                            if touched & (1 << key) != 0 {
                                self.processes[process].cache[key] = None;
                            }
                        }
                    }
                    _ => {}
                }
                let long = match self.fault {
                    // The longer it takes to apply, the sooner it shows.
                    Fault::LeaseBeforeApplying | Fault::AcknowledgeBeforeApplying => self.chance.below(50 * MS),
                    _ => self.chance.moment(),
                };
                self.after(long, Some(process), move |world| world.apply(process, turn, news));
            }
            Renewed::Turned => {
                self.oracle.note(Note::Turned);
                self.then(process, move |world| world.resume(process, turn));
            }
            Renewed::Unlisted => {
                self.oracle.note(Note::Unlisted);
                self.then(process, move |world| world.resume(process, turn));
            }
        }
    }

    fn apply(&mut self, process: usize, turn: u64, news: News) {
        let applied = news.apply(&self.fence_of(process));
        self.then(process, move |world| {
            let extended = applied.extend(&world.fence_of(process));
            world.then(process, move |world| {
                world.processes[process].member.took(extended);
                world.resume(process, turn);
            });
        });
    }

    fn acknowledge(&mut self, process: usize, turn: u64, asked: Acknowledge) {
        let (incarnation, applied) = (asked.incarnation(), asked.applied());
        let ask = move |world: &mut Self| world.store.acknowledge(process, incarnation, applied);
        self.ask(process, ask, move |world, live| {
            world.processes[process].member.acknowledged(asked, live);
            world.then(process, move |world| world.resume(process, turn));
        });
    }

    /// As whoever made a change here: what it did is applied before it is answered. It extends nothing.
    pub(super) fn settle(&mut self, process: usize, head: u64) {
        let asked = self.fence_of(process).point();
        let ask = move |world: &mut Self| world.store.tail(asked.position());
        self.ask(process, ask, move |world, tail| world.fence_of(process).apply(asked, &tail));
        self.after(40 * MS, Some(process), move |world| {
            let fence = world.fence_of(process);
            if fence.applied() < head {
                fence.flush(head);
            }
        });
    }

    /// A request comes with a key.
    pub(super) fn request(&mut self, process: usize, key: usize) {
        if !self.processes[process].serving {
            return;
        }
        let came = self.now;
        self.elsewhere(process);
        if let Some(entry) = self.recall(process, key, None) {
            self.oracle.note(Note::Remembered);
            return self.verdict(process, key, &entry, came);
        }
        self.then(process, move |world| {
            let began = world.clock(process);
            world.elsewhere(process);
            world.board(process, Request { key, came, began, rounds: 0 });
        });
    }

    /// What is remembered of a key; others may do something before it is read, and after it.
    fn remembered(&mut self, process: usize, key: usize) -> Option<(Entry, Shelf)> {
        self.elsewhere(process);
        let entry = self.processes[process].cache[key].clone();
        self.elsewhere(process);
        entry.map(|entry| (entry, Shelf::Live))
    }

    /// As `Shared::recall`: what is remembered, where that counts.
    fn recall(&mut self, process: usize, key: usize, began: Option<BootTime>) -> Option<Entry> {
        let fence = self.fence_of(process);
        let fault = self.fault;
        let mut read = 0;
        let world = RefCell::new(&mut *self);
        let remembered = || world.borrow_mut().remembered(process, key);
        let now = || {
            let mut world = world.borrow_mut();
            world.elsewhere(process);
            read = world.now;
            world.clock(process)
        };
        let judged = fault.judge(&fence, &digest(key), remembered, now);
        let Judged { entry, counts, .. } = judged?;
        if !self.processes[process].alive || self.oracle.broken() {
            return None;
        }
        if counts {
            self.oracle.counted(read, process);
            return Some(entry);
        }
        if began.is_some_and(|began| entry.sent >= began) {
            return Some(entry);
        }
        // It counts again with the next lease, unless it is void.
        if fence.is_void(&digest(key), &entry) {
            self.processes[process].cache[key] = None;
        }
        None
    }

    /// As `Shared::recall_stale`: what may be used though the store did not answer.
    fn recall_stale(&mut self, process: usize, key: usize) -> Option<Entry> {
        let fence = self.fence_of(process);
        let world = RefCell::new(&mut *self);
        let remembered = || world.borrow_mut().remembered(process, key);
        let now = || {
            let mut world = world.borrow_mut();
            world.elsewhere(process);
            world.clock(process)
        };
        let judged = fence.judge_stale(&digest(key), remembered, now);
        judged.filter(|judged| judged.counts && self.processes[process].alive).map(|judged| judged.entry)
    }

    /// The store did not answer.
    fn fail(&mut self, process: usize, request: Request) {
        match self.recall_stale(process, request.key) {
            Some(entry) => {
                self.oracle.note(Note::Outlasted);
                self.verdict(process, request.key, &entry, request.came);
            }
            None => self.oracle.note(Note::Failed),
        }
    }

    /// As `Shared::flight`: joins the look-up on its way, or begins one.
    fn board(&mut self, process: usize, request: Request) {
        let key = request.key;
        if let Some(flight) = &mut self.processes[process].flights[key] {
            return flight.waiting.push(request);
        }
        let number = self.number();
        self.processes[process].flights[key] = Some(Flight { number, waiting: vec![request] });
        self.then(process, move |world| {
            let asked = world.fence_of(process).point();
            world.elsewhere(process);
            let sent = world.clock(process);
            world.then(process, move |world| world.load(process, key, number, asked, sent));
        });
        let patience = self.until(process, self.clock(process).plus(std::time::Duration::from_millis(400)));
        self.after(patience, Some(process), move |world| world.land(process, key, number, None));
    }

    fn load(&mut self, process: usize, key: usize, number: u64, asked: Point, sent: BootTime) {
        let ask = move |world: &mut Self| world.store.load(key);
        self.ask(process, ask, move |world, (as_of, revoked)| {
            // In its time, or it was given up.
            if world.processes[process].flights[key].as_ref().is_none_or(|flight| flight.number != number) {
                return;
            }
            let standing = Rc::clone(&world.keys).standing(key, revoked).clone();
            let owners = world.fence_of(process).owners(Some(&standing));
            let entry = Entry { as_of: asked.at(as_of), sent, standing: Some(standing), owners };
            world.then(process, move |world| {
                world.processes[process].cache[key] = Some(entry.clone());
                world.then(process, move |world| world.land(process, key, number, Some(entry)));
            });
        });
    }

    /// Off the list first, then answered.
    fn land(&mut self, process: usize, key: usize, number: u64, entry: Option<Entry>) {
        let flights = &mut self.processes[process].flights[key];
        let Some(flight) = flights.take_if(|flight| flight.number == number) else { return };
        for request in flight.waiting {
            match entry.clone() {
                Some(entry) => self.then(process, move |world| world.landed(process, request, &entry)),
                None => self.then(process, move |world| world.fail(process, request)),
            }
        }
    }

    fn landed(&mut self, process: usize, request: Request, entry: &Entry) {
        let Request { key, came, began, rounds } = request;
        if entry.sent >= began {
            self.oracle.note(Note::Fresh);
            return self.verdict(process, key, entry, came);
        }
        self.oracle.note(Note::Joined);
        if self.fault == Fault::JoinedTrusted {
            return self.verdict(process, key, entry, came);
        }
        if let Some(entry) = self.recall(process, key, Some(began)) {
            return self.verdict(process, key, &entry, came);
        }
        if rounds < 2 {
            return self.board(process, Request { rounds: rounds + 1, ..request });
        }
        self.oracle.note(Note::Failed);
    }

    fn verdict(&mut self, process: usize, key: usize, entry: &Entry, came: u64) {
        let active = entry.standing.as_ref().is_some_and(|standing| standing.state == crate::key::KeyState::Active);
        if active {
            let keys = Rc::clone(&self.keys);
            self.oracle.served(self.now, &keys, process, key, came);
        } else {
            self.oracle.note(Note::Refused);
        }
    }
}

/// The keys that entries touch; all of them where that is not told.
fn touched(news: &Entries) -> u64 {
    let Entries::Entries(entries) = news else { return u64::MAX };
    entries.iter().fold(0, |touched, entry| match &entry.subject {
        Subject::Secret(head) => touched | 1 << head[0],
        _ => u64::MAX,
    })
}

const NAMES: [&str; 16] = [
    "rep_0", "rep_1", "rep_2", "rep_3", "rep_4", "rep_5", "rep_6", "rep_7", "rep_8", "rep_9", "rep_10", "rep_11",
    "rep_12", "rep_13", "rep_14", "rep_15",
];

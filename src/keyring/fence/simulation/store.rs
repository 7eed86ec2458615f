//! The store that the simulation's processes share: one head, its log, the keys, and a row for each replica. Every method is
//! one statement or one transaction, and happens at one moment.

use std::time::Duration;

use super::keys::{KEYS, Keys, What};
use crate::clock::Timestamp;
use crate::store::log::{Entry, News, Tail};
use crate::store::replica::{Incarnation, Instance, Renewal, Replica, ReplicaId, ReplicaState, Replicas};

#[derive(Debug)]
pub(super) struct Store {
    state: State,
    /// The rows as of the last commit that was waited for: a crash may lose the acknowledgements since.
    durable: Vec<Row>,
    /// What the standby has that lags behind.
    standby: Option<State>,
    instance: u64,
    /// How often every connection was cut by a crash.
    pub(super) crashes: u64,
    /// Nobody is answered before.
    pub(super) down_until: u64,
    /// Fault: numbers are given out before the commit, so that they become visible in another order.
    pub(super) sequence: bool,
    taken: u64,
    longest: Duration,
    stale: Duration,
}

#[derive(Clone, Debug)]
struct State {
    head: u64,
    log: Vec<Logged>,
    revoked: [bool; KEYS],
    rows: Vec<Row>,
    fence: Duration,
    previous: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Logged {
    seq: u64,
    what: What,
}

/// `process` is the place of the process among all there were.
#[derive(Clone, Copy, Debug)]
struct Row {
    process: usize,
    incarnation: Incarnation,
    state: ReplicaState,
    applied: Option<u64>,
}

impl Store {
    pub(super) fn new(fence: Duration, stale: Duration) -> Self {
        let rows = Vec::new();
        let state = State { head: 0, log: Vec::new(), revoked: [false; KEYS], rows, fence, previous: None };
        Self {
            state,
            durable: Vec::new(),
            standby: None,
            instance: 0,
            crashes: 0,
            down_until: 0,
            sequence: false,
            taken: 0,
            longest: fence + stale,
            stale,
        }
    }

    /// The longest fence there ever was.
    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }

    pub(super) const fn head(&self) -> u64 {
        self.state.head
    }

    /// For how long beyond a lease replicas may serve.
    pub(super) const fn stale(&self) -> Duration {
        self.stale
    }

    /// The longest that anything may be used.
    pub(super) fn fence(&self) -> Duration {
        let now = self.state.fence + self.stale;
        self.state.previous.map_or(now, |previous| previous.max(now))
    }

    pub(super) fn register(&mut self, process: usize, incarnation: Incarnation) {
        self.state.rows.retain(|row| row.process != process);
        self.state.rows.push(Row { process, incarnation, state: ReplicaState::Live, applied: None });
        self.durable.clone_from(&self.state.rows);
    }

    pub(super) fn renew(&self, process: usize, incarnation: Incarnation, after: u64) -> Renewal {
        Renewal {
            tail: self.tail(after),
            live: self.row(process, incarnation).is_some_and(|row| row.state == ReplicaState::Live),
            fence: self.state.fence,
            stale: self.stale,
            instance: self.instance(),
            time: None,
        }
    }

    pub(super) fn tail(&self, after: u64) -> Tail {
        let head = self.state.head;
        let Some(new) = head.checked_sub(after) else { return Tail { head, news: News::WentBack } };
        let entries = || {
            let entries = self.state.log.iter().filter(|logged| logged.seq > after && logged.seq <= head);
            entries.map(|logged| Entry { seq: logged.seq, subject: logged.what.subject() }).collect::<Vec<_>>()
        };
        let told = if new > MANY { Vec::new() } else { entries() };
        Tail { head, news: if told.len() as u64 == new { News::Entries(told) } else { News::Gone } }
    }

    /// Not waited for until it is durable, as all that can only make an answer later.
    pub(super) fn acknowledge(&mut self, process: usize, incarnation: Incarnation, applied: u64) -> bool {
        let live = self.row_mut(process, incarnation).filter(|row| row.state == ReplicaState::Live);
        live.is_some_and(|row| {
            row.applied = row.applied.max(Some(applied));
            true
        })
    }

    pub(super) fn replicas(&self, names: &[ReplicaId]) -> Replicas {
        let awaited = self.state.rows.iter().filter(|row| row.state != ReplicaState::Dead);
        let (joined, heard) = (Timestamp::from_millis(0), Timestamp::from_millis(0));
        let replica = |row: &Row| Replica {
            id: names[row.process].clone(),
            incarnation: row.incarnation,
            state: row.state,
            applied: row.applied,
            node: String::new(),
            version: String::new(),
            joined,
            heard,
        };
        Replicas {
            head: self.state.head,
            fence: self.fence(),
            instance: self.instance(),
            replicas: awaited.map(replica).collect(),
        }
    }

    pub(super) fn doubt(&mut self, process: usize, incarnation: Incarnation, from: ReplicaState, to: ReplicaState) {
        if let Some(row) = self.row_mut(process, incarnation).filter(|row| row.state == from) {
            row.state = to;
            self.durable.clone_from(&self.state.rows);
        }
    }

    pub(super) fn leave(&mut self, process: usize, incarnation: Incarnation) {
        if let Some(row) = self.row_mut(process, incarnation) {
            row.state = ReplicaState::Dead;
            self.durable.clone_from(&self.state.rows);
        }
    }

    /// The head of the snapshot, and whether the key was revoked in it.
    pub(super) const fn load(&self, key: usize) -> (u64, bool) {
        (self.state.head, self.state.revoked[key])
    }

    /// The position that the next change gets.
    pub(super) const fn next(&mut self) -> u64 {
        if self.sequence {
            // Taken before the commit, and by nobody else.
            self.taken += 1;
            return self.taken;
        }
        self.state.head + 1
    }

    pub(super) fn commit(&mut self, keys: &Keys, seq: u64, what: What) {
        self.state.log.push(Logged { seq, what });
        self.state.head = self.state.head.max(seq);
        for key in keys.of(what) {
            self.state.revoked[key] = true;
        }
        self.durable.clone_from(&self.state.rows);
    }

    /// Another fence holds from now on. Where it is shorter, what was read by the old one may count still.
    pub(super) fn change_fence(&mut self, fence: Duration) {
        self.state.previous = (fence + self.stale < self.fence()).then(|| self.fence());
        self.state.fence = fence;
        self.longest = self.longest.max(fence + self.stale);
    }

    /// The old fence is over.
    pub(super) const fn forget_fence(&mut self) {
        self.state.previous = None;
    }

    pub(super) fn replicate(&mut self) {
        self.standby = Some(self.state.clone());
    }

    /// It crashes and comes back; acknowledgements that nobody waited for may be lost.
    pub(super) fn restart(&mut self, loses: bool) {
        self.crashes += 1;
        if loses {
            self.state.rows.clone_from(&self.durable);
        }
    }

    /// The standby takes its place: with everything that was waited for, or with what it had.
    pub(super) fn fail_over(&mut self, loses: bool) {
        self.instance += 1;
        self.crashes += 1;
        match self.standby.take() {
            // A change of the fence is taken to be replicated: losing it is as bad as losing a revocation, and told so.
            Some(standby) if loses => {
                let (fence, previous) = (self.state.fence, self.state.previous);
                self.state = State { fence, previous, ..standby };
            }
            _ => self.state.rows.clone_from(&self.durable),
        }
        self.durable.clone_from(&self.state.rows);
    }

    /// The replicas that are waited for.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (usize, Incarnation)> {
        let awaited = self.state.rows.iter().filter(|row| row.state != ReplicaState::Dead);
        awaited.map(|row| (row.process, row.incarnation))
    }

    /// What a process that is waited for has acknowledged.
    pub(super) fn applied(&self, process: usize) -> Option<u64> {
        self.state.rows.iter().find(|row| row.process == process).and_then(|row| row.applied)
    }

    fn instance(&self) -> Instance {
        Instance(INSTANCES[self.instance as usize % INSTANCES.len()].into())
    }

    fn row(&self, process: usize, incarnation: Incarnation) -> Option<&Row> {
        self.state.rows.iter().find(|row| row.process == process && row.incarnation == incarnation)
    }

    fn row_mut(&mut self, process: usize, incarnation: Incarnation) -> Option<&mut Row> {
        self.state.rows.iter_mut().find(|row| row.process == process && row.incarnation == incarnation)
    }
}

/// More entries than this at once are not told one by one.
const MANY: u64 = 4;
const INSTANCES: [&str; 4] = ["first", "second", "third", "fourth"];

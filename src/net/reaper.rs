//! The one timer of a worker: a sweep over its connections that ends what takes too long.
//!
//! A timer of its own for each connection and request would be exact to the millisecond, and cost an allocation and two
//! moves in the timer wheel a request. A sweep a second costs a look at each connection; an end comes at most two sweeps
//! late, and never early: the coarse time may lag by one sweep, which every limit allows for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::config::Timeouts;
use super::conn::{CoarseTime, Conn};
use crate::clock::Clock;
use crate::telemetry::label::{Closed, StreamReset};
use crate::telemetry::metrics::Shard;

/// How long each thing may take, with the sweep allowed for.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) tls_handshake: Duration,
    pub(super) first_byte: Duration,
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) write_stall: Duration,
    /// None where a connection may live for any time.
    pub(super) age: Option<Duration>,
    sweep: Duration,
}

impl Limits {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let Timeouts { tls_handshake, first_byte, header, idle, write_stall, connection_age, .. } = timeouts;
        let all = [tls_handshake, first_byte, header, idle, write_stall];
        let age = Some(connection_age.0).filter(|age| !age.is_zero());
        let shortest = all.iter().map(|span| span.0).chain(age).min().unwrap_or(LONGEST_SWEEP);
        let sweep = (shortest / 4).clamp(SHORTEST_SWEEP, LONGEST_SWEEP);
        let [tls_handshake, first_byte, header, idle, write_stall] = all.map(|span| span.0.saturating_add(sweep));
        Self { tls_handshake, first_byte, header, idle, write_stall, age, sweep }
    }
}

/// A worker's live connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    live: RefCell<Vec<Rc<Conn>>>,
    leaving: Cell<bool>,
    emptied: Notify,
}

impl Connections {
    /// Adds a connection until what this returns is dropped.
    pub(super) fn add(self: &Rc<Self>, conn: &Rc<Conn>) -> Listed {
        self.live.borrow_mut().push(Rc::clone(conn));
        if self.leaving.get() {
            conn.depart();
        }
        Listed { all: Rc::clone(self), conn: Rc::clone(conn) }
    }

    pub(super) fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Lets every connection finish, those to come included.
    pub(super) fn depart(&self) {
        self.leaving.set(true);
        self.each(Conn::depart);
    }

    pub(super) fn each(&self, act: impl FnMut(&Conn)) {
        self.live.borrow().iter().map(Rc::as_ref).for_each(act);
    }

    /// Ends the handshake whose client has been silent for longest, where an honest one would have said something. One that
    /// waits for us is not to blame.
    pub(super) fn end_silent_handshake(&self) {
        let live = self.live.borrow();
        let silent = live.iter().filter_map(|conn| Some((conn.silent_for()?, conn)));
        if let Some((silent, conn)) = silent.max_by_key(|(silent, _)| *silent)
            && silent >= FOR_AN_ANSWER
        {
            conn.cut(Closed::HandshakeTimeout);
        }
    }

    /// Waits until there is none.
    pub(super) async fn empty(&self) {
        while self.len() > 0 {
            self.emptied.notified().await;
        }
    }
}

/// A connection's place among the live ones.
#[derive(Debug)]
pub(super) struct Listed {
    all: Rc<Connections>,
    conn: Rc<Conn>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut live = self.all.live.borrow_mut();
        if let Some(place) = live.iter().position(|other| Rc::ptr_eq(other, &self.conn)) {
            live.swap_remove(place);
        }
        if live.is_empty() {
            self.all.emptied.notify_one();
        }
    }
}

/// Sweeps for as long as the worker lives.
pub(super) async fn sweep(
    connections: Rc<Connections>,
    limits: Rc<RefCell<Limits>>,
    clock: Clock,
    time: CoarseTime,
    metrics: Rc<Shard>,
) {
    loop {
        let pause = limits.borrow().sweep;
        tokio::time::sleep(pause).await;
        let limits = limits.borrow();
        time.set(clock.boot());
        connections.each(|conn| {
            for _ in 0..conn.end_stalled_streams(&limits) {
                metrics.stream_reset(StreamReset::WriteStall);
            }
            match conn.overdue(&limits) {
                Some(why) => conn.expire(why),
                None => conn.send_to_rest(),
            }
        });
    }
}

/// While others wait to begin their handshake.
const FOR_AN_ANSWER: Duration = Duration::from_secs(1);

const LONGEST_SWEEP: Duration = Duration::from_secs(1);

/// Nobody is served better by sweeping without a pause.
const SHORTEST_SWEEP: Duration = Duration::from_millis(5);

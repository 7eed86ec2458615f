//! What one connection is doing and since when: written by the connection itself, read by the reaper.
//!
//! ```text
//!   First --byte--> Head -> Handshake, or what follows it                       the PROXY header, where one has to come
//!   Handshake -> First --byte--> Head --request--> Busy --answered--> Idle      HTTP/1.1
//!                                 ^----------------byte----------------'
//!                                                    Busy --101--> Tunnel
//!   Handshake -> Preface --settings--> Idle <--> Busy                           HTTP/2
//! ```
//!
//! All of it is cells on one thread, and the time is the worker's coarse one, so that a read or a write costs no system
//! call. Ending a connection is a word left here and a wake: its task then drops what it was doing.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::bell::Bell;
use super::reaper::Limits;
use super::tunnel::Next;
use crate::clock::BootTime;
use crate::telemetry::label::Closed;

/// A worker's time, as of its last sweep.
pub(super) type CoarseTime = Rc<Cell<BootTime>>;

/// One connection's state.
#[derive(Debug)]
pub(super) struct Conn {
    time: CoarseTime,
    born: BootTime,
    phase: Cell<Phase>,
    since: Cell<BootTime>,
    requests: Cell<u64>,
    http2: Cell<bool>,
    preface: Cell<usize>,
    in_flight: Cell<usize>,
    /// Bytes wait for the client since then.
    blocked: Cell<Option<BootTime>>,
    /// Bytes of its handshake are waited for since then.
    awaited: Cell<Option<BootTime>>,
    /// The client has sent all it will.
    ended: Cell<bool>,
    /// The last request had a body, of which some may still be on its way.
    body: Cell<bool>,
    /// The request in hand asks for an upgrade.
    upgrade: Cell<bool>,
    leaving: Cell<bool>,
    /// The next request is the last, over HTTP/1.1.
    parting: Cell<bool>,
    /// It leaves, but a request that may be on its way is waited for.
    patient: Cell<bool>,
    /// Why it leaves, where that is our wish.
    leaves_for: Cell<Option<Closed>>,
    verdict: Cell<Option<Closed>>,
    /// A sweep found it idle, and so did the one before.
    rests: Cell<bool>,
    /// What its socket and its task ring.
    bell: Bell,
    streams: RefCell<Vec<Rc<Stream>>>,
    /// The stream whose task is about to be spawned.
    fresh: RefCell<Option<Rc<Stream>>>,
    /// What it goes on as.
    next: Next,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS, not agreed yet.
    Handshake,
    /// HTTP/1.1, or the PROXY header: no byte came yet.
    First,
    /// HTTP/1.1: a head has begun. So has the PROXY header.
    Head,
    /// HTTP/2: the client's preface and settings are not here yet.
    Preface,
    /// A request is being answered.
    Busy,
    /// None is.
    Idle,
    /// HTTP/1.1 is over: bytes go through, and what may be asked of them is not ours to know.
    Tunnel,
    /// All is answered; what the client still sends is thrown away.
    Linger,
}

impl Conn {
    pub(super) fn new(time: CoarseTime) -> Rc<Self> {
        let born = time.get();
        Rc::new(Self {
            time,
            born,
            phase: Cell::new(Phase::Handshake),
            since: Cell::new(born),
            requests: Cell::new(0),
            http2: Cell::new(false),
            preface: Cell::new(0),
            in_flight: Cell::new(0),
            blocked: Cell::new(None),
            awaited: Cell::new(None),
            ended: Cell::new(false),
            body: Cell::new(false),
            upgrade: Cell::new(false),
            leaving: Cell::new(false),
            parting: Cell::new(false),
            patient: Cell::new(false),
            leaves_for: Cell::new(None),
            verdict: Cell::new(None),
            rests: Cell::new(false),
            bell: Bell::new(),
            streams: RefCell::new(Vec::new()),
            fresh: RefCell::new(None),
            next: Next::default(),
        })
    }

    /// The time of the worker's last sweep.
    pub(super) fn now(&self) -> BootTime {
        self.time.get()
    }

    /// What its end was decided to be, if it was.
    pub(super) fn verdict(&self) -> Option<Closed> {
        self.verdict.get()
    }

    /// Asks an HTTP/1.1 connection that has had nothing to do since the sweep before to come to rest.
    pub(super) fn send_to_rest(&self) {
        if self.is_at_rest() && self.since.get() < self.time.get() && !self.rests.replace(true) {
            self.bell.ring();
        }
    }

    /// Whether it was asked to, and has still nothing to do, nor rang to be polled again. Asked once it was polled.
    pub(super) fn may_rest(&self) -> bool {
        self.rests.get() && !self.bell.has_rung() && self.rests.replace(false) && self.is_at_rest()
    }

    /// Whether everything was answered and every byte of it taken.
    fn is_at_rest(&self) -> bool {
        self.phase.get() == Phase::Idle && !self.http2.get() && self.blocked.get().is_none() && !self.leaving.get()
    }

    /// Whether it takes no further request.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Goes on to `phase`, as of now.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.time.get());
    }

    /// HTTP begins.
    pub(super) fn speak(&self, http2: bool) {
        self.http2.set(http2);
        self.enter(if http2 { Phase::Preface } else { Phase::First });
    }

    /// Bytes came from the client; none is its end.
    pub(super) fn on_read(&self, bytes: usize) {
        if bytes == 0 {
            self.ended.set(true);
            return;
        }
        match self.phase.get() {
            Phase::First => self.enter(Phase::Head),
            Phase::Idle if !self.http2.get() => self.enter(Phase::Head),
            Phase::Preface => {
                self.preface.set(self.preface.get().saturating_add(bytes));
                if self.preface.get() >= HTTP2_PREFACE {
                    self.enter(Phase::Idle);
                }
            }
            _ => {}
        }
    }

    /// The client took bytes, or took none though some wait.
    pub(super) fn on_write(&self, taken: bool) {
        if taken {
            self.blocked.set(None);
        } else if self.blocked.get().is_none() {
            self.blocked.set(Some(self.time.get()));
        }
    }

    /// A request began, which has a body or asks for an `upgrade`; it is in flight until what this returns is dropped.
    pub(super) fn begin(self: &Rc<Self>, body: bool, upgrade: bool) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.body.set(body);
        self.upgrade.set(upgrade);
        self.enter(Phase::Busy);
        if self.parting.get() && !self.http2.get() {
            self.leave();
        }
        let stream = self.http2.get().then(|| {
            let stream = Rc::new(Stream::default());
            self.streams.borrow_mut().push(Rc::clone(&stream));
            *self.fresh.borrow_mut() = Some(Rc::clone(&stream));
            stream
        });
        InFlight { conn: Rc::clone(self), stream }
    }

    /// The stream that began last, until its task is spawned (HTTP/2).
    pub(super) fn newest(&self) -> Option<Rc<Stream>> {
        if self.http2.get() { self.fresh.borrow().clone() } else { None }
    }

    /// The task that answers the request that began last was spawned (HTTP/2).
    pub(super) fn adopt(&self, task: AbortHandle) {
        if let Some(stream) = self.fresh.borrow_mut().take() {
            *stream.task.borrow_mut() = Some(task);
        }
    }

    /// Whether closing now could lose an answer: bytes that the client still sends would make the kernel answer with a
    /// reset, and a reset makes the client's kernel throw away what it has not read (RFC 9112 9.6).
    pub(super) fn should_linger(&self) -> bool {
        !self.ended.get() && (self.body.get() || self.phase.get() == Phase::Head)
    }

    /// Ends the connection once its answers are given; at once where it has not begun.
    pub(super) fn leave(&self) {
        if self.phase.get() == Phase::Handshake {
            self.cut(Closed::Drained);
        }
        self.leaving.set(true);
        self.bell.ring();
    }

    /// Ends the connection once its answers are given, where it has begun `most` requests; 0 is any number.
    pub(super) fn leave_after(&self, most: u64) {
        if most > 0 && self.requests.get() >= most {
            self.leave_for(Closed::Requests);
        }
    }

    /// As [`Self::leave`], for a reason that is told where the connection ends in order.
    fn leave_for(&self, why: Closed) {
        if self.leaves_for.get().is_none() {
            self.leaves_for.set(Some(why));
            self.leave();
        }
    }

    /// Lets the client of an HTTP/1.1 connection know with the answer to its next request that it is to go elsewhere. Without a
    /// request it stays: it could not be told.
    pub(super) fn part(&self) {
        self.parting.set(true);
    }

    /// Ends the connection after the answer to what it was asked by now, which over HTTP/1.1 may not have been read yet: a
    /// client that is not told beforehand sends its next request at any moment, and closing then would lose it (RFC 9112
    /// 9.6). So the next answer says that it is the last, and one that is at rest is left to [`Self::hurry`].
    pub(super) fn depart(&self) {
        self.patient.set(true);
        self.leaving.set(true);
        self.bell.ring();
    }

    /// Ends a departing connection that has been at rest for `long`.
    pub(super) fn hurry(&self, long: Duration) {
        if matches!(self.phase.get(), Phase::First | Phase::Idle)
            && self.time.get().since(self.since.get()) >= long
            && self.patient.replace(false)
        {
            self.bell.ring();
        }
    }

    /// Whether it is to end because keyward stops.
    pub(super) fn is_departing(&self) -> bool {
        self.patient.get()
    }

    /// What it goes on as, once its last answer is given.
    pub(super) fn next(&self) -> &Next {
        &self.next
    }

    /// Whether bytes wait that the client has not taken.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get().is_some()
    }

    /// The client may have sent more than the request whose answer is the last.
    pub(super) fn expect_more(&self) {
        self.body.set(true);
    }

    /// Whether nothing would be lost if it ended now.
    pub(super) fn loses_nothing(&self) -> bool {
        matches!(self.phase.get(), Phase::First | Phase::Idle | Phase::Linger)
    }

    /// Whether it is to end as soon as nothing is in flight, or is to be told so. A head that has begun is waited for: to
    /// hyper the connection is idle until then, and would close. So is the answer to who asks for an upgrade: hyper would say
    /// `close` in a 101 too, which some clients then do not take for one.
    pub(super) fn may_leave(&self) -> bool {
        let waits = match self.phase.get() {
            Phase::Busy => self.upgrade.get(),
            Phase::Tunnel | Phase::Linger => false,
            Phase::Head => true,
            Phase::Handshake | Phase::First | Phase::Preface | Phase::Idle => self.patient.get(),
        };
        self.leaving.get() && (self.http2.get() || !waits)
    }

    /// Waits until it may end, for work that is lost by none of that.
    pub(super) async fn left(&self) {
        poll_fn(|_| if self.may_leave() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Ends the connection now.
    pub(super) fn cut(&self, why: Closed) {
        if self.verdict.get().is_none() {
            self.verdict.set(Some(why));
            self.bell.ring();
        }
    }

    /// Something took too long. An idle HTTP/2 connection is told first (GOAWAY): a request that crosses an abrupt end
    /// would be lost, and its client could not know whether it may ask again (RFC 9113 6.8). One that is too old may
    /// still answer what it was asked.
    pub(super) fn expire(&self, why: Closed) {
        if why == Closed::Age {
            self.leave_for(why);
        } else if why == Closed::IdleTimeout && self.http2.get() && self.leaves_for.get() != Some(why) {
            self.enter(Phase::Linger);
            self.leaves_for.set(Some(why));
            self.leave();
        } else {
            self.cut(why);
        }
    }

    /// Why it ended, where nothing but the transport says. A client that goes while nothing is in flight has broken
    /// nothing off, in whatever manner it goes; many leave TLS without a word.
    pub(super) fn finished(&self, ended: Result<(), Closed>) -> Closed {
        let at_rest = matches!(self.phase.get(), Phase::Idle | Phase::Linger);
        match ended {
            Ok(()) | Err(Closed::Done) => {}
            Err(Closed::Broken) if at_rest => {}
            Err(why) => return why,
        }
        self.leaves_for.get().unwrap_or(Closed::Done)
    }

    /// What is overdue, if anything.
    pub(super) fn overdue(&self, limits: &Limits) -> Option<Closed> {
        let now = self.time.get();
        if self.blocked.get().is_some_and(|since| now.since(since) >= limits.write_stall) {
            return Some(Closed::WriteStall);
        }
        let (limit, why) = match self.phase.get() {
            Phase::Handshake => (limits.tls_handshake, Closed::HandshakeTimeout),
            Phase::First => (limits.first_byte, Closed::FirstByteTimeout),
            Phase::Head | Phase::Preface => (limits.header, Closed::HeaderTimeout),
            Phase::Idle => (limits.idle, Closed::IdleTimeout),
            Phase::Linger => (LINGER, Closed::Done),
            Phase::Busy | Phase::Tunnel => (Duration::MAX, Closed::Done),
        };
        if now.since(self.since.get()) >= limit {
            return Some(why);
        }
        let old = limits.age.is_some_and(|age| now.since(self.born) >= age);
        let may_leave = self.phase.get() != Phase::Handshake && self.leaves_for.get().is_none();
        (old && may_leave).then_some(Closed::Age)
    }

    /// The client is to send what its handshake needs next, or the PROXY header before it, or has.
    pub(super) fn await_client(&self, awaited: bool) {
        self.awaited.set(awaited.then(|| self.time.get()));
    }

    /// For how long its client has left its handshake waiting, where it does.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        Some(self.time.get().since(self.awaited.get()?))
    }

    /// Ends the HTTP/2 streams whose client takes none of their bytes, and returns how many: the socket is not blocked
    /// where flow control is, and each of them holds an origin's connection.
    pub(super) fn end_stalled_streams(&self, limits: &Limits) -> usize {
        let stalled = |stream: &&Rc<Stream>| {
            stream.waiting.get().is_some_and(|since| self.time.get().since(since) >= limits.write_stall)
        };
        let streams = self.streams.borrow();
        let tasks = streams.iter().filter(stalled).filter_map(|stream| stream.task.borrow_mut().take());
        tasks.map(|task| task.abort()).count()
    }

    /// Does `work` until it is done or the connection is ended from outside. `leave` is called once, when the connection
    /// should finish.
    pub(super) async fn run<F: Future>(
        &self,
        mut work: Pin<&mut F>,
        leave: impl Fn(Pin<&mut F>),
    ) -> Result<F::Output, Closed> {
        let mut told = false;
        let mut poll = |cx: &mut Context<'_>| {
            if let Some(why) = self.verdict.get() {
                return Poll::Ready(Err(why));
            }
            if self.may_leave() && !told {
                told = true;
                leave(work.as_mut());
            }
            work.as_mut().poll(cx).map(Ok)
        };
        poll_fn(|cx| self.bell.attend(cx, 1, &mut poll)).await
    }

    /// What is rung where something happens to it.
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// A request in flight, until the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    conn: Rc<Conn>,
    stream: Option<Rc<Stream>>,
}

impl InFlight {
    /// Whether it came over HTTP/2.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether its connection takes no further request.
    pub(super) fn is_last(&self) -> bool {
        self.conn.is_leaving()
    }

    /// The answer has bytes for the client, which takes them or lets them wait.
    pub(super) fn offered(&self, waits: bool) {
        if let Some(stream) = &self.stream {
            stream.waiting.set(waits.then(|| self.conn.time.get()));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            self.conn.streams.borrow_mut().retain(|other| !Rc::ptr_eq(other, stream));
        }
        let left = self.conn.in_flight.get() - 1;
        self.conn.in_flight.set(left);
        if left == 0 {
            self.conn.enter(Phase::Idle);
            // What was not told meanwhile.
            if self.conn.upgrade.replace(false) && self.conn.leaving.get() {
                self.conn.bell.ring();
            }
        }
    }
}

/// One HTTP/2 stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    task: RefCell<Option<AbortHandle>>,
    /// It was ended from outside.
    cut: Cell<bool>,
    /// Its bytes wait for the client since then.
    waiting: Cell<Option<BootTime>>,
}

impl Stream {
    /// Resets it.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }
}

/// The fixed preface and an empty SETTINGS frame (RFC 9113 3.4).
const HTTP2_PREFACE: usize = 24 + 9;

/// After the last answer, a client is listened to for so long.
const LINGER: Duration = Duration::from_secs(2);

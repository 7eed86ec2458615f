//! A worker's connections to one service: kept, bounded, and polled by whoever uses them.
//!
//! No task is spawned for a connection. The request that holds one polls it together with its own waiting, and the
//! answer's body goes on polling it; so an exchange wakes one task, and polling a kept connection once at checkout is the
//! test of whether the origin has closed it meanwhile. Everything here lives on one thread and needs no lock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

pub(super) use self::exchange::{Broken, Lease, OriginBody, Switched};
use super::alarm::Alarm;
use super::body::RequestBody;
use super::connect::{Look, Stream, connect};
use super::service::Service;
use crate::clock::{BootTime, Clock};
use crate::net::bell::Bell;
use crate::telemetry::label::OriginEvent;
use crate::telemetry::metrics::{ServiceSeries, Shard};

mod exchange;

/// Why an origin gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum OriginError {
    #[error("the origin cannot be reached")]
    Unreachable(#[source] io::Error),
    #[error("connecting to the origin took too long")]
    ConnectTimedOut,
    #[error("the origin's answer took too long")]
    AnswerTimedOut,
    #[error("every connection to the origin is in use")]
    Busy,
    #[error("as many requests as may wait for a connection to the origin do")]
    QueueFull,
    #[error("the head of the origin's answer is too large")]
    HeadTooLarge,
    #[error("the exchange with the origin broke off")]
    Broken(#[source] hyper::Error),
    #[error("the origin closed the connection without an answer")]
    NotAnswered,
    #[error("the origin answered a question that was not asked")]
    Unasked,
    #[error("the origin's answer has two lengths")]
    Ambiguous,
}

impl OriginError {
    /// The word the log and the metrics use.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "origin_unreachable",
            Self::ConnectTimedOut => "origin_connect_timed_out",
            Self::AnswerTimedOut => "origin_answer_timed_out",
            Self::Busy => "origin_busy",
            Self::QueueFull => "origin_queue_full",
            Self::HeadTooLarge => "origin_head_too_large",
            Self::Broken(_) => "origin_broken",
            Self::NotAnswered => "origin_not_answered",
            Self::Unasked => "origin_unasked",
            Self::Ambiguous => "origin_ambiguous",
        }
    }
}

/// One worker's connections to one service.
pub(super) struct Pool {
    service: Arc<Service>,
    series: ServiceSeries,
    clock: Clock,
    shard: Rc<Shard>,
    /// Newest last.
    idle: RefCell<Vec<(Box<Link>, BootTime)>>,
    /// When somebody last looked at the clock for it, a sweep or a request: exact enough for how long a connection rests.
    time: Cell<BootTime>,
    open: Cell<usize>,
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// Whether a reload has left its service out: nothing is kept any more.
    retired: Cell<bool>,
    /// How many requests wait; some of `waiting` have left.
    queued: Cell<usize>,
}

/// An open connection.
struct Link {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<Stream>, RequestBody>,
    bell: Bell,
    alarm: Alarm,
    look: Look,
    /// hyper is done with it, and must not be asked again.
    done: bool,
    slot: Slot,
}

impl Pool {
    pub(super) fn new(service: Arc<Service>, series: ServiceSeries, clock: Clock, shard: Rc<Shard>) -> Rc<Self> {
        let time = Cell::new(clock.boot());
        let (idle, open, waiting, queued) = (RefCell::default(), Cell::new(0), RefCell::default(), Cell::new(0));
        Rc::new(Self { service, series, clock, shard, idle, time, open, waiting, queued, retired: Cell::new(false) })
    }

    /// Whether its connections are what this service wants.
    pub(super) fn serves(&self, service: &Service) -> bool {
        *self.service == *service
    }

    /// Closes what is idle now, and whatever becomes so.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        // Dropping frees slots, which may wake a waiter: not while `idle` is borrowed.
        drop(self.idle.take());
    }

    #[cfg(test)]
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Counts what happened to a connection to its service.
    pub(super) fn count(&self, event: OriginEvent) {
        self.shard.origin(self.series, event);
    }

    /// A connection to use from `now` on: a kept one that is still alive, else a new one, else the next that comes free. A
    /// request that cannot be repeated has a kept one looked at `closely`, for one more system call.
    pub(super) async fn take(self: &Rc<Self>, now: BootTime, closely: bool) -> Result<Lease, OriginError> {
        match self.reused(now, closely) {
            Some(lease) => Ok(lease),
            // Boxed: a request that needs none of it does not carry it along.
            None => Box::pin(self.opened(closely)).await,
        }
    }

    fn reused(self: &Rc<Self>, now: BootTime, closely: bool) -> Option<Lease> {
        self.time.set(now);
        let link = self.kept(closely)?;
        self.count(OriginEvent::Reused);
        Some(Lease::new(link, self, now, true))
    }

    async fn opened(self: &Rc<Self>, closely: bool) -> Result<Lease, OriginError> {
        let mut waits_since = None;
        loop {
            if let Some(lease) = self.fresh().await? {
                return Ok(lease);
            }
            // One that comes free may be taken by another before we run; the time to wait is one all the same.
            let now = self.clock.boot();
            if waits_since.is_none() {
                self.count(OriginEvent::Waited);
            }
            let waited = now.since(*waits_since.get_or_insert(now));
            self.wait(self.service.connect.saturating_sub(waited)).await?;
            if let Some(lease) = self.reused(self.clock.boot(), closely) {
                return Ok(lease);
            }
        }
    }

    /// A new connection, where one more is allowed.
    pub(super) async fn fresh(self: &Rc<Self>) -> Result<Option<Lease>, OriginError> {
        let Some(slot) = Slot::reserve(self) else { return Ok(None) };
        let service = &*self.service;
        let opened = match tokio::time::timeout(service.connect, self.open(slot)).await {
            Ok(opened) => opened,
            Err(_) => Err(OriginError::ConnectTimedOut),
        };
        self.count(match &opened {
            Ok(link) => {
                link.slot.opened.set(true);
                OriginEvent::Opened
            }
            Err(OriginError::ConnectTimedOut) => OriginEvent::TimedOut,
            Err(_) => OriginEvent::Failed,
        });
        Ok(Some(Lease::new(opened?, self, self.clock.boot(), false)))
    }

    async fn open(&self, slot: Slot) -> Result<Box<Link>, OriginError> {
        let service = &*self.service;
        let bell = Bell::new();
        let stream = connect(service, &bell).await.map_err(OriginError::Unreachable)?;
        let look = stream.look();
        let mut builder = Builder::new();
        // Below 8 KiB hyper panics; and a head that is allowed must fit.
        let buffer = service.buffer_bytes.max(service.response_header_bytes).max(8 * 1024);
        builder.max_buf_size(buffer).max_header_size(service.response_header_bytes);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(OriginError::Broken)?;
        let alarm = Alarm::new(self.clock.clone());
        Ok(Box::new(Link { sender, connection, bell, alarm, look, done: false, slot }))
    }

    fn kept(&self, closely: bool) -> Option<Box<Link>> {
        loop {
            let (mut link, since) = self.idle.borrow_mut().pop()?;
            let rested = self.time.get().since(since);
            if rested < self.service.keepalive_idle && link.is_alive(closely) {
                return Some(link);
            }
        }
    }

    /// Waits until a connection comes free.
    async fn wait(&self, at_most: Duration) -> Result<(), OriginError> {
        let mut waiter = Waiter::queued(self)?;
        match tokio::time::timeout(at_most, &mut waiter.freed).await {
            Ok(_) => Ok(()),
            Err(_) => Err(OriginError::Busy),
        }
    }

    fn keep(&self, link: Box<Link>) {
        if self.retired.get() {
            return;
        }
        link.bell.rest();
        self.idle.borrow_mut().push((link, self.time.get()));
        self.wake_one();
    }

    fn wake_one(&self) {
        while let Some(waiter) = self.waiting.borrow_mut().pop_front() {
            if waiter.send(()).is_ok() {
                return;
            }
        }
    }

    /// Drops kept connections that are too old or that the origin closed. Called every second or so.
    pub(super) fn sweep(&self) {
        let now = self.clock.boot();
        self.time.set(now);
        let limit = self.service.keepalive_idle;
        let old = {
            let mut idle = self.idle.borrow_mut();
            let dead = |(link, since): &mut (Box<Link>, BootTime)| now.since(*since) >= limit || !link.is_alive(true);
            idle.extract_if(.., dead).collect::<Vec<_>>()
        };
        // Dropping frees slots, which may wake a waiter: not while `idle` is borrowed.
        drop(old);
    }
}

impl Link {
    /// Where the bell rang, a poll lets the connection finish its last exchange and notice a close that the runtime has seen;
    /// `closely`, also one that it has not.
    fn is_alive(&mut self, closely: bool) -> bool {
        if closely {
            self.look.ask();
        }
        if closely || self.bell.has_rung() || !self.sender.is_ready() {
            let nobody = Context::from_waker(Waker::noop());
            if self.bell.attend(&nobody, ROUNDS, |cx| Pin::new(&mut self.connection).poll(cx)).is_ready() {
                return false;
            }
        }
        self.sender.is_ready()
    }
}

/// An exchange rings once or twice in one poll; more would be hyper giving way to other tasks.
const ROUNDS: usize = 4;

/// A request that waits for a connection. Where its client leaves just as one came free, the next in line is told.
struct Waiter<'a> {
    pool: &'a Pool,
    freed: oneshot::Receiver<()>,
}

impl<'a> Waiter<'a> {
    fn queued(pool: &'a Pool) -> Result<Self, OriginError> {
        if pool.queued.get() >= pool.service.waiting {
            return Err(OriginError::QueueFull);
        }
        pool.queued.set(pool.queued.get() + 1);
        let (free, freed) = oneshot::channel();
        let mut waiting = pool.waiting.borrow_mut();
        // All wait equally long, so those who gave up stand in front. Where no connection comes free for hours, nobody
        // else would take them off.
        while waiting.front().is_some_and(oneshot::Sender::is_closed) {
            waiting.pop_front();
        }
        waiting.push_back(free);
        Ok(Self { pool, freed })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.pool.queued.set(self.pool.queued.get() - 1);
        if self.freed.try_recv().is_ok() {
            self.pool.wake_one();
        }
    }
}

/// One of the connections a service may have.
struct Slot {
    pool: Rc<Pool>,
    /// It was counted as opened.
    opened: Cell<bool>,
}

impl Slot {
    fn reserve(pool: &Rc<Pool>) -> Option<Self> {
        if pool.open.get() >= pool.service.connections {
            return None;
        }
        pool.open.set(pool.open.get() + 1);
        Some(Self { pool: Rc::clone(pool), opened: Cell::new(false) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.opened.get() {
            self.pool.count(OriginEvent::Closed);
        }
        self.pool.open.set(self.pool.open.get() - 1);
        self.pool.wake_one();
    }
}

#[cfg(test)]
mod tests;

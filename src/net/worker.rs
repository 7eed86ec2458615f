//! Workers: threads that each serve their own connections from accept to close.
//!
//! A worker shares with the others only counters, the number of open connections and the signal to end. One that ends
//! without being told to is fatal: its share of the connections would wait in a queue that nobody empties.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc as sync};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::Handler;
use super::config::Terms;
use super::conn::{CoarseTime, Conn, Phase};
use super::door::{Door, Entered, FromAddress};
use super::drain::{Drain, Stage};
use super::listen::{AcceptError, BACKLOG, Listener, Listeners, Protocol, back_off, kernel_stall};
use super::newest::{Follower, Newest};
use super::outbox;
use super::peer::Source;
use super::proxied::{self, Told};
use super::reaper::{self, Connections};
use super::serve::{Serving, Transport};
use super::tls::ServerTls;
use crate::clock::{BootTime, Clock};
use crate::telemetry::chain;
use crate::telemetry::label::{self, Closed};
use crate::telemetry::metrics::{Metrics, Shard};

/// What the workers of one face have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Names the threads: `{name}-0`, `{name}-1`.
    pub name: &'static str,
    /// How much of anything, and how long anything may take.
    pub terms: Newest<Terms>,
    /// For the listeners that speak TLS.
    pub tls: Option<ServerTls>,
    /// Where to count. A face whose connections are no clients' gets numbers of its own.
    pub metrics: Arc<Metrics>,
    /// Where time comes from.
    pub clock: Clock,
    /// When to end.
    pub drain: Drain,
}

/// The workers of one face, running.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    ended: mpsc::UnboundedReceiver<Ended>,
    drain: Drain,
}

/// A worker's number, and how many connections it cut or why it failed.
type Ended = (usize, Result<usize, WorkerError>);

/// Where a worker tells that it accepts, or why it never will.
type Ready = sync::Sender<Result<(), WorkerFailed>>;

impl Workers {
    /// Starts a worker for each set of sockets. Each makes its handler on its own thread, given its number; all accept
    /// when this returns.
    pub fn start<H, F>(setup: &Setup, listeners: Listeners, make: F) -> Result<Self, WorkerFailed>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Clone + 'static,
    {
        let (tell, ended) = mpsc::unbounded_channel();
        let (ready, started) = sync::channel();
        let door = Arc::new(Door::new(&setup.terms.get()));
        let mut workers = Self { threads: Vec::new(), ended, drain: setup.drain.clone() };
        for (number, listeners) in listeners.into_workers().into_iter().enumerate() {
            let name = format!("{}-{number}", setup.name);
            let (setup, make, door) = (setup.clone(), make.clone(), Arc::clone(&door));
            let (tell, mut ready) = (tell.clone(), Some(ready.clone()));
            let work = move || {
                let work = AssertUnwindSafe(|| run(&setup, listeners, &door, &mut ready, || make(number)));
                let ended = catch_unwind(work).unwrap_or_else(|panic| Err(WorkerError::Panicked(text_of(&*panic))));
                if let Err(error) = &ended {
                    tracing::error!(worker = number, error = %chain(error), "a worker ended; keyward cannot go on");
                }
                // Nobody listens any more where whoever started us gave up.
                match (ready, ended) {
                    (Some(ready), Err(source)) => drop(ready.send(Err(WorkerFailed { worker: number, source }))),
                    (_, ended) => drop(tell.send((number, ended))),
                }
            };
            match thread::Builder::new().name(name).spawn(work) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => return Err(WorkerFailed { worker: number, source: WorkerError::Start(error) }),
            }
        }
        drop(ready);
        for result in &started {
            if let Err(failed) = result {
                setup.drain.advance(Stage::Cut);
                return Err(failed);
            }
        }
        Ok(workers)
    }

    /// Waits until a worker ends without being told to. The process must then end too.
    pub async fn failed(&mut self) -> WorkerFailed {
        loop {
            match self.ended.recv().await {
                Some((worker, Err(source))) => return WorkerFailed { worker, source },
                Some((_, Ok(_))) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends the workers in order: goes on accepting for `min`, then finishes what is in flight for at most `max`. Where
    /// [`Stage::Cut`] comes from elsewhere, neither is waited for.
    pub async fn drain(mut self, min: Duration, max: Duration) -> Drained {
        self.drain.advance(Stage::Leaving);
        let drain = self.drain.clone();
        tokio::select! {
            () = tokio::time::sleep(min) => {}
            () = drain.reached(Stage::Cut) => {}
        }
        self.drain.advance(Stage::Closing);
        let mut drained = Drained::default();
        if tokio::time::timeout(max, self.collect(&mut drained)).await.is_err() {
            self.drain.advance(Stage::Cut);
            self.collect(&mut drained).await;
        }
        for thread in self.threads.drain(..) {
            // A panic was caught and told already; a thread that has told ends at once.
            let _ = thread.join();
        }
        drained
    }

    async fn collect(&mut self, drained: &mut Drained) {
        while drained.workers < self.threads.len() {
            let Some((_, ended)) = self.ended.recv().await else { return };
            drained.workers += 1;
            drained.cut += ended.unwrap_or(0);
        }
    }
}

/// How an orderly end went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when time was up.
    pub cut: usize,
    workers: usize,
}

/// A worker ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("worker {worker} ended")]
pub struct WorkerFailed {
    worker: usize,
    #[source]
    source: WorkerError,
}

/// Why a worker ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not start.
    #[error("it could not start")]
    Start(#[source] io::Error),
    /// A listener speaks TLS, and no certificate was given.
    #[error("it has no certificate for its TLS listener")]
    NoCertificate,
    /// A listening socket broke.
    #[error("it can no longer accept")]
    Accept(#[source] io::Error),
    /// A bug of ours.
    #[error("it panicked: {0}")]
    Panicked(String),
}

/// How many workers to start, where `asked` is the setting and 0 means one a core.
#[must_use]
pub fn count(asked: usize) -> usize {
    if asked > 0 { asked } else { thread::available_parallelism().map_or(1, usize::from) }
}

fn run<H: Handler>(
    setup: &Setup,
    listeners: Vec<Listener>,
    door: &Arc<Door>,
    ready: &mut Option<Ready>,
    make: impl FnOnce() -> H,
) -> Result<usize, WorkerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WorkerError::Start)?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let time = Rc::new(Cell::new(setup.clock.boot()));
        let metrics = setup.metrics.shard();
        let (terms, newer) = setup.terms.follow();
        let worker = Rc::new(Worker {
            serving: Serving::new(make(), terms.limits.clone(), Rc::clone(&metrics)),
            connections: Rc::new(Connections::default()),
            door: Arc::clone(door),
            clock: setup.clock.clone(),
            time: Rc::clone(&time),
            metrics: Rc::clone(&metrics),
            warned: Cell::new(None),
        });
        tokio::task::spawn_local(outbox::run());
        let (mut accepting, mut sockets) = (JoinSet::new(), Vec::new());
        for Listener { socket, protocol, proxied } in listeners {
            let transport = match (protocol, &setup.tls) {
                (Protocol::Http1, _) => Transport::Http1,
                (Protocol::Http2, _) => Transport::Http2,
                (Protocol::Tls, Some(tls)) => Transport::Tls(tls.clone()),
                (Protocol::Tls, None) => return Err(WorkerError::NoCertificate),
            };
            let socket = Rc::new(TcpListener::from_std(socket).map_err(WorkerError::Start)?);
            sockets.push(Rc::downgrade(&socket));
            let spoken = Spoken { transport, proxied };
            accepting.spawn_local(Rc::clone(&worker).accept(socket, spoken, setup.drain.clone()));
        }
        let limits = Rc::new(RefCell::new(reaper::Limits::new(&terms.timeouts)));
        let (connections, clock) = (Rc::clone(&worker.connections), setup.clock.clone());
        tokio::task::spawn_local(reaper::sweep(connections, Rc::clone(&limits), clock, time, metrics));
        tokio::task::spawn_local(Rc::clone(&worker).follow(newer, limits, sockets));
        if let Some(ready) = ready.take() {
            // Whoever started us may have given up.
            let _ = ready.send(Ok(()));
        }
        worker.until_drained(accepting, &setup.drain).await
    })
}

/// What is spoken on an address, and whether a PROXY header comes before it.
#[derive(Clone)]
struct Spoken {
    transport: Transport,
    proxied: bool,
}

struct Worker<H> {
    serving: Rc<Serving<H>>,
    connections: Rc<Connections>,
    /// What all workers together may have.
    door: Arc<Door>,
    clock: Clock,
    time: CoarseTime,
    metrics: Rc<Shard>,
    /// When the log was last told of a client that wants too much.
    warned: Cell<Option<BootTime>>,
}

impl<H: Handler> Worker<H> {
    async fn until_drained(&self, mut accepting: JoinSet<io::Result<()>>, drain: &Drain) -> Result<usize, WorkerError> {
        let closing = async {
            drain.reached(Stage::Leaving).await;
            // Whoever comes from now on comes from a balancer that has not noticed yet. Sent away after an answer it would be
            // back, with a connection for each request.
            self.connections.each(Conn::part);
            drain.reached(Stage::Closing).await;
        };
        tokio::select! {
            () = closing => {}
            Some(ended) = accepting.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(WorkerError::Accept(error)),
                Err(error) => return Err(WorkerError::Panicked(error.to_string())),
            },
        }
        self.connections.depart();
        let finished = async {
            while accepting.join_next().await.is_some() {}
            self.connections.empty().await;
        };
        tokio::select! {
            () = finished => return Ok(0),
            () = self.hurry() => {}
            () = drain.reached(Stage::Cut) => {}
        }
        accepting.shutdown().await;
        let mut cut = 0;
        self.connections.each(|conn| {
            cut += usize::from(!conn.loses_nothing());
            conn.cut(Closed::Drained);
        });
        self.connections.empty().await;
        Ok(cut)
    }

    /// Serves under each newer terms: what is open is held to its times from the next sweep on, who comes to all of them.
    async fn follow(
        self: Rc<Self>,
        mut newer: Follower<Terms>,
        swept: Rc<RefCell<reaper::Limits>>,
        sockets: Vec<Weak<TcpListener>>,
    ) {
        loop {
            newer
                .next(|terms| {
                    self.serving.renew(terms.limits.clone());
                    swept.replace(reaper::Limits::new(&terms.timeouts));
                    for socket in sockets.iter().filter_map(Weak::upgrade) {
                        // As when it was bound; a socket that closes meanwhile needs it no more.
                        let stall = terms.timeouts.write_stall.0;
                        let _ = SockRef::from(&*socket).set_tcp_user_timeout(Some(kernel_stall(stall)));
                    }
                    for fewer in self.door.renew(&terms) {
                        tokio::task::spawn_local(fewer.reached());
                    }
                })
                .await;
        }
    }

    /// Ends what has been at rest for [`PATIENCE`], again and again.
    async fn hurry(&self) {
        loop {
            tokio::time::sleep(PATIENCE / 5).await;
            self.time.set(self.clock.boot());
            self.connections.each(|conn| conn.hurry(PATIENCE));
        }
    }

    /// Accepts until the socket breaks, or until it is to close: then all who wait in its queue are let in, and nobody else.
    /// At a limit one connection is held back and no other accepted, until there is room; at that of its address it is closed.
    async fn accept(self: Rc<Self>, socket: Rc<TcpListener>, spoken: Spoken, drain: Drain) -> io::Result<()> {
        let mut closing = pin!(drain.reached(Stage::Closing));
        let mut closes = false;
        // Those who come while it is emptied cannot keep it open.
        let mut last = BACKLOG;
        loop {
            let accepted = if closes {
                let waits = if last > 0 { queued(&socket).transpose() } else { None };
                let Some(queued) = waits else { return Ok(()) };
                last -= 1;
                queued
            } else {
                tokio::select! {
                    accepted = socket.accept() => accepted,
                    () = &mut closing => {
                        closes = true;
                        continue;
                    }
                }
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Fatal => return Err(error),
                    AcceptError::AtOnce => continue,
                    AcceptError::BackOff => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(back_off()).await;
                        continue;
                    }
                },
            };
            self.time.set(self.clock.boot());
            let from = if spoken.proxied { self.proxy(address.ip()) } else { self.address(address.ip()) };
            let Some(from) = from else { continue };
            let connection = self.room(self.door.connections(), label::Door::Connections).await;
            let handshake = match &spoken.transport {
                Transport::Tls(_) => self.room(self.door.handshakes(), label::Door::Handshakes).await,
                Transport::Http1 | Transport::Http2 => None,
            };
            let (worker, spoken) = (Rc::clone(&self), spoken.clone());
            tokio::task::spawn_local(async move {
                let mut entered = Entered { address: from, _connection: connection };
                let conn = Conn::new(Rc::clone(&worker.time));
                let _listed = worker.connections.add(&conn);
                let mut count = Count::open(&worker.metrics);
                let mut source = Source { address, may_tell: true };
                if spoken.proxied {
                    let told = Box::pin(worker.told(&stream, &conn, handshake.is_some(), &mut source)).await;
                    match told {
                        Ok(from) => entered.address = from,
                        Err(why) => {
                            count.why = conn.finished(Err(why));
                            return;
                        }
                    }
                }
                count.why = worker.serving.connection(stream, source, &conn, &spoken.transport, handshake).await;
                if count.why == Closed::Flood && worker.may_warn() {
                    let client = source.address.ip();
                    tracing::warn!(%client, "an HTTP/2 client overdid resets or frames that ask nothing");
                }
            });
        }
    }

    /// A place among the connections of this address, where there is one.
    fn address(&self, address: IpAddr) -> Option<FromAddress> {
        let from = self.door.address(address);
        if from.is_none() {
            self.metrics.limited(label::Door::PerAddress);
            if self.may_warn() {
                tracing::warn!(client = %address, "an address has all the connections it may have; more are closed");
            }
        }
        from
    }

    /// Lets in whoever may send a PROXY header. Its own address is nobody's client, and is not counted.
    fn proxy(&self, address: IpAddr) -> Option<FromAddress> {
        if self.door.is_proxy(address) {
            return Some(FromAddress::default());
        }
        Count::open(&self.metrics).why = Closed::Untrusted;
        if self.may_warn() {
            tracing::warn!(peer = %address, "no trusted proxy, at an address for the PROXY protocol; it is closed");
        }
        None
    }

    /// Has the PROXY header tell who the `source` is, and gives its place among the connections of that address. A header that
    /// does not come must not keep others' handshakes waiting, where this connection has a place among those.
    async fn told(
        &self,
        stream: &TcpStream,
        conn: &Conn,
        shakes_hands: bool,
        source: &mut Source,
    ) -> Result<FromAddress, Closed> {
        conn.await_client(shakes_hands);
        let told = proxied::header(stream, conn, &self.metrics).await?;
        conn.await_client(false);
        conn.enter(Phase::Handshake);
        match told {
            Told::Client(client) => {
                source.address = client;
                self.address(client.ip()).ok_or(Closed::PerAddress)
            }
            Told::Nobody => {
                source.may_tell = false;
                Ok(FromAddress::default())
            }
        }
    }

    /// A place under this limit; where there is none it is counted, and waited for. Handshakes whose clients are silent
    /// make way, so that those keep nobody out.
    async fn room(&self, places: &Arc<Semaphore>, limit: label::Door) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Some(place);
        }
        self.metrics.limited(limit);
        let mut place = pin!(Arc::clone(places).acquire_owned());
        loop {
            self.time.set(self.clock.boot());
            if limit == label::Door::Handshakes {
                self.connections.end_silent_handshake();
            }
            tokio::select! {
                // Never closed; if it were, there would be no limit.
                place = &mut place => break place.ok(),
                () = tokio::time::sleep(MAKES_WAY_EVERY) => {}
            }
        }
    }

    /// Whether the log was not told of a client for a while. Nobody should be able to fill it by knocking.
    fn may_warn(&self) -> bool {
        let now = self.time.get();
        let may = self.warned.get().is_none_or(|last| now.since(last) >= WARNS_EVERY);
        if may {
            self.warned.set(Some(now));
        }
        may
    }
}

/// While a handshake has to wait for its place, a silent one is looked for so often.
const MAKES_WAY_EVERY: Duration = Duration::from_millis(100);

const WARNS_EVERY: Duration = Duration::from_secs(60);

/// Who waits in the socket's queue. The runtime learns only between tasks that somebody came; this looks.
fn queued(socket: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let (stream, address) = match SockRef::from(socket).accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        accepted => accepted?,
    };
    stream.set_nonblocking(true)?;
    let address = address.as_socket().ok_or_else(|| io::Error::other("a client without an address"))?;
    Ok(Some((TcpStream::from_std(stream.into())?, address)))
}

/// How long a connection that is to end may be at rest: a request that was sent before its client could know is here by
/// then.
const PATIENCE: Duration = Duration::from_millis(500);

/// Counts a connection's end, also where its task panics.
struct Count<'a> {
    metrics: &'a Shard,
    why: Closed,
}

impl<'a> Count<'a> {
    fn open(metrics: &'a Shard) -> Self {
        metrics.client_opened();
        Self { metrics, why: Closed::Broken }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.metrics.client_closed(self.why);
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

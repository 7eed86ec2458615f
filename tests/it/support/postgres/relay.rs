//! A wire between a client and a server of 127.0.0.1 that a test can hold, lose and cut, one direction at a time.
//!
//! ```text
//!          up: hold, lose, delay
//! client ------------------------> server
//!        <------------------------
//!          down: hold, lose, delay
//! ```
//!
//! TCP knows no hole, so a connection that has lost bytes is reset once its direction passes again; one that was only
//! held goes on as if nothing had been. Neither side can tell the two apart while they last.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// The relay, at work on a thread of its own; its connections are reset with it.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends the thread when it is dropped.
    _ended: oneshot::Sender<()>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// They arrive.
    Pass,
    /// They are kept, and arrive once others pass again.
    Hold,
    /// They are lost.
    Lose,
}

/// What becomes of bytes of one direction, and when.
#[derive(Clone, Copy, Debug)]
struct Way {
    traffic: Traffic,
    delay: Duration,
}

struct Shared {
    server: Mutex<SocketAddr>,
    ways: [watch::Sender<Way>; 2],
    cuts: watch::Sender<usize>,
    refusing: watch::Sender<bool>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Relay {
    /// A wire to this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let way = || watch::Sender::new(Way { traffic: Traffic::Pass, delay: Duration::ZERO });
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            ways: [way(), way()],
            cuts: watch::Sender::new(0),
            refusing: watch::Sender::new(false),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let (address, ours) = (listener.local_addr().unwrap(), Arc::clone(&shared));
        let (ended, end) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(TcpListener::from_std(listener).unwrap(), &ours) => {}
                    _ = end => {}
                }
            });
        });
        Self { address, shared, _ended: ended }
    }

    /// Where clients connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections lead that come from now on.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = server;
    }

    /// What becomes of a direction's bytes from now on.
    pub(crate) fn set(&self, direction: Direction, traffic: Traffic) {
        self.shared.ways[direction as usize].send_modify(|way| way.traffic = traffic);
    }

    /// How long bytes of a direction are under way, from now on.
    pub(crate) fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.ways[direction as usize].send_modify(|way| way.delay = delay);
    }

    /// Resets every connection there is, on both sides.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Whether connections that come from now on are reset at once.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.refusing.send_replace(refusing);
    }

    /// Connections that have come so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections there are.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        if *shared.refusing.borrow() {
            reset_on_close(&client);
            continue;
        }
        shared.open.fetch_add(1, Ordering::SeqCst);
        // Seen from here, so that no cut after this comes too early.
        let (shared, cuts) = (Arc::clone(shared), shared.cuts.subscribe());
        tokio::spawn(async move {
            carry(client, &shared, cuts).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Carries one connection until both directions have ended, or it is reset.
async fn carry(mut client: TcpStream, shared: &Shared, mut cuts: watch::Receiver<usize>) {
    let address = *shared.server.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(address).await else { return reset_on_close(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let [up, down] = &shared.ways;
    let whole = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            ended = async {
                tokio::try_join!(
                    pump(from_client, to_server, up.subscribe()),
                    pump(from_server, to_client, down.subscribe()),
                )
            } => ended.is_ok(),
            _ = cuts.changed() => false,
        }
    };
    if !whole {
        reset_on_close(&client);
        reset_on_close(&server);
    }
}

/// What was read, and when it arrives; nothing is the end.
type Parcel = (Instant, Vec<u8>);

async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: watch::Receiver<Way>) -> io::Result<()> {
    let (sender, parcels) = mpsc::unbounded_channel();
    let read = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            let arrival = now() + way.borrow().delay;
            if sender.send((arrival, bytes[..count].to_vec())).is_err() || count == 0 {
                return Ok(());
            }
        }
    };
    tokio::try_join!(read, deliver(&mut to, parcels, way.clone())).map(drop)
}

async fn deliver(
    to: &mut WriteHalf<'_>,
    mut parcels: mpsc::UnboundedReceiver<Parcel>,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut has_hole = false;
    loop {
        let parcel = tokio::select! {
            parcel = parcels.recv() => parcel,
            () = passes_again(&mut way, has_hole) => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        // Whoever reads has sent an end before it ends.
        let Some((arrival, bytes)) = parcel else { return Ok(()) };
        sleep_until(arrival).await;
        let traffic = way.wait_for(|way| way.traffic != Traffic::Hold).await.map_or(Traffic::Lose, |way| way.traffic);
        match traffic {
            Traffic::Lose => has_hole = true,
            _ if has_hole => return Err(io::ErrorKind::ConnectionReset.into()),
            _ if bytes.is_empty() => return to.shutdown().await,
            _ => to.write_all(&bytes).await?,
        }
    }
}

/// Waits until a direction with a hole passes again; for ever where there is none.
async fn passes_again(way: &mut watch::Receiver<Way>, has_hole: bool) {
    if !has_hole || way.wait_for(|way| way.traffic == Traffic::Pass).await.is_err() {
        pending().await
    }
}

/// Has this connection end by a reset instead of an orderly end.
fn reset_on_close(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[allow(clippy::disallowed_methods, reason = "a wire's delay is real time")]
fn now() -> Instant {
    Instant::now()
}

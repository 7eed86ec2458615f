//! Listening sockets: one a worker for each address, all on one port.
//!
//! Everything is bound before a worker starts. Sockets that share a port (SO_REUSEPORT) would also share it, silently,
//! with another keyward of the same user, so each address is first tried without; a port that is taken stays an error.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Socket, TcpKeepalive, Type};

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where; port 0 is any free one.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether a PROXY header comes before that.
    pub proxied: bool,
    /// The setting that says so, such as `server.listen.0`.
    pub setting: String,
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Where, with the port it got.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether a PROXY header comes before that.
    pub proxied: bool,
}

/// What is spoken on an address. Nothing is sniffed: a sniff has no time-out, and a protocol nobody expects is a way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in clear text.
    Http1,
    /// HTTP/2 in clear text, by prior knowledge (RFC 9113 3.3).
    Http2,
    /// TLS, in which ALPN chooses between the two.
    Tls,
}

impl Protocol {
    /// The scheme of URLs that are served in it.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http1 | Self::Http2 => "http",
            Self::Tls => "https",
        }
    }
}

/// All listening sockets of one face.
#[derive(Debug)]
pub struct Listeners {
    workers: Vec<Vec<Listener>>,
    bound: Vec<Bound>,
}

/// One worker's socket on one address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) protocol: Protocol,
    pub(super) proxied: bool,
}

impl Listeners {
    /// Binds every address for `workers` workers. `write_stall` is how long a client may take no byte; the kernel gives
    /// up on it at twice that.
    pub fn bind(wanted: &[Wanted], workers: usize, write_stall: Duration) -> Result<Self, ListenError> {
        let mut all = Self { workers: (0..workers).map(|_| Vec::new()).collect(), bound: Vec::new() };
        for wanted in wanted {
            let (protocol, proxied) = (wanted.protocol, wanted.proxied);
            let failed = |source| ListenError { setting: wanted.setting.clone(), address: wanted.address, source };
            let sockets = share(wanted.address, workers, write_stall).map_err(failed)?;
            let Some(first) = sockets.first() else { continue };
            all.bound.push(Bound { address: first.local_addr().map_err(failed)?, protocol, proxied });
            for (worker, socket) in all.workers.iter_mut().zip(sockets) {
                worker.push(Listener { socket, protocol, proxied });
            }
        }
        Ok(all)
    }

    /// What is listened on, in the order it was wanted.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Each worker's sockets.
    pub(super) fn into_workers(self) -> Vec<Vec<Listener>> {
        self.workers
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}")]
pub struct ListenError {
    /// The setting that wants it.
    pub setting: String,
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

fn share(mut address: SocketAddr, workers: usize, write_stall: Duration) -> io::Result<Vec<TcpListener>> {
    // Port 0 cannot be taken; the kernel gives one that nobody has.
    if address.port() != 0 {
        let alone = socket(address)?;
        alone.bind(&address.into())?;
        drop(alone);
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        // An accepted socket inherits these from the one that listens (Linux), which saves four calls a connection.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY))?;
        socket.set_tcp_user_timeout(Some(kernel_stall(write_stall)))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// When the kernel gives up on a client that takes no byte. The reaper is to be first.
pub(super) fn kernel_stall(write_stall: Duration) -> Duration {
    write_stall.saturating_mul(2)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart need not wait for the last connections of the run before.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// What to do about a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The socket is no longer one; a worker that cannot accept must not seem alive.
    Fatal,
    /// That one connection had failed already (accept(2)); the next may be fine.
    AtOnce,
    /// Most likely out of descriptors or memory: wait for some to be freed.
    BackOff,
}

impl AcceptError {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::BADF | Errno::NOTSOCK | Errno::INVAL | Errno::FAULT) => Self::Fatal,
            Some(
                Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::PERM
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP,
            ) => Self::AtOnce,
            _ => Self::BackOff,
        }
    }
}

/// How long to wait before accepting again: 5 to 100 ms, at random, so that the workers do not all come back at once.
pub(super) fn back_off() -> Duration {
    Duration::from_millis(5 + u64::from(getrandom::u32().unwrap_or_default() % 96))
}

/// As many may wait in a socket's queue.
pub(super) const BACKLOG: i32 = 4096;

/// A silent peer is probed after so long, and so often.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use socket2::SockRef;

    use super::*;

    fn wanted(port: u16) -> Wanted {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Wanted { address, protocol: Protocol::Http1, proxied: false, setting: "server.listen.0".to_owned() }
    }

    const STALL: Duration = Duration::from_secs(30);

    #[test]
    fn workers_share_the_port_that_the_first_got() {
        let listeners = Listeners::bind(&[wanted(0), wanted(0)], 2, STALL).unwrap();
        let &[one, two] = listeners.bound() else { panic!("two addresses") };
        assert_ne!(one.address, two.address);
        for worker in listeners.into_workers() {
            assert_eq!(worker[0].socket.local_addr().unwrap(), one.address);
            assert_eq!(worker[1].socket.local_addr().unwrap(), two.address);
        }
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_the_setting() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let error = Listeners::bind(&[wanted(port)], 2, STALL).unwrap_err();
        assert_eq!(error.to_string(), format!("server.listen.0: cannot listen on 127.0.0.1:{port}"));
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_shared_by_another_keyward_is_taken_too() {
        let first = Listeners::bind(&[wanted(0)], 2, STALL).unwrap();
        let port = first.bound()[0].address.port();
        assert!(Listeners::bind(&[wanted(port)], 2, STALL).is_err());
        drop(first);
        Listeners::bind(&[wanted(port)], 2, STALL).unwrap();
    }

    #[test]
    fn an_accepted_socket_has_the_options_of_its_listener() {
        let listeners = Listeners::bind(&[wanted(0)], 1, STALL).unwrap();
        let _client = TcpStream::connect(listeners.bound()[0].address).unwrap();
        let listener = &listeners.into_workers()[0][0].socket;
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(STALL * 2));
    }

    #[test]
    fn accept_errors_have_three_classes() {
        for (errno, class) in [
            (Errno::BADF, AcceptError::Fatal),
            (Errno::CONNABORTED, AcceptError::AtOnce),
            (Errno::MFILE, AcceptError::BackOff),
            (Errno::NOMEM, AcceptError::BackOff),
        ] {
            assert_eq!(AcceptError::of(&errno.into()), class);
        }
        assert!((5..=100).contains(&back_off().as_millis()));
    }
}

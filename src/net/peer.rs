//! Who is at the other end of a connection, as far as the transport tells.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::HeaderValue;

use super::conn::{Conn, Stream};
use super::tls::ServerTls;
use super::tunnel::Tunnel;
use crate::telemetry::label::Closed;

/// One connection, as its requests see it.
#[derive(Debug)]
pub struct Peer {
    /// Where it comes from. Behind a balancer this is the balancer, or whom its PROXY header told of.
    pub address: SocketAddr,
    /// Whether its requests may tell of a client before it, where it is a trusted proxy. Not where its PROXY header told of
    /// nobody: who writes those hands on what its client wrote.
    pub may_tell: bool,
    /// Which of our addresses it came to.
    pub local: SocketAddr,
    /// What TLS tells, where there is TLS.
    pub tls: Option<TlsPeer>,
    conn: Option<Rc<Conn>>,
    ip_line: OnceCell<HeaderValue>,
}

impl Peer {
    pub(super) fn new(source: Source, local: SocketAddr, tls: Option<TlsPeer>, conn: Rc<Conn>) -> Self {
        let Source { address, may_tell } = source;
        Self { address, may_tell, local, tls, conn: Some(conn), ip_line: OnceCell::new() }
    }

    /// A peer without a connection, for tests of what handles its requests.
    #[must_use]
    pub fn detached(address: SocketAddr, local: SocketAddr) -> Self {
        Self { address, may_tell: true, local, tls: None, conn: None, ip_line: OnceCell::new() }
    }

    /// Its IP address; an IPv4 one also where it came over an IPv6 socket.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// [`Peer::ip`] as a header says it: written once a connection, for all its requests.
    #[must_use]
    pub fn ip_line(&self) -> &HeaderValue {
        let written = || HeaderValue::try_from(self.ip().to_string());
        // Digits, dots and colons: always a value.
        self.ip_line.get_or_init(|| written().unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }

    /// Whether nobody between us could read along.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Ends the connection once its answers are given: HTTP/2 by GOAWAY. An HTTP/1.1 answer should also say
    /// `Connection: close`, since its head may be on its way already.
    pub fn close_soon(&self) {
        if let Some(conn) = &self.conn {
            conn.leave();
        }
    }

    /// The request that began last. Only before its handler's future is first polled.
    #[must_use]
    pub fn exchange(self: Rc<Self>) -> Exchange {
        let stream = self.conn.as_ref().and_then(|conn| conn.newest());
        Exchange { peer: self, stream }
    }

    /// Has the connection go on as `tunnel` once the answer to the request in hand, which has to be 101, is given.
    pub fn tunnel(&self, tunnel: Box<dyn Tunnel>) {
        if let Some(conn) = &self.conn {
            conn.next().set(tunnel);
        }
    }

    /// The client may have sent bytes behind its request that are no request. The answer closes the connection; they are
    /// thrown away before that, or closing would take the answer along (RFC 9112, 9.6).
    pub fn expect_more(&self) {
        if let Some(conn) = &self.conn {
            conn.expect_more();
        }
    }
}

/// One request and its answer, which may be cut off from outside; clones are of the same.
#[derive(Clone, Debug)]
pub struct Exchange {
    peer: Rc<Peer>,
    stream: Option<Rc<Stream>>,
}

impl Exchange {
    /// Whose it is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Cuts it off, so that its client can tell: over HTTP/2 the stream is reset and the others go on; over HTTP/1.1 the connection
    /// closes within the answer. Whether it was a stream.
    pub fn cut(&self) -> bool {
        match (&self.stream, &self.peer.conn) {
            (Some(stream), _) => {
                stream.cut();
                true
            }
            (None, Some(conn)) => {
                conn.cut(Closed::KeyEnded);
                false
            }
            (None, None) => false,
        }
    }

    /// Whether it was.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        let verdict = || self.peer.conn.as_ref().and_then(|conn| conn.verdict());
        self.stream.as_ref().map_or_else(|| verdict() == Some(Closed::KeyEnded), |stream| stream.is_cut())
    }
}

/// Where a connection comes from: [`Peer::address`] and [`Peer::may_tell`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) address: SocketAddr,
    pub(super) may_tell: bool,
}

/// What TLS tells about a connection.
#[derive(Debug)]
pub struct TlsPeer {
    /// The name the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    pub(super) server: ServerTls,
}

impl TlsPeer {
    /// Whether `host` would have been shown the same certificate as this client was. Where not, a request for it on this
    /// connection is misdirected (421, RFC 9110 15.5.20).
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.server.same_certificate(self.server_name.as_deref().unwrap_or_default(), host)
    }
}

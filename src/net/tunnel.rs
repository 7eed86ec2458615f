//! A client's HTTP/1.1 connection that goes on as another protocol (RFC 9110, 7.8). What moves through it is the handler's
//! business; the connection is ended from here all the same.
//!
//! ```text
//!  Handler answers 101, with Peer::tunnel --> hyper writes the head and is done --> Tunnel::poll, until it is done or cut
//! ```

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn::Conn;
use crate::telemetry::label::Closed;

/// What a connection goes on as.
pub trait Tunnel {
    /// Moves what there is to move; ready when nothing is left to do. The connection closes then.
    fn poll(&mut self, client: &mut Client<'_>, cx: &mut Context<'_>) -> Poll<()>;

    /// The connection was ended under it. It is not polled again.
    fn cut(&mut self, why: Closed);
}

/// The client's end of a tunnel.
pub struct Client<'a> {
    io: &'a mut dyn Io,
    conn: &'a Conn,
}

impl<'a> Client<'a> {
    pub(super) fn new(io: &'a mut dyn Io, conn: &'a Conn) -> Self {
        Self { io, conn }
    }

    /// Whether keyward stops, and a tunnel should come to its end.
    #[must_use]
    pub fn is_departing(&self) -> bool {
        self.conn.is_departing()
    }
}

/// Both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}

/// What a connection is to go on as once hyper is done with it.
#[derive(Default)]
pub(super) struct Next(RefCell<Option<Box<dyn Tunnel>>>);

impl Next {
    pub(super) fn set(&self, tunnel: Box<dyn Tunnel>) {
        self.0.replace(Some(tunnel));
    }

    pub(super) fn take(&self) -> Option<Box<dyn Tunnel>> {
        self.0.take()
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Next").field(&self.0.borrow().is_some()).finish()
    }
}

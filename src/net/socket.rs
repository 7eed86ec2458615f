//! A connected socket as a connection has it: it is asked for more only once its bell rang, and what is small leaves it
//! at the end of the worker's turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::bell::{Bell, Silence};
use super::outbox::Line;

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    line: Rc<Line>,
    silence: Silence,
}

impl Socket {
    /// The socket of a connection that is polled where `bell` is attended.
    #[must_use]
    pub fn new(stream: TcpStream, bell: Bell) -> Self {
        Self { line: Line::new(stream, bell.clone()), silence: Silence::under(bell) }
    }

    /// Ready once there may be something to read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.line.stream().borrow().poll_read_ready(cx).map(drop)
    }

    /// Whether the kernel did not take all that was written. Its bell rings where that comes to be.
    pub(super) fn is_behind(&self) -> bool {
        self.line.is_behind()
    }

    /// Whether the kernel took some of what was left since this was asked last.
    pub(super) fn has_moved(&self) -> bool {
        self.line.has_moved()
    }

    /// Does something to the socket itself.
    pub fn with<T>(&self, act: impl FnOnce(SockRef<'_>) -> T) -> T {
        act(SockRef::from(&*self.line.stream().borrow()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { line, silence } = &mut *self;
        silence.or_ask(cx, |cx| Pin::new(&mut *line.stream().borrow_mut()).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.line.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.poll_shutdown(cx)
    }
}

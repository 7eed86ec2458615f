//! A client's socket under watch: each read and write leaves its mark in the connection's [`Conn`].
//!
//! It lies below TLS, so it sees what really moves: a client that takes no byte is noticed whatever waits above.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::bell::Silence;
use super::conn::Conn;
use super::gather;

/// The socket and its connection.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    conn: Rc<Conn>,
    silence: Silence,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, conn: Rc<Conn>) -> Self {
        let silence = Silence::under(conn.bell().clone());
        Self { stream, conn, silence }
    }

    /// Ready once the socket may have something to read.
    pub(super) fn poll_socket(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_read_ready(cx).map(drop)
    }

    fn mark<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.conn.on_write(written.is_ready());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Self { stream, silence, .. } = &mut *self;
        let read = silence.or_ask(cx, |cx| Pin::new(stream).poll_read(cx, buf));
        if let Poll::Ready(Ok(())) = read {
            self.conn.on_read(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.mark(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = gather::poll_write(&mut self.stream, cx, slices);
        self.mark(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

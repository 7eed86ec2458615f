//! Opening a connection to an origin: name look-up, TCP, TLS.

use std::cell::Cell;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::service::{Service, Target};
use crate::net::bell::Bell;
use crate::net::socket;

/// Connects to `service`; the caller bounds the time. The connection is polled where `bell` is attended.
pub(super) async fn connect(service: &Service, bell: &Bell) -> io::Result<Stream> {
    let tcp = match &service.target {
        Target::At(address) => TcpStream::connect(*address).await?,
        // Each address the name has, in the resolver's order.
        Target::Named(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
        Target::Echo => return Err(io::Error::other("the built-in origin was not started")),
    };
    tcp.set_nodelay(true)?;
    let look = Look::default();
    let tcp = Tcp { socket: socket::Socket::new(tcp, bell.clone()), look: look.clone() };
    match &service.tls {
        None => Ok(Stream::new(Socket::Plain(tcp), look)),
        Some(tls) => {
            let connector = TlsConnector::from(tls.config.clone());
            Ok(Stream::new(Socket::Tls(Box::new(connector.connect(tls.name.clone(), tcp).await?)), look))
        }
    }
}

/// A connection to an origin.
///
/// An origin may answer and close before it has read the whole request. hyper gives up on a connection it cannot write
/// to, and with it on the answer that lies there to be read. So what can no longer be written is thrown away, and
/// how the exchange ends is left to what is read: the answer, or the end.
pub(super) struct Stream {
    socket: Socket,
    deaf: bool,
    look: Look,
}

enum Socket {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// Asks a connection's next read to look at the socket itself. The runtime learns only between tasks that something came;
/// what has come by now tells a kept connection that the origin closed, or that holds an answer nobody asked for.
#[derive(Clone, Default)]
pub(super) struct Look(Rc<Cell<bool>>);

impl Look {
    pub(super) fn ask(&self) {
        self.0.set(true);
    }
}

struct Tcp {
    socket: socket::Socket,
    look: Look,
}

impl Tcp {
    /// Reads what is there, if anything is.
    fn read_now(&self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        self.socket.with(|socket| {
            if socket.peek(&mut [MaybeUninit::uninit()]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return None;
            }
            let read = (&*socket).read(buf.initialize_unfilled());
            Some(read.map(|count| buf.advance(count)))
        })
    }
}

impl Stream {
    const fn new(socket: Socket, look: Look) -> Self {
        Self { socket, deaf: false, look }
    }

    /// What to ask before a kept connection is used again.
    pub(super) fn look(&self) -> Look {
        self.look.clone()
    }

    /// Takes a write for done where the other side takes no more; `all` is how much it was.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, all: T) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(all))
            }
            written => written,
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.look.0.take()
            && let Some(read) = self.read_now(buf)
        {
            return Poll::Ready(read);
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.written(written, buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if this.deaf {
            return Poll::Ready(Ok(all));
        }
        let written = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.written(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.written(flushed, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

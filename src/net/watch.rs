//! A client's socket under watch: each read and write leaves its mark in the connection's [`Conn`].
//!
//! It lies below TLS, so it sees what really moves: a client that takes no byte is noticed whatever waits above.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::conn::Conn;
use super::socket::Socket;

/// The socket and its connection.
#[derive(Debug)]
pub(super) struct Watched {
    socket: Socket,
    conn: Rc<Conn>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, conn: Rc<Conn>) -> Self {
        Self { socket: Socket::new(stream, conn.bell().clone()), conn }
    }

    /// Ready once the socket may have something to read, or while something that was written is left.
    pub(super) fn poll_socket(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.socket.is_behind() { Poll::Ready(()) } else { self.socket.poll_readable(cx) }
    }

    fn mark<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        // Also where it did not take all that was left.
        if self.socket.has_moved() {
            self.conn.on_write(true);
        }
        self.conn.on_write(written.is_ready());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            self.conn.on_read(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.mark(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.mark(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.mark(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.mark(shut)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::Read;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::clock::BootTime;
    use crate::measure::Span;
    use crate::net::config::Timeouts;
    use crate::net::outbox::{self, tests::Ends};
    use crate::net::reaper::Limits;
    use crate::telemetry::label::Closed;

    const STALL: Duration = Duration::from_secs(2);

    fn limits() -> Limits {
        let (long, stall) = (Span(Duration::from_secs(600)), Span(STALL));
        Limits::new(&Timeouts {
            tls_handshake: long,
            first_byte: long,
            header: long,
            idle: long,
            body_idle: long,
            write_stall: stall,
            connection_age: Span(Duration::ZERO),
            drain_min: long,
            drain_max: long,
        })
    }

    /// A client to whom many small answers are written at once, of which the kernel takes no more than it has room for.
    async fn behind(time: &Rc<Cell<BootTime>>) -> (Watched, Rc<Conn>, std::net::TcpStream) {
        let (Ends { near, far }, conn) = (Ends::new().await, Conn::new(Rc::clone(time)));
        conn.speak(false);
        let mut stream = Watched::new(near, Rc::clone(&conn));
        while !stream.socket.is_behind() {
            for _ in 0..50 {
                conn.run(pin!(stream.write_all(&[b'.'; 2000])), |_| {}).await.unwrap().unwrap();
            }
            yield_now().await;
        }
        (stream, conn, far)
    }

    async fn as_worker(work: impl Future<Output = ()>) {
        let local = LocalSet::new();
        local.spawn_local(outbox::run());
        local
            .run_until(async {
                yield_now().await;
                work.await;
            })
            .await;
    }

    #[tokio::test]
    async fn a_client_that_takes_its_answers_bit_by_bit_stalls_nothing() {
        // More than the kernel has room for, so that some of it was written only now.
        const STEP: usize = 32 * 1024;
        let time = Rc::new(Cell::new(BootTime::from_nanos(0)));
        as_worker(async {
            let (mut stream, conn, mut far) = behind(&time).await;
            far.set_nonblocking(true).unwrap();
            for step in 0..2 {
                let mut taken = 0;
                while taken < STEP {
                    taken += far.read(&mut [0; 1024]).unwrap_or(0);
                    let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_flush(cx))).await;
                    assert!(flushed.is_pending());
                    yield_now().await;
                }
                assert_eq!(conn.overdue(&limits()), None, "step {step}");
                time.set(time.get().plus(STALL * 2));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_stalls_a_flush_and_the_end_as_well() {
        let time = Rc::new(Cell::new(BootTime::from_nanos(0)));
        as_worker(async {
            for shuts in [false, true] {
                let (mut stream, conn, _far) = behind(&time).await;
                for due in [None, Some(Closed::WriteStall)] {
                    let polled = poll_fn(|cx| {
                        let stream = Pin::new(&mut stream);
                        Poll::Ready(if shuts { stream.poll_shutdown(cx) } else { stream.poll_flush(cx) })
                    });
                    assert!(polled.await.is_pending());
                    assert_eq!(conn.overdue(&limits()), due, "{shuts}");
                    time.set(time.get().plus(STALL * 2));
                }
            }
        })
        .await;
    }
}

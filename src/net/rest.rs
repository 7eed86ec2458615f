//! An idle HTTP/1.1 connection, reduced to its socket.
//!
//! hyper keeps the buffers of a connection for as long as it lives, and the future of its last request with them: some 30
//! KiB, which most connections of a busy server hold for nothing most of the time. So a connection that has nothing to do
//! for a moment is taken apart; what is left waits for the socket to become readable, and is put together again then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::conn::Conn;
use super::watch::Watched;

/// A stream that can tell when its socket has something.
pub(super) trait Readable {
    /// Ready once something may be read, the end or an error included, or while something that was written is left.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Readable for Watched {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_socket(cx)
    }
}

impl Readable for TlsStream<Watched> {
    /// Nothing decrypted waits: the last read of it found nothing.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_ref().0.poll_socket(cx)
    }
}

/// Ready once the socket has something or the connection is to leave; either is for hyper to see to. So is an answer that was
/// on its way to the kernel when the rest began, and which it did not take: nobody else flushes it.
pub(super) async fn rest(stream: &impl Readable, conn: &Conn) {
    std::future::poll_fn(|cx| if conn.may_leave() { Poll::Ready(()) } else { stream.poll_readable(cx) }).await;
}

/// What becomes of a connection that is polled.
pub(super) enum Step<T> {
    Ended(T),
    /// It has nothing to do, for a while already.
    Idle,
}

/// A connection until it ends or may rest.
pub(super) struct Active<'a, C> {
    pub(super) connection: C,
    pub(super) conn: &'a Conn,
}

impl<C: Future + Unpin> Future for Active<'_, C> {
    type Output = Step<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // First, for hyper may not be done with the last request: taken apart now, it would forget that a body is only half
        // read, and what is left of that would be taken for the next request.
        let polled = Pin::new(&mut self.connection).poll(cx).map(Step::Ended);
        if polled.is_pending() && self.conn.may_rest() { Poll::Ready(Step::Idle) } else { polled }
    }
}

/// A stream and what of it was read too far.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    pub(super) ahead: Bytes,
    pub(super) stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let now = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..now]);
        this.ahead.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;
    use std::time::Duration;

    use http::{Request, Response};
    use http_body::Body as _;
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::clock::BootTime;
    use crate::net::outbox::{self, tests::Ends};

    #[tokio::test]
    async fn a_connection_whose_answer_the_kernel_has_not_taken_does_not_rest() {
        let local = tokio::task::LocalSet::new();
        local.spawn_local(outbox::run());
        let at_rest = local.run_until(async {
            let Ends { near, far: _far } = Ends::new().await;
            let conn = Conn::new(Rc::new(Cell::new(BootTime::from_nanos(0))));
            conn.speak(false);
            let mut stream = Watched::new(near, Rc::clone(&conn));
            // In the end the kernel does not take all, of which its writer knows nothing.
            while std::future::poll_fn(|cx| Poll::Ready(stream.poll_readable(cx))).await.is_pending() {
                conn.run(pin!(stream.write_all(&[b'.'; 100])), |_| {}).await.unwrap().unwrap();
                tokio::task::yield_now().await;
            }
            conn.run(pin!(rest(&stream, &conn)), |_| {}).await
        });
        tokio::time::timeout(Duration::from_secs(30), at_rest).await.expect("it is seen to").unwrap();
    }

    #[tokio::test]
    async fn what_is_left_of_a_body_that_nobody_read_is_never_taken_for_a_request() {
        let time = Rc::new(Cell::new(BootTime::from_nanos(0)));
        let conn = Conn::new(Rc::clone(&time));
        conn.speak(false);
        let (mut client, server) = tokio::io::duplex(1024);
        let given_up = Cell::new(false);
        let answer = service_fn(|mut request: Request<Incoming>| {
            let (in_flight, given_up) = (conn.begin(true, false), &given_up);
            async move {
                std::future::poll_fn(|cx| {
                    while Pin::new(request.body_mut()).poll_frame(cx).is_ready() {}
                    if given_up.get() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                drop((request, in_flight));
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), answer);
        let mut active = Active { connection, conn: &conn };
        let mut polled = || {
            let mut bell = |cx: &mut Context<'_>| Pin::new(&mut active).poll(cx);
            conn.bell().attend(&Context::from_waker(Waker::noop()), 1, &mut bell)
        };
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\nsome").await.unwrap();
        for _ in 0..8 {
            assert!(polled().is_pending());
        }
        given_up.set(true);
        // It answers, and rings to be polled again.
        assert!(polled().is_pending());
        // A sweep finds it idle, before it has seen that nobody reads the body.
        time.set(BootTime::from_nanos(1));
        conn.send_to_rest();
        assert!(matches!(polled(), Poll::Ready(Step::Ended(Ok(())))));
    }
}

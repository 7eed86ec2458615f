//! One exchange over a connection, from the request to the end of the answer's body, which gives the connection back.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;

use super::{Link, OriginError, Pool, ROUNDS, Slot};
use crate::clock::BootTime;
use crate::gateway::body::{RequestBody, Upload};
use crate::gateway::connect::Stream;
use crate::net::bell::Bell;

/// A connection in use by one exchange. Dropped, it closes.
pub(in crate::gateway) struct Lease {
    pub(super) link: Box<Link>,
    pool: Rc<Pool>,
    taken: BootTime,
    /// Whether it has served before, so that the origin may be closing it right now.
    pub(in crate::gateway) reused: bool,
}

/// Why an exchange gave no answer, and the request where it was certainly not sent.
pub(in crate::gateway) enum Broken {
    Sent(OriginError),
    Unsent(OriginError, Box<Request<RequestBody>>),
}

impl Lease {
    pub(super) fn new(link: Box<Link>, pool: &Rc<Pool>, taken: BootTime, reused: bool) -> Self {
        Self { link, pool: Rc::clone(pool), taken, reused }
    }

    /// Sends `request` and waits for the head of its answer, at most `response_header` from the last byte it sent. A
    /// client that stops sending has a time-out of its own, in its body.
    pub(in crate::gateway) fn exchange<'a>(
        &'a mut self,
        request: Request<RequestBody>,
        upload: &'a Upload,
    ) -> impl Future<Output = Result<Response<Incoming>, Broken>> {
        // Not zero, which would have the loop in it never wait.
        let limit = self.pool.service.response_header.max(Duration::from_millis(1));
        let link = &mut *self.link;
        let answer = link.sender.try_send_request(request);
        link.alarm.set(self.taken.plus(limit));
        Exchange { answer, link, upload, limit, moved: upload.moved() }
    }

    /// The answer's body, which keeps the connection for the next exchange once it ended.
    pub(in crate::gateway) fn body(self, inner: Incoming, upload: Rc<Upload>) -> OriginBody {
        OriginBody { inner, ended: false, exchange: Some((self, upload)) }
    }

    /// The connection itself, after an answer that says it goes on as something else. No other exchange will have it.
    pub(in crate::gateway) fn switched(self) -> Option<Switched> {
        let Link { connection, bell, done, slot, .. } = *self.link;
        // hyper is done as soon as it has read that answer.
        let parts = done.then(|| connection.into_parts())?;
        Some(Switched { stream: parts.io.into_inner(), bell, ahead: parts.read_buf, _slot: slot })
    }
}

/// A connection that speaks HTTP no longer.
pub(in crate::gateway) struct Switched {
    pub(in crate::gateway) stream: Stream,
    /// Attended wherever the stream is polled.
    pub(in crate::gateway) bell: Bell,
    /// What came with the answer's head.
    pub(in crate::gateway) ahead: Bytes,
    /// It goes on being one of those that its service may have.
    _slot: Slot,
}

pin_project! {
    /// A request on its way. By hand, for a compiled one would have room for the request besides.
    struct Exchange<'a, F> {
        #[pin]
        answer: F,
        link: &'a mut Link,
        upload: &'a Upload,
        limit: Duration,
        moved: u64,
    }
}

impl<F> Future for Exchange<'_, F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
{
    type Output = Result<Response<Incoming>, Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Link { connection, bell, alarm, done, .. } = &mut **this.link;
        bell.attend(cx, ROUNDS, |cx| {
            if !*done && Pin::new(&mut *connection).poll(cx).is_ready() {
                *done = true;
            }
            if let Poll::Ready(answer) = this.answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(Broken::from));
            }
            while alarm.poll(cx).is_ready() {
                if this.upload.moved() == *this.moved && !this.upload.is_wanting() {
                    return Poll::Ready(Err(Broken::Sent(OriginError::AnswerTimedOut)));
                }
                *this.moved = this.upload.moved();
                alarm.set_in(*this.limit);
            }
            Poll::Pending
        })
    }
}

impl From<TrySendError<Request<RequestBody>>> for Broken {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        let request = error.take_message();
        let error = error.into_error();
        let cause = if error.is_closed() || error.is_canceled() || error.is_incomplete_message() || is_reset(&error) {
            OriginError::NotAnswered
        } else if error.is_parse_too_large() {
            OriginError::HeadTooLarge
        } else {
            OriginError::Broken(error)
        };
        match request {
            Some(request) => Self::Unsent(cause, Box::new(request)),
            None => Self::Sent(cause),
        }
    }
}

/// An origin that closes with bytes of ours unread makes its kernel say so by a reset.
fn is_reset(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionReset)
}

/// An answer's body. It polls the connection it comes from.
pub(in crate::gateway) struct OriginBody {
    inner: Incoming,
    ended: bool,
    exchange: Option<(Lease, Rc<Upload>)>,
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut closed = false;
        let mut frame = match &mut this.exchange {
            None => Pin::new(&mut this.inner).poll_frame(cx),
            Some((lease, _)) => {
                let Link { connection, bell, .. } = &mut *lease.link;
                bell.attend(cx, ROUNDS, |cx| {
                    let frame = Pin::new(&mut this.inner).poll_frame(cx);
                    if frame.is_ready() || closed {
                        return frame;
                    }
                    closed = Pin::new(&mut *connection).poll(cx).is_ready();
                    Pin::new(&mut this.inner).poll_frame(cx)
                })
            }
        };
        if closed {
            this.exchange = None;
            // Nobody rings the bell from here on.
            frame = if frame.is_pending() { Pin::new(&mut this.inner).poll_frame(cx) } else { frame };
        }
        if let Poll::Ready(None) = frame {
            this.ended = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for OriginBody {
    /// Keeps the connection only where both bodies reached their end; anything else could leave bytes of this exchange
    /// to be read as the next one's.
    fn drop(&mut self) {
        let whole = self.ended || self.inner.is_end_stream();
        if let Some((lease, upload)) = self.exchange.take()
            && whole
            && upload.is_finished()
            && !lease.link.sender.is_closed()
        {
            lease.pool.keep(lease.link);
        }
    }
}

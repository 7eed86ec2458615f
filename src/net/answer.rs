//! An answer on its way to the client, from the call of the handler to the last byte.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::conn::InFlight;

pin_project! {
    /// A request that is being answered. By hand, for a compiled one would hold the answer twice.
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        in_flight: Option<InFlight>,
    }
}

impl<F> Answering<F> {
    pub(super) const fn new(answer: F, in_flight: InFlight) -> Self {
        Self { answer, in_flight: Some(in_flight) }
    }
}

impl<F: Future<Output = Response<B>>, B> Future for Answering<F> {
    type Output = Result<Response<Answer<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx));
        let Some(in_flight) = this.in_flight.take() else { return Poll::Pending };
        in_flight.offered(true);
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if in_flight.is_last() && !in_flight.is_stream() && !switches {
            // hyper says so by itself only where it learned of it before it wrote the head.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| Answer { body, in_flight, held: None })))
    }
}

/// An answer's body; its request is in flight as long as it lives.
pub(super) struct Answer<B> {
    body: B,
    in_flight: InFlight,
    /// The end of what the body gave last.
    held: Option<Bytes>,
}

impl<B> Answer<B> {
    /// What is handed over of `data` now. h2 takes whatever it is given and keeps it until the client takes it, and hyper
    /// drops an answer whose end was handed over: a stream could then keep all of its last bytes waiting without being seen
    /// to. So HTTP/2 gets no more than the last frame ahead of what the client has room for.
    fn cut(&mut self, mut data: Bytes) -> Bytes {
        if self.in_flight.is_stream() && data.len() > FRAME {
            self.held = Some(data.split_off((data.len() - 1) / FRAME * FRAME));
        }
        data
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = match self.held.take() {
            Some(held) => Poll::Ready(Some(Ok(Frame::data(held)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        };
        // hyper asks for more only once the client has room for it.
        self.in_flight.offered(frame.is_ready());
        frame.map_ok(|frame| match frame.into_data() {
            Ok(data) => Frame::data(self.cut(data)),
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An HTTP/2 frame's payload, at most.
pub(super) const FRAME: usize = 16 * 1024;

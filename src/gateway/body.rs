//! The two bodies of an exchange: what the client sends on its way to the origin, and what it gets back.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::access::Record;
use super::open::Lasting;
use super::origin::OriginBody;
use super::upgrade::Agreed;
use crate::net::BoxError;
use crate::net::body::{BodyError, Paced, fits};

/// A request's body as the client sent it: on its way, or read already.
#[derive(Debug)]
pub enum ClientBody {
    /// On its way.
    Coming(Incoming),
    /// None once it was taken.
    Held(Option<Bytes>),
}

impl ClientBody {
    /// One that was read.
    pub(super) fn held(bytes: Bytes) -> Self {
        Self::Held(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Coming(body) => Pin::new(body).poll_frame(cx),
            Self::Held(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Coming(body) => body.is_end_stream(),
            Self::Held(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Coming(body) => body.size_hint(),
            Self::Held(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// A request's body on its way to the origin. It tells the exchange, which cannot see it there, how it fares.
pub(super) struct RequestBody {
    /// None where there is none. Boxed, for nearly every request is one of those, and is handed on many times.
    inner: Option<Box<Paced<ClientBody>>>,
    /// Boxed, as that is.
    lasting: Option<Box<Lasting>>,
    upload: Rc<Upload>,
}

/// How a request's body fares.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Every byte was taken by the origin's connection.
    finished: Cell<bool>,
    /// Bytes taken so far.
    moved: Cell<u64>,
    /// The origin's connection would take more, and the client has not sent it.
    wanting: Cell<bool>,
    /// Why it ended early; always the client's doing.
    failure: Cell<Option<UploadFailure>>,
    /// Whether what the origin did not take is left in `rest`: over HTTP/2, see [`Rest`].
    keeps: bool,
    rest: RefCell<Option<ClientBody>>,
}

/// Why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadFailure {
    TooLarge,
    Stalled,
    TooSlow,
    Broken,
}

impl Upload {
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get()
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Whether it is the client that is waited for.
    pub(super) fn is_wanting(&self) -> bool {
        self.wanting.get()
    }

    /// What the origin did not take.
    pub(super) fn rest(&self) -> Option<ClientBody> {
        self.rest.take()
    }

    pub(super) fn failure(&self) -> Option<UploadFailure> {
        self.failure.get()
    }
}

impl RequestBody {
    /// The body, held to a pace and, where it is `lasting`, to its key, and the view of how it fares, which `keeps` what is left of
    /// it.
    pub(super) fn new(
        body: ClientBody,
        keeps: bool,
        lasting: impl FnOnce() -> Option<Lasting>,
        pace: impl FnOnce(ClientBody) -> Paced<ClientBody>,
    ) -> (Self, Rc<Upload>) {
        let none = body.is_end_stream();
        let upload = Rc::new(Upload { finished: Cell::new(none), keeps, ..Upload::default() });
        let lasting = if none { None } else { lasting().map(Box::new) };
        (Self { inner: (!none).then(|| Box::new(pace(body))), lasting, upload: Rc::clone(&upload) }, upload)
    }

    /// No body, for a repeated request that had none.
    pub(super) fn none(upload: &Rc<Upload>) -> Self {
        Self { inner: None, lasting: None, upload: Rc::clone(upload) }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.upload.keeps && !self.upload.is_finished() {
            *self.upload.rest.borrow_mut() = self.inner.take().map(|body| body.into_inner());
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { inner, lasting, upload } = &mut *self;
        let Some(inner) = inner else { return Poll::Ready(None) };
        let frame = Pin::new(&mut **inner).poll_frame(cx);
        upload.wanting.set(frame.is_pending());
        if matches!(frame, Poll::Ready(None)) || inner.is_end_stream() {
            *lasting = None;
        } else if let Some(lasting) = lasting {
            lasting.goes_on();
        }
        let frame = std::task::ready!(frame);
        let ended = inner.is_end_stream();
        match &frame {
            Some(Ok(frame)) => {
                let taken = frame.data_ref().map_or(0, Bytes::len) as u64;
                upload.moved.set(upload.moved.get() + taken);
                upload.finished.set(ended);
            }
            None => upload.finished.set(true),
            Some(Err(error)) => upload.failure.set(Some(match error {
                BodyError::TooLarge(_) => UploadFailure::TooLarge,
                BodyError::Stalled(_) => UploadFailure::Stalled,
                BodyError::TooSlow(_) => UploadFailure::TooSlow,
                BodyError::Broken(_) => UploadFailure::Broken,
            })),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

/// An answer's body on its way to the client, with the record that is written when it ends, however it ends.
pub struct Outgoing {
    source: Source,
    /// The request's body, where some of it may be left at the end.
    upload: Option<Rc<Upload>>,
    /// Boxed, for it is rare.
    rest: Option<Box<Rest>>,
    record: Option<Box<Record>>,
}

/// What the client of an HTTP/2 request still sends when its answer is whole. To end the answer under it means to reset the
/// stream (RFC 9113, 8.1), which many a client takes for a broken exchange, and never shows the answer. So it is read
/// first, in bounds.
struct Rest {
    body: ClientBody,
    budget: usize,
    end: Pin<Box<Sleep>>,
}

impl Rest {
    const BYTES: usize = 1024 * 1024;
    const TIME: Duration = Duration::from_secs(2);

    fn new(body: ClientBody) -> Box<Self> {
        Box::new(Self { body, budget: Self::BYTES, end: Box::pin(sleep(Self::TIME)) })
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.budget > 0 {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.budget = self.budget.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.end.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

/// Why an answer's body cannot be had whole.
#[derive(Debug)]
pub(super) enum Overrun {
    TooLarge,
    Broken(BodyError),
}

enum Source {
    Whole(Option<Bytes>),
    Origin(Paced<OriginBody>),
    /// No body: the origin's connection goes on. Boxed, for it is rare.
    Agreed(Option<Box<Agreed>>),
}

impl Outgoing {
    /// An answer of our own.
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(Some(bytes)), upload: None, rest: None, record: None }
    }

    /// An answer of another part of keyward.
    pub(super) fn ours(body: Full<Bytes>) -> Self {
        Self::whole(body.into_inner().unwrap_or_default())
    }

    /// The origin's answer to a request with this body.
    pub(super) fn origin(body: Paced<OriginBody>, upload: Rc<Upload>) -> Self {
        let upload = Some(upload).filter(|upload| upload.keeps);
        Self { source: Source::Origin(body), upload, rest: None, record: None }
    }

    /// The origin agreed to go on as something else.
    pub(super) fn agreed(agreed: Agreed) -> Self {
        Self { source: Source::Agreed(Some(Box::new(agreed))), upload: None, rest: None, record: None }
    }

    /// What the origin agreed to go on as, where it did.
    pub(super) fn take_agreed(&mut self) -> Option<Box<Agreed>> {
        match &mut self.source {
            Source::Agreed(agreed) => agreed.take(),
            Source::Whole(_) | Source::Origin(_) => None,
        }
    }

    /// Ends only once what the client still sends was read.
    pub(super) fn reading(mut self, rest: Option<ClientBody>) -> Self {
        self.rest = rest.map(Rest::new);
        self
    }

    /// All of it, at most so many bytes. The origin's connection is free for the next exchange then.
    pub(super) async fn collected(&mut self, limit: usize) -> Result<Bytes, Overrun> {
        let mut bytes = BytesMut::new();
        if let Source::Origin(body) = &mut self.source {
            if !fits(body, limit as u64) {
                return Err(Overrun::TooLarge);
            }
            while let Some(frame) = body.frame().await {
                let data = frame.map_err(Overrun::Broken)?.into_data().unwrap_or_default();
                if data.len() > limit - bytes.len() {
                    return Err(Overrun::TooLarge);
                }
                bytes.extend_from_slice(&data);
            }
        }
        self.source = Source::Whole(None);
        Ok(bytes.freeze())
    }

    /// The same answer with another body.
    pub(super) fn replaced(mut self, text: String) -> Self {
        self.source = Source::Whole(Some(text.into()));
        self
    }

    /// With the record to write at its end.
    pub(super) fn recorded(mut self, mut record: Box<Record>) -> Self {
        record.expects_body(!self.source.is_end_stream());
        self.record = Some(record);
        self
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            Source::Origin(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if let Some(record) = &mut this.record {
                        record.waits();
                    }
                    return Poll::Pending;
                }
            },
            Source::Agreed(_) => None,
        };
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len), this.source.is_end_stream()),
                Some(Err(error)) => record.broken(matches!(error, BodyError::Stalled(_))),
                None => record.sent(0, true),
            }
        }
        if frame.is_none() {
            if let Some(upload) = this.upload.take() {
                // The origin's connection, and with it the body it did not take.
                this.source = Source::Whole(None);
                this.rest = upload.rest().map(Rest::new);
            }
            if let Some(rest) = &mut this.rest {
                std::task::ready!(rest.poll_read(cx));
                this.rest = None;
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        let unread = self.upload.as_ref().is_some_and(|upload| !upload.is_finished());
        !unread && self.rest.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Source::Origin(body) => body.size_hint(),
            Source::Agreed(_) => SizeHint::with_exact(0),
        }
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Origin(body) => body.is_end_stream(),
            Self::Agreed(_) => true,
        }
    }
}

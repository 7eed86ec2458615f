//! The frames of an HTTP/2 connection, counted by kind as they pass.
//!
//! h2 bounds what a client can make us keep: resets of streams nobody has looked at, resets it makes us send, endless
//! CONTINUATION, empty and tiny DATA. What costs only our time it lets pass: PING, SETTINGS, PRIORITY, WINDOW_UPDATE and
//! frames of unknown kinds without end, and resets of requests that already reached an origin. Those have their budget
//! here. Frame heads alone are read, nine bytes each; what they carry is skipped.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::config::Limits;
use super::conn::Conn;
use crate::clock::BootTime;
use crate::telemetry::label::{Closed, ParseError, StreamReset};
use crate::telemetry::metrics::Shard;

/// A client's connection, above TLS, whose frames are counted. Over its budget it ends.
pub(super) struct Counted<S> {
    stream: S,
    conn: Rc<Conn>,
    metrics: Rc<Shard>,
    received: Frames,
    sent: Frames,
    budget: Budget,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, conn: Rc<Conn>, metrics: Rc<Shard>, limits: &Limits) -> Self {
        let received = Frames { skip: PREFACE, ..Frames::default() };
        let budget = Budget::new(limits, conn.now());
        Self { stream, conn, metrics, received, sent: Frames::default(), budget }
    }

    /// Whether the client may go on after these bytes.
    fn receive(&mut self, bytes: &[u8]) -> bool {
        let (budget, now) = (&mut self.budget, self.conn.now());
        self.received.read(bytes, |frame| budget.received(frame, now));
        if self.budget.is_spent() {
            self.metrics.parse_error(ParseError::Http2Flood);
            self.conn.cut(Closed::Flood);
            return false;
        }
        true
    }

    fn send(&mut self, bytes: &[u8]) {
        let (budget, metrics) = (&mut self.budget, &self.metrics);
        self.sent.read(bytes, |frame| {
            budget.sent(frame);
            if frame.is_a_lone_status() {
                metrics.parse_error(ParseError::TooLarge);
            }
            if let Some(why) = frame.reset_by_us() {
                metrics.stream_reset(why);
            }
        });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.receive(&buf.filled()[before..]) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(io::Error::other("too many HTTP/2 frames that ask nothing")))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.send(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut left = taken;
        for slice in slices {
            let part = left.min(slice.len());
            this.send(&slice[..part]);
            left -= part;
        }
        Poll::Ready(Ok(taken))
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

/// What a client may send in a window of time.
#[derive(Debug)]
struct Budget {
    most_resets: u32,
    most_idle: u32,
    since: BootTime,
    resets: u32,
    /// Frames that neither ask nor carry anything.
    idle: u32,
    /// Frames that do, either way.
    useful: u32,
}

impl Budget {
    fn new(limits: &Limits, since: BootTime) -> Self {
        let Limits { stream_resets, control_frames, .. } = *limits;
        Self { most_resets: stream_resets, most_idle: control_frames, since, resets: 0, idle: 0, useful: 0 }
    }

    fn received(&mut self, frame: Frame, now: BootTime) {
        if now.since(self.since) >= WINDOW {
            (self.since, self.resets, self.idle, self.useful) = (now, 0, 0, 0);
        }
        match frame.kind {
            RST_STREAM => self.resets = self.resets.saturating_add(1),
            // Empty ones h2 counts for the connection's whole life.
            DATA | HEADERS | CONTINUATION => self.useful = self.useful.saturating_add(1),
            _ => self.idle = self.idle.saturating_add(1),
        }
    }

    fn sent(&mut self, frame: Frame) {
        match frame.kind {
            DATA => self.useful = self.useful.saturating_add(1),
            // A stream beyond the allowed number asked nothing that was answered.
            RST_STREAM if frame.code == REFUSED_STREAM => self.idle = self.idle.saturating_add(1),
            _ => {}
        }
    }

    /// An honest client sends a few updates of its window and its priorities for every frame that carries something.
    fn is_spent(&self) -> bool {
        let allowed = self.most_idle.saturating_add(self.useful.saturating_mul(FOR_EACH_USEFUL));
        self.resets > self.most_resets || self.idle > allowed
    }
}

/// A frame, as far as its head tells; of RST_STREAM its error code too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    code: u32,
}

impl Frame {
    /// Where this frame is sent by us: whether it is h2's own answer to a head that is too large, 431 and nothing else, of
    /// which it tells nobody. It takes five bytes, or one once the client remembers it (RFC 7541, 6.1 and 6.2.1); what we
    /// answer has a date too, and so is never as short.
    fn is_a_lone_status(self) -> bool {
        self.kind == HEADERS && self.flags & END_STREAM != 0 && matches!(self.length, 1 | 5)
    }

    /// Where this frame is sent by us: why it resets a stream, if it is not the ordinary end of one that was left.
    fn reset_by_us(self) -> Option<StreamReset> {
        match (self.kind, self.code) {
            (RST_STREAM, REFUSED_STREAM) => Some(StreamReset::Refused),
            // What we abort for another reason is counted where it is decided.
            (RST_STREAM, NO_ERROR | CANCEL) => None,
            (RST_STREAM, _) => Some(StreamReset::Error),
            _ => None,
        }
    }
}

/// One direction of a connection, read frame by frame (RFC 9113, 4.1).
#[derive(Debug, Default)]
struct Frames {
    /// Bytes until the next frame begins.
    skip: usize,
    /// A frame's beginning, `have` bytes of it.
    begun: [u8; HEAD + CODE],
    have: usize,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (self.wanted() - self.have).min(bytes.len());
            self.begun[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.wanted() {
                let [_, _, _, kind, flags, ..] = self.begun;
                let length = self.length();
                let code = if self.have > HEAD { number(&self.begun[HEAD..]) } else { 0 };
                self.skip = length - (self.have - HEAD);
                self.have = 0;
                each(Frame { length, kind, flags, code });
            }
        }
    }

    /// How much of the frame is to be read: its head, and what follows in a reset.
    fn wanted(&self) -> usize {
        let reset = self.have >= HEAD && self.begun[3] == RST_STREAM && self.length() == CODE;
        if reset { HEAD + CODE } else { HEAD }
    }

    fn length(&self) -> usize {
        number(&self.begun[..3]) as usize
    }
}

/// At most four bytes, the first the highest.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |all, byte| all << 8 | u32::from(*byte))
}

/// What counts is counted for so long.
const WINDOW: Duration = Duration::from_secs(30);

/// So many frames that ask nothing are fine for each that does (Envoy's ratio for WINDOW_UPDATE to DATA).
const FOR_EACH_USEFUL: u32 = 10;

/// `PRI * HTTP/2.0` and what follows it.
const PREFACE: usize = 24;
const HEAD: usize = 9;
const CODE: usize = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let wire = [
            frame(HEADERS, b"12345"),
            frame(DATA, b""),
            frame(RST_STREAM, &CANCEL.to_be_bytes()),
            frame(RST_STREAM, b"odd"),
            frame(6, &[RST_STREAM; 8]),
            frame(RST_STREAM, &REFUSED_STREAM.to_be_bytes()),
        ]
        .concat();
        let expected =
            [(HEADERS, 0), (DATA, 0), (RST_STREAM, CANCEL), (RST_STREAM, 0), (6, 0), (RST_STREAM, REFUSED_STREAM)];
        for step in 1..=wire.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for part in wire.chunks(step) {
                frames.read(part, |frame| seen.push((frame.kind, frame.code)));
            }
            assert_eq!(seen, expected, "in steps of {step}");
        }
    }

    fn budget(resets: u32, idle: u32) -> Budget {
        let since = BootTime::from_nanos(0);
        Budget { most_resets: resets, most_idle: idle, since, resets: 0, idle: 0, useful: 0 }
    }

    #[test]
    fn what_asks_nothing_is_fine_beside_what_does() {
        let (mut budget, now) = (budget(1, 5), BootTime::from_nanos(1));
        let of = |kind| Frame { length: 0, kind, flags: 0, code: 0 };
        for _ in 0..1000 {
            budget.sent(of(DATA));
            for _ in 0..FOR_EACH_USEFUL {
                budget.received(of(8), now);
            }
        }
        assert!(!budget.is_spent());
        (0..6).for_each(|_| budget.received(of(6), now));
        assert!(budget.is_spent());
        let later = BootTime::from_nanos(u64::try_from(WINDOW.as_nanos()).unwrap());
        budget.received(of(6), later);
        assert!(!budget.is_spent());
        (0..2).for_each(|_| budget.received(of(RST_STREAM), later));
        assert!(budget.is_spent());
    }
}

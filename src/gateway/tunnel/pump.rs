//! One direction of a tunnel: what one side sends is what the other gets, its end too.
//!
//! Nothing is read while something is left to be written, so that a slow reader slows its writer and fills no memory here; and
//! a tunnel in which nothing moves holds no buffer.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction.
#[derive(Debug)]
pub(super) struct Pump {
    /// Read, and not written yet.
    left: Bytes,
    state: State,
    /// Written since the last flush.
    unflushed: bool,
    passed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flowing,
    /// The writer has ended, which its reader is to be told.
    Ending,
    Ended,
}

/// Where a direction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Reading,
    Writing,
}

impl Pump {
    /// A direction whose reader gets `ahead` first, which was read with the head.
    pub(super) const fn new(ahead: Bytes) -> Self {
        Self { left: ahead, state: State::Flowing, unflushed: false, passed: 0 }
    }

    /// How many bytes were written.
    pub(super) const fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether its writer has ended.
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Flowing
    }

    /// Moves what there is; ready once the end was handed on. Each side is polled with a waker of its own, and `written` is
    /// told of what the reader took.
    pub(super) fn poll(
        &mut self,
        (from, from_cx): (&mut (impl AsyncRead + Unpin), &mut Context<'_>),
        (to, to_cx): (&mut (impl AsyncWrite + Unpin), &mut Context<'_>),
        mut written: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Failed>> {
        loop {
            while !self.left.is_empty() {
                let taken = ready!(self.write(to, to_cx, usize::MAX, &mut written))?;
                debug_assert!(taken > 0, "a write of nothing is an error");
            }
            match self.state {
                State::Flowing => {}
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(to_cx)).map_err(|_| Failed::Writing)?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
            if self.state == State::Flowing && self.read(from, from_cx)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(to_cx)).map_err(|_| Failed::Writing)?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
    }

    /// Moves at most `most` bytes, and gives how many; none where the writer has ended.
    pub(super) fn poll_some(
        &mut self,
        (from, from_cx): (&mut (impl AsyncRead + Unpin), &mut Context<'_>),
        (to, to_cx): (&mut (impl AsyncWrite + Unpin), &mut Context<'_>),
        most: u64,
        written: impl FnMut(&[u8]),
    ) -> Poll<Result<usize, Failed>> {
        if self.left.is_empty() && self.state == State::Flowing {
            ready!(self.read(from, from_cx)?);
        }
        if self.left.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.write(to, to_cx, usize::try_from(most).unwrap_or(usize::MAX), written)
    }

    fn write(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        most: usize,
        mut written: impl FnMut(&[u8]),
    ) -> Poll<Result<usize, Failed>> {
        let most = most.min(self.left.len());
        let taken = match ready!(Pin::new(to).poll_write(cx, &self.left[..most])) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Failed::Writing)),
            Ok(taken) => taken,
        };
        written(&self.left[..taken]);
        self.left.advance(taken);
        self.passed += taken as u64;
        self.unflushed = true;
        if self.left.is_empty() {
            self.left = Bytes::new();
        }
        Poll::Ready(Ok(taken))
    }

    fn read(&mut self, from: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Result<Poll<()>, Failed> {
        let mut room = [MaybeUninit::uninit(); AT_ONCE];
        let mut read = ReadBuf::uninit(&mut room);
        match Pin::new(from).poll_read(cx, &mut read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(_)) => return Err(Failed::Reading),
            Poll::Ready(Ok(())) => {}
        }
        match read.filled() {
            [] => self.state = State::Ending,
            bytes => self.left = Bytes::copy_from_slice(bytes),
        }
        Ok(Poll::Ready(()))
    }
}

/// So much is read before it is written.
const AT_ONCE: usize = 16 * 1024;

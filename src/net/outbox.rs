//! A worker's small writes, sent together at the end of its turn.
//!
//! A worker that is woken for several connections answers one after the other. Sent as they arise, each small write wakes
//! its reader on another core, which is done with it before the next one comes and sleeps again; and between two writes
//! the kernel's code leaves the processor's caches. Sent in one go, the first write wakes and the others find their reader
//! awake. What is written waits for no more than the tasks that are ready by now, or for [`MANY`] others.
//!
//! To who writes, bytes in the outbox are as good as in the kernel's buffer: they are sent before anything that follows
//! them, also where their socket is dropped, and what could not be sent is told by its next write or flush.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::bell::Bell;

/// A write of up to so many bytes is small: its copy costs less than what it saves.
const SMALL: usize = 2048;

/// So many writes are sent at once, whoever else is ready.
const MANY: usize = 64;

thread_local! {
    /// A thread is a worker, or has no outbox.
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// What waits on this thread.
#[derive(Default)]
struct Outbox {
    /// The task that sends, once it runs.
    sender: Option<Waker>,
    letters: Vec<Letter>,
    bytes: Vec<u8>,
}

struct Letter {
    to: Rc<Line>,
    bytes: Range<usize>,
}

/// Sends what this thread's sockets have written, at the end of each turn. Until it runs, they write for themselves.
pub(super) async fn run() {
    let _end = End;
    poll_fn(|cx| {
        OUTBOX.with_borrow_mut(|outbox| outbox.sender = Some(cx.waker().clone()));
        send_all();
        Poll::Pending
    })
    .await
}

/// A worker's end: what waits is sent still, and from here on its sockets write for themselves again.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        drop(OUTBOX.with_borrow_mut(|outbox| outbox.sender.take()));
        send_all();
    }
}

fn send_all() {
    let (mut letters, mut bytes) =
        OUTBOX.with_borrow_mut(|outbox| (std::mem::take(&mut outbox.letters), std::mem::take(&mut outbox.bytes)));
    for Letter { to, bytes: range } in letters.drain(..) {
        to.waiting.set(to.waiting.get() - 1);
        to.send(&bytes[range]);
    }
    bytes.clear();
    OUTBOX.with_borrow_mut(|outbox| {
        if outbox.letters.is_empty() {
            (outbox.letters, outbox.bytes) = (letters, bytes);
        }
    });
}

/// A socket's way out.
#[derive(Debug)]
pub(super) struct Line {
    stream: RefCell<TcpStream>,
    /// Rung where not all could be sent, so that whoever has the socket flushes it.
    bell: Bell,
    /// Letters of it in the outbox.
    waiting: Cell<usize>,
    /// What the kernel did not take.
    left: RefCell<Vec<u8>>,
    /// It took some of that since this was asked last.
    moved: Cell<bool>,
    failed: RefCell<Option<io::Error>>,
}

impl Line {
    pub(super) fn new(stream: TcpStream, bell: Bell) -> Rc<Self> {
        let (stream, left, failed) = (RefCell::new(stream), RefCell::default(), RefCell::default());
        Rc::new(Self { stream, bell, waiting: Cell::new(0), left, moved: Cell::new(false), failed })
    }

    pub(super) fn stream(&self) -> &RefCell<TcpStream> {
        &self.stream
    }

    /// Whether the kernel did not take all that was written.
    pub(super) fn is_behind(&self) -> bool {
        !self.left.borrow().is_empty()
    }

    /// Whether the kernel took some of what was left since this was asked last.
    pub(super) fn has_moved(&self) -> bool {
        self.moved.take()
    }

    /// As [`AsyncWrite::poll_write_vectored`]; what is small waits for the end of the turn, where who writes hears the bell.
    pub(super) fn poll_write(self: &Rc<Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let size = slices.iter().map(|slice| slice.len()).sum();
        if size <= SMALL && !self.is_behind() && self.bell.is_attended_by(cx) && self.post(slices, size) {
            return Poll::Ready(Ok(size));
        }
        ready!(self.poll_sent(cx))?;
        let mut stream = self.stream.borrow_mut();
        match slices {
            [one] => Pin::new(&mut *stream).poll_write(cx, one),
            several => Pin::new(&mut *stream).poll_write_vectored(cx, several),
        }
    }

    /// As [`AsyncWrite::poll_flush`]. What is in the outbox is as good as sent.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_behind() { self.poll_sent(cx) } else { Poll::Ready(self.said()) }
    }

    /// As [`AsyncWrite::poll_shutdown`], once all is sent.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }

    /// Puts them into the outbox, where there is one.
    fn post(self: &Rc<Self>, slices: &[IoSlice<'_>], size: usize) -> bool {
        let full = OUTBOX.with_borrow_mut(|outbox| {
            let Outbox { sender: Some(sender), letters, bytes } = outbox else { return None };
            if letters.is_empty() {
                sender.wake_by_ref();
            }
            let begin = bytes.len();
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            letters.push(Letter { to: Rc::clone(self), bytes: begin..begin + size });
            Some(letters.len() >= MANY)
        });
        if full.is_some() {
            self.waiting.set(self.waiting.get() + 1);
        }
        if full == Some(true) {
            send_all();
        }
        full.is_some()
    }

    /// Ready once everything that was written is with the kernel.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.get() > 0 {
            send_all();
        }
        let mut left = self.left.borrow_mut();
        while !left.is_empty() {
            let taken = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, &left))?;
            left.drain(..taken);
            self.moved.set(true);
        }
        // A connection lives for long, and is seldom behind.
        *left = Vec::new();
        Poll::Ready(self.said())
    }

    fn said(&self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn send(&self, mut bytes: &[u8]) {
        let mut left = self.left.borrow_mut();
        let mut why = None;
        while left.is_empty() && !bytes.is_empty() {
            match self.stream.borrow().try_write(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    why = Some(error);
                    break;
                }
            }
        }
        match why {
            Some(error) if error.kind() != io::ErrorKind::WouldBlock => *self.failed.borrow_mut() = Some(error),
            _ => left.extend_from_slice(bytes),
        }
        if !bytes.is_empty() {
            self.bell.ring();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

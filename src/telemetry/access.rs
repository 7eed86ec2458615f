//! The access log: finished lines from the workers, written by a thread of its own.
//!
//! A worker appends to its [`LineBuffer`] and hands over a chunk when it is large enough, a moment after its first line,
//! or at its end. Where the writer cannot follow, whole chunks are dropped and their lines counted: a log must not hold
//! requests up, and must not lose lines silently (tokio-rs/tracing#1941). What a line says is its writer's business.

use std::cell::RefCell;
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

use super::metrics::Metrics;

/// The writer, for as long as the process serves.
#[derive(Debug)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl AccessLog {
    /// Starts the writer; `metrics` tells how many lines were dropped.
    pub fn start(sink: Sink, metrics: &Metrics) -> io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        metrics.counter("keyward_access_log_dropped", "Access-log lines that were not written", move || {
            count.load(Ordering::Relaxed)
        });
        let (queue, messages) = sync_channel(QUEUED_CHUNKS);
        let lost = Arc::clone(&dropped);
        let writer =
            thread::Builder::new().name("keyward-access".to_owned()).spawn(move || write(sink, &messages, &lost))?;
        Ok(Self { queue, dropped, writer })
    }

    /// What a worker hands its own buffer out of.
    #[must_use]
    pub fn handle(&self) -> AccessHandle {
        AccessHandle { queue: self.queue.clone(), dropped: Arc::clone(&self.dropped) }
    }

    /// Writes what is queued and ends the writer. The workers must have ended, so that their buffers were handed over.
    pub fn finish(self) {
        // Fails only where the writer is gone already.
        let _ = self.queue.send(Message::End);
        if self.writer.join().is_err() {
            tracing::error!("the access-log writer ended abnormally");
        }
    }
}

/// Where the lines go.
#[derive(Clone, Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A test's memory.
    Memory(Arc<Mutex<Vec<u8>>>),
}

/// The way to the writer; made by [`AccessLog::handle`], sent to a worker's thread.
#[derive(Clone, Debug)]
pub struct AccessHandle {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl AccessHandle {
    /// A buffer for the calling thread.
    #[must_use]
    pub fn worker(&self) -> LineBuffer {
        let chunk = RefCell::new(Chunk { bytes: Vec::new(), lines: 0 });
        LineBuffer { inner: Rc::new(Buffer { handle: self.clone(), chunk, first: Rc::new(Notify::new()) }) }
    }
}

/// One worker's lines; clones share the buffer, and the last one hands over what is left.
#[derive(Clone, Debug)]
pub struct LineBuffer {
    inner: Rc<Buffer>,
}

impl LineBuffer {
    /// Appends one line, without its line feed.
    pub fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut chunk = self.inner.chunk.borrow_mut();
        if chunk.bytes.capacity() == 0 {
            chunk.bytes.reserve_exact(CHUNK + CHUNK / 4);
        }
        write(&mut chunk.bytes);
        chunk.bytes.push(b'\n');
        chunk.lines += 1;
        let (full, first) = (chunk.bytes.len() >= CHUNK, chunk.lines == 1);
        drop(chunk);
        if full {
            self.inner.hand_over();
        } else if first {
            self.inner.first.notify_one();
        }
    }

    /// Hands over what there is.
    pub fn flush(&self) {
        self.inner.hand_over();
    }

    /// Hands lines over a moment after the first of them, for as long as this buffer lives. Needs the worker's
    /// `LocalSet`.
    pub fn keep_flushing(&self) {
        let (buffer, first) = (Rc::downgrade(&self.inner), Rc::clone(&self.inner.first));
        tokio::task::spawn_local(async move {
            loop {
                first.notified().await;
                tokio::time::sleep(LINGER).await;
                let Some(buffer) = buffer.upgrade() else { return };
                buffer.hand_over();
            }
        });
    }
}

#[derive(Debug)]
struct Buffer {
    handle: AccessHandle,
    chunk: RefCell<Chunk>,
    /// Told at the first line of a chunk.
    first: Rc<Notify>,
}

impl Buffer {
    fn hand_over(&self) {
        let chunk = mem::replace(&mut *self.chunk.borrow_mut(), Chunk { bytes: Vec::new(), lines: 0 });
        if chunk.lines == 0 {
            return;
        }
        let lines = chunk.lines;
        if self.handle.queue.try_send(Message::Chunk(chunk)).is_err() {
            self.handle.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.hand_over();
        // Ends the task of `keep_flushing`.
        self.first.notify_one();
    }
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

#[derive(Debug)]
enum Message {
    Chunk(Chunk),
    End,
}

fn write(sink: Sink, messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut told = false;
    while let Ok(Message::Chunk(chunk)) = messages.recv() {
        let written = match &sink {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&chunk.bytes).and_then(|()| out.flush())
            }
            Sink::Memory(memory) => {
                memory.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk.bytes);
                Ok(())
            }
        };
        if let Err(error) = written {
            lost.fetch_add(chunk.lines, Ordering::Relaxed);
            if !mem::replace(&mut told, true) {
                tracing::error!(%error, "the access log cannot be written; further failures are only counted");
            }
        }
    }
}

/// A chunk is handed over at this size.
const CHUNK: usize = 16 * 1024;

/// A line waits at most so long for company.
const LINGER: Duration = Duration::from_millis(100);

/// Chunks that may wait for the writer: 4 MiB.
const QUEUED_CHUNKS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition::Form;
    use crate::telemetry::metrics::Names;

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::new(Names::default());
        let log = AccessLog::start(Sink::Memory(Arc::clone(&memory)), &metrics).unwrap();
        let handle = log.handle();
        thread::spawn(move || {
            let lines = handle.worker();
            for number in 0..5_000 {
                lines.line(|out| out.extend_from_slice(format!("line {number}").as_bytes()));
            }
        })
        .join()
        .unwrap();
        log.finish();
        let text = String::from_utf8(memory.lock().unwrap().clone()).unwrap();
        let expected: String = (0..5_000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text, expected);
        assert!(metrics.render(Form::Prometheus).contains("keyward_access_log_dropped_total 0"));
    }

    #[tokio::test]
    async fn a_lone_line_does_not_wait_for_company() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let log = AccessLog::start(Sink::Memory(Arc::clone(&memory)), &Metrics::new(Names::default())).unwrap();
        tokio::task::LocalSet::new()
            .run_until(async {
                let lines = log.handle().worker();
                lines.keep_flushing();
                lines.line(|out| out.extend_from_slice(b"alone"));
                let arrived = async {
                    while memory.lock().unwrap().is_empty() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), arrived).await.unwrap();
            })
            .await;
        log.finish();
        assert_eq!(&**memory.lock().unwrap(), b"alone\n");
    }

    #[test]
    fn what_the_writer_cannot_take_is_dropped_and_counted() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::new(Names::default());
        let log = AccessLog::start(Sink::Memory(Arc::clone(&memory)), &metrics).unwrap();
        let lines = log.handle().worker();
        let held = memory.lock().unwrap();
        // One chunk may be in the writer's hands, the queue takes its own number, and three are too many.
        for _ in 0..QUEUED_CHUNKS + 4 {
            lines.line(|out| out.extend_from_slice(&[b'x'; CHUNK]));
        }
        drop(held);
        let dropped = log.dropped.load(Ordering::Relaxed);
        assert!((3..=4).contains(&dropped), "{dropped}");
        assert!(metrics.render(Form::Prometheus).contains(&format!("keyward_access_log_dropped_total {dropped}")));
        drop(lines);
        log.finish();
        assert_eq!(memory.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64, 260 - dropped);
    }
}

//! An origin that keeps every byte it is sent, and that lies when told to.
//!
//! A byte that a gateway sent before some moment is on the tape that is taken after it, without a pause: connections
//! are accepted in the order they were opened, and what lies in a socket's buffer can be seen from outside.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::strict::{self, Message};
use crate::support::PATIENCE;
/// The origin.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<Arc<Line>>>,
    lie: Mutex<Option<Lie>>,
}

/// One connection.
struct Line {
    peer: SocketAddr,
    stream: TcpStream,
    tape: Mutex<Tape>,
}

#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    ended: bool,
    lied: bool,
}

/// What is answered instead of the truth, to whatever is no innocent request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lie {
    pub(super) answer: &'static [u8],
    pub(super) then: Then,
}

/// What follows a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// The connection stays.
    Keep,
    /// It ends.
    Close,
    /// These bytes, once the client has its answer; the connection stays.
    More(&'static [u8]),
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let known = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One that its client has reset before is none.
                let Ok(peer) = stream.peer_addr() else { continue };
                // What follows a lie is on its way at once, and does not wait for the first part to be acknowledged.
                stream.set_nodelay(true).unwrap();
                let line = Arc::new(Line { peer, stream, tape: Mutex::default() });
                known.lines.lock().unwrap().push(Arc::clone(&line));
                let known = Arc::clone(&known);
                thread::spawn(move || line.serve(&known));
            }
        });
        Self { address, shared }
    }

    /// What is answered from now on.
    pub(super) fn lies(&self, lie: Option<Lie>) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// Sends what is to follow a lie.
    pub(super) fn go_on(&self) {
        let Some(Lie { then: Then::More(bytes), .. }) = *self.shared.lie.lock().unwrap() else { return };
        for line in self.shared.lines.lock().unwrap().iter() {
            if std::mem::take(&mut line.tape.lock().unwrap().lied) {
                line.send(bytes);
            }
        }
        // A local socket has them at once, unless the kernel is behind.
        thread::sleep(Duration::from_millis(5));
    }

    /// Takes what came since the last time, a connection each; waits until what was sent has come.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        let mark = TcpStream::connect(self.address).unwrap();
        let marked = mark.local_addr().unwrap();
        let lines = || self.shared.lines.lock().unwrap().clone();
        let all_came = |lines: &[Arc<Line>]| {
            lines.iter().any(|line| line.peer == marked) && lines.iter().all(|line| line.is_quiet())
        };
        let (mut left, pause) = (PATIENCE, Duration::from_micros(100));
        while !all_came(&lines()) {
            left = left.checked_sub(pause).expect("what was sent to the origin comes");
            thread::sleep(pause);
        }
        drop(mark);
        let taken = lines().iter().map(|line| std::mem::take(&mut line.tape.lock().unwrap().bytes)).collect::<Vec<_>>();
        self.shared.lines.lock().unwrap().retain(|line| !line.tape.lock().unwrap().ended);
        taken.into_iter().filter(|bytes| !bytes.is_empty()).collect()
    }
}

impl Line {
    fn serve(&self, shared: &Shared) {
        let mut unread = Vec::new();
        // Bytes are taken off the socket and put on the tape in one step for whoever holds the tape.
        while self.stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
            {
                let mut tape = self.tape.lock().unwrap();
                let mut bytes = [0; 64 * 1024];
                let count = (&self.stream).read(&mut bytes).unwrap_or(0);
                tape.bytes.extend_from_slice(&bytes[..count]);
                unread.extend_from_slice(&bytes[..count]);
            }
            match self.answer(&mut unread, shared) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    break;
                }
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        self.tape.lock().unwrap().ended = true;
    }

    /// Answers what is whole; whether the connection goes on.
    fn answer(&self, unread: &mut Vec<u8>, shared: &Shared) -> Result<bool, String> {
        while !unread.is_empty() {
            let message = strict::message(unread)?;
            if !message.whole {
                break;
            }
            unread.drain(..message.length);
            let lie = shared.lie.lock().unwrap().filter(|_| !is_innocent(&message.target));
            let Some(lie) = lie else {
                self.send(&truth(&message));
                continue;
            };
            self.tape.lock().unwrap().lied = true;
            self.send(lie.answer);
            if lie.then == Then::Close {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether nothing lies in its buffer.
    fn is_quiet(&self) -> bool {
        let tape = self.tape.lock().unwrap();
        let mut byte = [MaybeUninit::uninit()];
        tape.ended || SockRef::from(&self.stream).recv_with_flags(&mut byte, PEEK_NOW).map_or(true, |count| count == 0)
    }

    fn send(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
    }
}

/// Says what was asked, and for which account.
fn truth(message: &Message) -> Vec<u8> {
    let told = told(message);
    let body = if message.method == "HEAD" { "" } else { &told };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", told.len()).into_bytes()
}

/// The body of the true answer to a request.
pub(super) fn told(message: &Message) -> String {
    format!("{} {} for {}", message.method, message.target, message.field("x-keyward-account").unwrap_or("nobody"))
}

/// Whether a request is one of those that must be served whatever came before.
pub(super) fn is_innocent(target: &str) -> bool {
    target.starts_with("/innocent/")
}

/// Linux's MSG_PEEK and MSG_DONTWAIT.
const PEEK_NOW: i32 = 0x02 | 0x40;

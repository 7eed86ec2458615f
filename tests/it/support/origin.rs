//! Origins that do what a test tells them, and remember what they were sent, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::eventually;

/// A scripted HTTP/1.1 origin on a thread of its own.
pub(crate) struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What an origin was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Every request's head, in order, with its bytes as they came.
    pub(crate) heads: Vec<String>,
    /// Connections that were opened.
    pub(crate) connections: usize,
    /// Connections that ended.
    pub(crate) ended: usize,
}

/// One connection to an origin, as its script sees it.
pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

impl Origin {
    /// An origin that runs `script` for each connection.
    pub(crate) fn scripted(script: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, script) = (Arc::clone(&seen), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                shared.lock().unwrap().connections += 1;
                thread::spawn(move || {
                    let mut line = Line { stream, read: Vec::new(), seen: Arc::clone(&shared) };
                    script(&mut line);
                    drop(line);
                    shared.lock().unwrap().ended += 1;
                });
            }
        });
        Self { address, seen }
    }

    /// An origin that answers every request with 200 and `ok`, reading bodies by their framing.
    pub(crate) fn plain() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// An origin that answers every request with these bytes.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::scripted(move |line| {
            while line.request().is_some() {
                line.send(answer);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was sent so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// The last request's head.
    pub(crate) fn last(&self) -> String {
        self.seen().heads.last().cloned().expect("the origin was asked nothing")
    }

    /// Waits until so many connections have ended.
    pub(crate) fn expect_ended(&self, count: usize) {
        eventually(&format!("{count} connections to the origin end"), || self.seen().ended >= count);
    }
}

impl Line {
    /// Reads one request, its body too; none where the connection ends first.
    pub(crate) fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Some((head, body))
    }

    /// Reads one request's head only.
    pub(crate) fn head(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        self.seen.lock().unwrap().heads.push(head.clone());
        Some(head)
    }

    /// Reads and forgets at most so many bytes, and gives how many. What is left unread when the connection ends makes of
    /// its end a reset.
    pub(crate) fn skip(&mut self, most: usize) -> usize {
        let unread = self.read.len().min(most);
        self.read.drain(..unread);
        if unread > 0 { unread } else { self.stream.read(&mut vec![0; most]).unwrap_or(0) }
    }

    /// Reads the body that follows this head.
    pub(crate) fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        if let Some(length) = value(head, "content-length") {
            let length: usize = length.parse().unwrap();
            while self.read.len() < length {
                self.more()?;
            }
            return Some(self.read.drain(..length).collect());
        }
        let mut body = Vec::new();
        if value(head, "transfer-encoding").is_some() {
            loop {
                let at = loop {
                    match self.read.windows(2).position(|window| window == b"\r\n") {
                        Some(at) => break at,
                        None => self.more()?,
                    }
                };
                let size = usize::from_str_radix(std::str::from_utf8(&self.read[..at]).unwrap(), 16).unwrap();
                while self.read.len() < at + 2 + size + 2 {
                    self.more()?;
                }
                self.read.drain(..at + 2);
                body.extend(self.read.drain(..size));
                self.read.drain(..2);
                if size == 0 {
                    break;
                }
            }
        }
        Some(body)
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        self.read.extend_from_slice(&bytes[..count]);
        Some(())
    }

    /// Sends bytes as they are; a connection that has ended takes none.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush());
    }

    /// Sends bytes; whether the other side still takes any.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// What came and was not read yet, without waiting for more.
    pub(crate) fn came(&mut self) -> Vec<u8> {
        self.stream.set_nonblocking(true).unwrap();
        while self.more().is_some() {}
        self.stream.set_nonblocking(false).unwrap();
        std::mem::take(&mut self.read)
    }

    /// Reads at least one byte and at most so many; none where the connection ends.
    pub(crate) fn some(&mut self, most: usize) -> Vec<u8> {
        if self.read.is_empty() {
            self.more();
        }
        self.read.drain(..self.read.len().min(most)).collect()
    }

    /// Sends no more, and goes on reading.
    pub(crate) fn shut(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Waits until the other side ends the connection.
    pub(crate) fn until_ended(&mut self) {
        while self.more().is_some() {}
    }
}

/// A header's value in a head, its name without regard to case.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    found.next()
}

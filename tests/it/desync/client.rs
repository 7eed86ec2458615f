//! Clients that send what they are told and read what comes, and call nothing an error but silence.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// HTTP/1.1 over TCP.
    Plain,
    /// The same, in segments of three bytes.
    Dripping,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 over TCP, agreed on beforehand.
    ClearHttp2,
}

/// A stream whose writing half can be ended.
pub(super) trait Duplex: Read + Write {
    fn finish(&mut self);
}

impl Duplex for TcpStream {
    fn finish(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Duplex for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

/// Connects; with `tls` over TLS.
pub(super) fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>, patience: Duration) -> Box<dyn Duplex> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    match tls {
        None => Box::new(stream),
        Some(tls) => {
            let session = ClientConnection::new(Arc::clone(tls), "api.test".try_into().unwrap()).unwrap();
            Box::new(StreamOwned::new(session, stream))
        }
    }
}

/// One client's connection.
pub(super) struct Client {
    stream: Box<dyn Duplex>,
    read: Vec<u8>,
    ended: bool,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The code of a refusal; else the body.
    pub(super) fn said(&self) -> String {
        let json: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let code = json.as_ref().and_then(|json| json["code"].as_str());
        code.map_or_else(|| String::from_utf8_lossy(&self.body).into_owned(), str::to_owned)
    }
}

impl Answer {
    pub(super) fn is_broken_off(&self) -> bool {
        self.body == BROKEN_OFF.as_bytes()
    }
}

impl Client {
    pub(super) fn over(stream: Box<dyn Duplex>) -> Self {
        Self { stream, read: Vec::new(), ended: false }
    }

    /// Sends bytes as they are. The other side may have had enough of them.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    pub(super) fn finish(&mut self) {
        self.stream.finish();
    }

    /// Reads on; false at the end, however it came.
    ///
    /// # Errors
    /// Where nothing comes.
    pub(super) fn more(&mut self) -> Result<bool, String> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(format!("nothing came after {:?}", String::from_utf8_lossy(&self.read)));
            }
            Err(_) => self.ended = true,
        }
        Ok(!self.ended)
    }

    /// What was read and not taken.
    pub(super) fn unread(&mut self) -> &mut Vec<u8> {
        &mut self.read
    }

    /// Everything up to the end.
    pub(super) fn rest(&mut self) -> Result<String, String> {
        while !self.ended && self.more()? {}
        Ok(String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned())
    }

    /// Reads the answer to a request of `method`; none where the connection ends instead.
    pub(super) fn answer(&mut self, method: &str) -> Result<Option<Answer>, String> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if self.ended || !self.more()? {
                return if self.read.is_empty() { Ok(None) } else { Err(format!("half an answer: {}", self.rest()?)) };
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        self.read.drain(..end);
        let status =
            head.split(' ').nth(1).and_then(|rest| rest.get(..3)).ok_or_else(|| format!("no answer: {head}"))?;
        let mut answer = Answer { status: status.to_owned(), body: Vec::new() };
        if method == "HEAD" || status.starts_with('1') || matches!(status, "204" | "304") {
            return Ok(Some(answer));
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = if field("transfer-encoding:").is_some() {
            self.chunks()
        } else if let Some(length) = field("content-length:") {
            let length = length.parse().map_err(|_| format!("an answer of length {length}"))?;
            self.take(length)
        } else {
            self.rest().map(String::into_bytes)
        };
        answer.body = match body {
            // A client sees that it is not whole.
            Err(_) if self.ended => {
                self.read.clear();
                BROKEN_OFF.into()
            }
            body => body?,
        };
        Ok(Some(answer))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("an answer's chunk of {line:?}"))?;
            body.extend(self.take(size)?);
            let behind = self.line()?;
            match (size, behind.as_str()) {
                (0, "") => return Ok(body),
                (_, "") => {}
                (_, behind) => return Err(format!("{behind:?} behind an answer's chunk")),
            }
        }
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = self.read.drain(..at + 2).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.more()? {
                return Err("an answer ended within its chunks".into());
            }
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.read.len() < count {
            if !self.more()? {
                return Err(format!("an answer ended {} bytes early", count - self.read.len()));
            }
        }
        Ok(self.read.drain(..count).collect())
    }
}

/// The body of an answer that was not whole.
const BROKEN_OFF: &str = "(broken off)";

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

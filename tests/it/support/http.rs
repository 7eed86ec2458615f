//! An HTTP/1.1 client without opinions: it sends the bytes it is given and reads the answer by its framing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer, its body whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands twice: {all:?}");
        all.first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `code` of a problem+json body.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One connection.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }
}

impl Wire {
    /// Another hold of the same connection, to send by.
    pub(crate) fn another(&self) -> Self {
        Self::over(self.stream.try_clone().unwrap())
    }

    /// Sends bytes; whether the other side still takes any.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes while the answer is read, as far as the other side takes them.
    pub(crate) fn send_meanwhile(&self, bytes: Vec<u8>) {
        let mut stream = self.stream.try_clone().unwrap();
        std::thread::spawn(move || stream.write_all(&bytes));
    }
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends a request without a body and reads its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(head(method, path, headers));
        self.answer(method)
    }

    /// GET with `Authorization: Token`.
    pub(crate) fn get(&mut self, path: &str, secret: &str) -> Answer {
        self.ask("GET", path, &[("Authorization", &format!("Token {secret}"))])
    }

    /// Reads the answer to a request of `method`.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let (status, headers) = self.head();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let chunked = answer.all("transfer-encoding").iter().any(|coding| coding.contains("chunked"));
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        if method == "HEAD" || matches!(status, 204 | 304) || (100..200).contains(&status) {
            return answer;
        }
        match (chunked, length) {
            (true, _) => {
                while let Some(chunk) = self.chunk() {
                    answer.body.extend(chunk)
                }
            }
            (false, Some(length)) => answer.body = self.take(length),
            (false, None) => {
                self.stream.read_to_end(&mut self.read).unwrap();
                answer.body = std::mem::take(&mut self.read);
            }
        }
        answer
    }

    /// Reads an answer's head, with its body still to come.
    pub(crate) fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            assert!(self.more(), "the connection ended within a head: {:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        self.read.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let split =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())).unwrap();
        (status, lines.map(split).collect())
    }

    /// The next chunk of a chunked body; none after the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        let chunk = self.take(size);
        if size > 0 {
            assert_eq!(self.line(), "");
            return Some(chunk);
        }
        while !self.line().is_empty() {}
        None
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8(self.read[..at].to_vec()).unwrap();
                self.read.drain(..at + 2);
                return line;
            }
            assert!(self.more(), "the connection ended within a line");
        }
    }

    /// Reads until the other side ends the connection, in whatever manner.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = [0; 64 * 1024];
        while let Some(count) = self.stream.read(&mut bytes).ok().filter(|count| *count > 0) {
            self.read.extend_from_slice(&bytes[..count]);
        }
        std::mem::take(&mut self.read)
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more(), "the connection ended {} bytes early", count - self.read.len());
        }
        self.read.drain(..count).collect()
    }

    fn more(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        let count = self.stream.read(&mut bytes).unwrap();
        self.read.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// Whether the other side has ended the connection, cleanly or not; waits for it.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut byte = [0; 1];
        self.read.is_empty() && self.stream.read(&mut byte).is_ok_and(|count| count == 0)
    }

    /// Whether the other side ends the connection, in whatever manner, without a further byte; waits for it.
    pub(crate) fn is_closed_unanswered(&mut self) -> bool {
        let ended = match self.stream.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        self.read.is_empty() && ended
    }
}

/// A request's head as text.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: api.test\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

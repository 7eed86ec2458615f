//! One HTTP/1.1 connection of a test that outlives what it connects to: whatever goes wrong is an error, and no panic.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
pub(super) struct Said {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Said {
    /// A number in its head.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        crate::support::origin::value(&self.head, name)?.parse().ok()
    }
}

/// A kept connection.
pub(super) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    pub(super) const fn over(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes()).await
    }

    /// Sends a request and reads the answer.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Said> {
        self.send(request).await?;
        let head = self.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, head.clone()))?;
        let mut said = Said { status, head, body: Vec::new() };
        let length = said.number("content-length").and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, said.head.clone()))?;
        while self.read.len() < length {
            self.more().await?;
        }
        said.body.extend(self.read.drain(..length));
        Ok(said)
    }

    /// Reads a head; none where the connection ends before it begins.
    pub(super) async fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(String::from_utf8_lossy(&self.read.drain(..at + 4).collect::<Vec<_>>()).into_owned()));
            }
            match self.more().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.read.is_empty() => return Ok(None),
                more => more?,
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes).await?;
        self.read.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

//! Requests over kept connections: all connections ask, then all answers are read, and so on. What a request costs is
//! then the same each time, since the gateway meets the same crowd each time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::keys::Key;

/// Requests of one kind.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    /// They take turns.
    pub(super) keys: &'a [Key],
    /// What every answer must have.
    pub(super) status: u16,
    /// Requests a connection.
    pub(super) rounds: u32,
}

/// Connections that ask together.
pub(super) const CONNECTIONS: u32 = 16;

/// Sends the loads one after the other, over the same connections.
pub(super) fn drive(address: SocketAddr, loads: &[Load<'_>]) -> io::Result<()> {
    let mut connections = (0..CONNECTIONS).map(|_| connect(address)).collect::<io::Result<Vec<_>>>()?;
    for load in loads {
        let mut keys = load.keys.iter().cycle();
        for _ in 0..load.rounds {
            for (connection, key) in connections.iter_mut().zip(keys.by_ref()) {
                connection.write_all(request(key).as_bytes())?;
            }
            for connection in &mut connections {
                let status = answer(connection)?;
                if status != load.status {
                    return Err(io::Error::other(format!("an answer is {status}, not {}", load.status)));
                }
            }
        }
    }
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn request(Key { secret, account }: &Key) -> String {
    format!(
        "GET /api/v2/accounts/{account}/items HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\
         User-Agent: bench-client/1.0\r\nAuthorization: Token {secret}\r\n\r\n"
    )
}

/// Reads one answer and gives its status.
fn answer(connection: &mut TcpStream) -> io::Result<u16> {
    let (head, mut body) = head(connection)?;
    let mut rest = length(&head).checked_sub(body.len()).ok_or(ErrorKind::InvalidData)?;
    while rest > 0 {
        body.resize(rest.min(8192), 0);
        let read = connection.read(&mut body)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        rest -= read;
    }
    head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Reads a message's head, and what came of its body with it.
pub(super) fn head(connection: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    loop {
        let read = connection.read(&mut part)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
    }
}

/// What the head says of the body's length; 0 where it says nothing.
fn length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

const PATIENCE: Duration = Duration::from_secs(60);

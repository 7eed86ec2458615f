//! The PROXY protocol: what a balancer says of its client before the client's own first byte, in one line of text (v1) or in
//! bytes (v2). <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>
//!
//! Whether a header comes is a matter of the listener; where one has to come, anything else ends the connection. `ppp` reads it,
//! but only once all of it is here: given a part, it takes some that are cut off for malformed, and some malformed ones for cut
//! off. So the end is found first, and no byte is read beyond it: what follows is left in the socket for TLS and HTTP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use ppp::v2::PROTOCOL_PREFIX as SIGNATURE;
use ppp::{v1, v2};
use tokio::net::TcpStream;

use super::conn::{Conn, Phase};
use crate::telemetry::label::{Closed, ParseError};
use crate::telemetry::metrics::Shard;

/// Whom a header tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The client that connected to the proxy.
    Client(SocketAddr),
    /// Nobody: the proxy speaks for itself (`LOCAL`), or for one whose address it does not know (`UNKNOWN`).
    Nobody,
}

/// Takes the header off `stream`, and nothing else.
pub(super) async fn header(stream: &TcpStream, conn: &Conn, metrics: &Shard) -> Result<Told, Closed> {
    conn.enter(Phase::First);
    let read = pin!(async {
        tokio::select! {
            read = read(stream, conn, metrics) => read,
            () = conn.left() => Err(Closed::Done),
        }
    });
    conn.run(read, |_| {}).await?
}

async fn read(stream: &TcpStream, conn: &Conn, metrics: &Shard) -> Result<Told, Closed> {
    let broken = |_: io::Error| Closed::Broken;
    let malformed = |why| {
        metrics.parse_error(why);
        Closed::Malformed
    };
    let mut header = [0; MOST];
    let mut have = 0;
    loop {
        let peeked = stream.peek(&mut header[have..]).await.map_err(broken)?;
        if peeked == 0 {
            // Who only looks whether we are here breaks nothing off.
            return Err(if have == 0 { Closed::Done } else { Closed::Broken });
        }
        let end = end_of(&header[..have + peeked]).map_err(malformed)?;
        // All that was seen, or as much of it as is the header's.
        let upto = end.map_or(have + peeked, |end| end.min(have + peeked));
        let taken = stream.try_read(&mut header[have..upto]).map_err(broken)?;
        conn.on_read(taken);
        have += taken;
        if end.is_some_and(|end| have >= end) {
            return told(&header[..have]).map_err(malformed);
        }
    }
}

/// Where the header that begins so ends; none where that is not known yet.
fn end_of(bytes: &[u8]) -> Result<Option<usize>, ParseError> {
    if begins(bytes, SIGNATURE) {
        let Some(length) = bytes.get(LENGTH_AT..FIXED) else { return Ok(None) };
        let end = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) + FIXED;
        return if end <= MOST { Ok(Some(end)) } else { Err(ParseError::ProxyHeaderTooLarge) };
    }
    if !begins(bytes, LINE_BEGINS) {
        return Err(ParseError::ProxyHeader);
    }
    match bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') {
        Some(at) => Ok(Some(at + 1)),
        None if bytes.len() < LONGEST_LINE => Ok(None),
        None => Err(ParseError::ProxyHeaderTooLarge),
    }
}

/// Whether one begins with the other, as far as both go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(one, other)| one == other)
}

/// What a whole header says.
fn told(header: &[u8]) -> Result<Told, ParseError> {
    let told = if header.starts_with(SIGNATURE) { binary(header) } else { line(header) };
    told.ok_or(ParseError::ProxyHeader)
}

fn binary(header: &[u8]) -> Option<Told> {
    // What follows is to be passed over (section 2.2), however it looks.
    if header.get(COMMAND_AT) == Some(&LOCAL) {
        return Some(Told::Nobody);
    }
    let header = v2::Header::try_from(header).ok()?;
    let stream = header.protocol == v2::Protocol::Stream;
    Some(match header.addresses {
        v2::Addresses::IPv4(of) if stream => client(of.source_address, of.source_port),
        v2::Addresses::IPv6(of) if stream => client(of.source_address, of.source_port),
        _ => Told::Nobody,
    })
}

fn line(header: &[u8]) -> Option<Told> {
    let line = v1::Header::try_from(header);
    let line = line.ok().filter(|line| line.header.len() == header.len())?;
    Some(match line.addresses {
        v1::Addresses::Tcp4(of) => client(of.source_address, of.source_port),
        v1::Addresses::Tcp6(of) => client(of.source_address, of.source_port),
        v1::Addresses::Unknown => Told::Nobody,
    })
}

fn client(address: impl Into<IpAddr>, port: u16) -> Told {
    Told::Client(SocketAddr::new(address.into(), port))
}

/// How a line begins.
const LINE_BEGINS: &[u8] = b"PROXY ";

/// Its longest, with its end (section 2.1).
const LONGEST_LINE: usize = 107;

/// The part of v2 that is always there: signature, version and command, family and protocol, length of the rest.
const FIXED: usize = 16;
const COMMAND_AT: usize = 12;
const LENGTH_AT: usize = 14;

/// Version 2, and the proxy speaks for itself.
const LOCAL: u8 = 0x20;

/// The length could say 64 KiB. Addresses are 216 bytes at most, and what else balancers add comes to some hundreds.
const MOST: usize = FIXED + 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads the header that `bytes` begin with, by its end.
    fn read(bytes: &[u8]) -> Result<(Told, usize), ParseError> {
        let end = end_of(bytes)?.filter(|end| *end <= bytes.len()).expect("a whole header");
        Ok((told(&bytes[..end])?, end))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn of(address: &str) -> Told {
        Told::Client(address.parse().unwrap())
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    #[test]
    fn a_line_tells_of_its_client() {
        for (line, told) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", of("192.0.2.7:4711")),
            ("PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", of("[2001:db8::7]:4711")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n", of("[::ffff:192.0.2.7]:4711")),
            ("PROXY UNKNOWN\r\n", Told::Nobody),
            ("PROXY UNKNOWN 2001:db8::7 ::1 4711 80\r\n", Told::Nobody),
        ] {
            let behind = format!("{line}PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n");
            assert_eq!(read(behind.as_bytes()), Ok((told, line.len())), "{line}");
        }
    }

    #[test]
    fn bytes_tell_of_their_client() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        for (header, told) in [
            (v2(0x21, 0x11, &V4), of("192.0.2.7:4711")),
            // What else is said is passed over, and need not be well-formed.
            (v2(0x21, 0x11, &[&V4[..], &[4, 0, 1, 42, 0xff]].concat()), of("192.0.2.7:4711")),
            (v2(0x21, 0x11, &[&V4[..], &[0; 2048 - 12]].concat()), of("192.0.2.7:4711")),
            (v2(0x21, 0x21, &v6), of("[2001:db8::7]:4711")),
            // The proxy's own, whatever family and addresses it comes with.
            (v2(0x20, 0x00, &[]), Told::Nobody),
            (v2(0x20, 0x11, &V4), Told::Nobody),
            (v2(0x20, 0xff, &[1]), Told::Nobody),
            // No address, a socket's path, a datagram.
            (v2(0x21, 0x00, &[]), Told::Nobody),
            (v2(0x21, 0x31, &[0; 216]), Told::Nobody),
            (v2(0x21, 0x12, &V4), Told::Nobody),
        ] {
            let behind = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&behind), Ok((told, header.len())), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_none_as_soon_as_that_is_known() {
        for begins in ["G", "\n", "\r\n\r\n\0\r\nQUIX", "PROXY\t", "PROXYS", "proxy "] {
            assert_eq!(end_of(begins.as_bytes()), Err(ParseError::ProxyHeader), "{begins:?}");
        }
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\rX\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 80 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 2001:db8::7 ::1 4711 80\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 4711 80\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 192.0.2.7\0 10.0.0.1 4711 80\r\n",
            "PROXY UNKNOWN",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
        ] {
            let line = if line.ends_with('\n') { line.to_owned() } else { format!("{line}\n") };
            assert_eq!(read(line.as_bytes()), Err(ParseError::ProxyHeader), "{line:?}");
        }
        for header in
            [v2(0x11, 0x11, &V4), v2(0x22, 0x11, &V4), v2(0x21, 0x41, &V4), v2(0x21, 0x21, &V4), v2(0x21, 0x13, &V4)]
        {
            assert_eq!(read(&header), Err(ParseError::ProxyHeader), "{header:?}");
        }
    }

    #[test]
    fn a_header_is_bounded_before_it_is_here() {
        let line = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_LINE));
        assert_eq!(end_of(&line.as_bytes()[..LONGEST_LINE - 1]), Ok(None));
        assert_eq!(end_of(&line.as_bytes()[..LONGEST_LINE]), Err(ParseError::ProxyHeaderTooLarge));
        let longest = [SIGNATURE, &[0x21, 0x11], &2048_u16.to_be_bytes()].concat();
        assert_eq!(end_of(&longest), Ok(Some(MOST)));
        let longer = [SIGNATURE, &[0x21, 0x11], &2049_u16.to_be_bytes()].concat();
        assert_eq!(end_of(&longer), Err(ParseError::ProxyHeaderTooLarge));
    }

    proptest! {
        #[test]
        fn an_end_is_the_same_however_much_of_it_is_here(
            head in prop_oneof![Just(b"PROXY ".to_vec()), Just(SIGNATURE.to_vec()), Just(Vec::new())],
            rest in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), any::<u8>()], 0..130),
        ) {
            let bytes = [head, rest].concat();
            let whole = end_of(&bytes);
            for cut in 0..bytes.len() {
                let part = end_of(&bytes[..cut]);
                prop_assert!(part == Ok(None) || part == whole, "{:?} of {:?}", part, whole);
            }
            if let Ok(Some(end)) = whole {
                prop_assert!((1..=MOST).contains(&end));
                // Whatever it is, it is read or refused.
                let _ = told(&bytes[..end.min(bytes.len())]);
            }
        }
    }
}

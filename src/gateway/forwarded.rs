//! What proxies in front say of whom they forward for, each hop read from the right end: there stands what the nearest
//! proxy wrote, and whatever a client put before it cannot change how it is read.
//!
//! ```text
//!  X-Forwarded-For: 203.0.113.9, 198.51.100.1:4711, [2001:db8::1]     addresses; the port is not kept
//!  Forwarded: for=_hidden, for="[2001:db8::1]:443";proto=https        RFC 7239
//! ```
//!
//! `unknown`, an obfuscated name (`_hidden`) and whatever is no address are hops that tell nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, header};

use crate::net::config::ClientHeader;

/// What one hop says of whoever connected to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// The address it was connected from.
    pub(super) address: IpAddr,
    /// Whether that connection was TLS, where it says so.
    pub(super) secure: Option<bool>,
}

/// The hops that `said` tells of, the nearest first; nothing for one that does not tell.
pub(super) fn hops(headers: &HeaderMap, said: ClientHeader) -> impl Iterator<Item = Option<Hop>> {
    let name = match said {
        ClientHeader::XForwardedFor => X_FORWARDED_FOR,
        ClientHeader::Forwarded => header::FORWARDED,
    };
    let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let elements = lines.flat_map(move |line| Elements { rest: Some(line), quotes: said == ClientHeader::Forwarded });
    elements.map(move |element| match said {
        ClientHeader::XForwardedFor => of_chain(element),
        ClientHeader::Forwarded => of_element(element),
    })
}

/// The members of a list from its right end, without blanks around them and without empty ones (RFC 9110, 5.6.1).
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    /// Whether a comma between quotes is none.
    quotes: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let comma = last_outside(rest, b',', self.quotes);
            self.rest = comma.map(|at| &rest[..at]);
            let element = blanks_off(&rest[comma.map_or(0, |at| at + 1)..]);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Where the last `mark` stands that is not between quotes. Seen from the right, so an opening quote that is never
/// closed spoils its own element and those before it, and none behind.
fn last_outside(text: &[u8], mark: u8, quotes: bool) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' if quotes && !(quoted && is_escaped(text, at)) => quoted = !quoted,
            byte if *byte == mark && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether an odd number of backslashes stands before `at`.
fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// `address`, `address:port`, and IPv6 in brackets or without where no port follows.
fn of_chain(text: &[u8]) -> Option<Hop> {
    let text = str::from_utf8(text).ok()?;
    let address = match text.parse::<Ipv6Addr>() {
        Ok(address) => IpAddr::V6(address),
        Err(_) => node(text)?,
    };
    Some(Hop { address: address.to_canonical(), secure: None })
}

/// One `forwarded-element` (RFC 7239, 4): pairs between semicolons, no name twice. Blanks around a semicolon are let pass.
fn of_element(text: &[u8]) -> Option<Hop> {
    let (mut by_for, mut by_proto, mut names) = (None, None, Vec::new());
    let mut rest = Some(text);
    while let Some(pairs) = rest {
        let semicolon = last_outside(pairs, b';', true);
        rest = semicolon.map(|at| &pairs[..at]);
        let pair = blanks_off(&pairs[semicolon.map_or(0, |at| at + 1)..]);
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
        let name = str::from_utf8(name).ok().filter(|name| is_token(name.as_bytes()))?.to_ascii_lowercase();
        match name.as_str() {
            "for" => by_for = Some(value),
            "proto" => by_proto = Some(value),
            _ => {}
        }
        if names.len() == PAIRS || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    let address = node(str::from_utf8(&by_for?).ok()?)?;
    let secure = match by_proto.map(|proto| proto.to_ascii_lowercase()).as_deref() {
        Some(b"https") => Some(true),
        Some(b"http") => Some(false),
        _ => None,
    };
    Some(Hop { address: address.to_canonical(), secure })
}

/// `nodename [":" node-port]` (RFC 7239, 6) where the name is an address.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (address, port) = text.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (IpAddr::V4(text[..end].parse::<Ipv4Addr>().ok()?), &text[end..])
        }
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address)
}

/// One to five digits, or an obfuscated port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// A token as it is, or what a quoted string says (RFC 9110, 5.6.4).
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inside) = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) else {
        return is_token(value).then(|| value.to_vec());
    };
    let mut text = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
    Some(text)
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Without the spaces and tabs around, and no other byte that some program takes for a blank.
fn blanks_off(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// RFC 7239 knows four, and nobody is made to compare thousands.
const PAIRS: usize = 16;

const X_FORWARDED_FOR: header::HeaderName = header::HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: ClientHeader, lines: &[&str]) -> Vec<Option<String>> {
        let name = if said == ClientHeader::Forwarded { "forwarded" } else { "x-forwarded-for" };
        let headers: HeaderMap = lines.iter().map(|line| (name.parse().unwrap(), line.parse().unwrap())).collect();
        let shown = |hop: Hop| {
            let scheme = hop.secure.map_or("", |secure| if secure { " https" } else { " http" });
            format!("{}{scheme}", hop.address)
        };
        hops(&headers, said).map(|hop| hop.map(shown)).collect()
    }

    #[test]
    fn a_chain_is_addresses_from_the_right() {
        for (lines, told) in [
            (&["192.0.2.1, 198.51.100.1"][..], &[Some("198.51.100.1"), Some("192.0.2.1")][..]),
            (&["192.0.2.1", "198.51.100.1"], &[Some("198.51.100.1"), Some("192.0.2.1")]),
            (&["192.0.2.1:80,\t192.0.2.2:_port ,"], &[Some("192.0.2.2"), Some("192.0.2.1")]),
            (
                &["2001:db8::1, [2001:db8::2], [2001:db8::3]:443"],
                &[Some("2001:db8::3"), Some("2001:db8::2"), Some("2001:db8::1")],
            ),
            (&["::ffff:192.0.2.1"], &[Some("192.0.2.1")]),
            (&["192.0.2.1,,  , unknown"], &[None, Some("192.0.2.1")]),
            (&["_hidden", "\"192.0.2.1\"", "192.0.2.01", "192.0.2.1:", "192.0.2.1:999999"], &[None; 5]),
            (
                &["[2001:db8::1", "2001:db8::1]:1", "[192.0.2.1]", "[fe80::1%1]:80", "a.example", "192.0.2.1 x"],
                &[None; 6],
            ),
            (&["", ","], &[]),
        ] {
            let told: Vec<_> = told.iter().map(|hop| hop.map(str::to_owned)).collect();
            assert_eq!(read(ClientHeader::XForwardedFor, lines), told, "{lines:?}");
        }
        // Blanks are spaces and tabs; whatever else is trimmed somewhere is part of the hop, which is none then.
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_bytes(b"192.0.2.1\xc2\xa0").unwrap())]);
        assert_eq!(hops(&headers, ClientHeader::XForwardedFor).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn an_element_is_read_as_rfc_7239_writes_it() {
        for (lines, told) in [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], &[Some("192.0.2.60 http")][..]),
            (&["For=\"[2001:db8:cafe::17]:4711\""], &[Some("2001:db8:cafe::17")]),
            (&["for=192.0.2.43, FOR=198.51.100.17;Proto=HTTPS"], &[Some("198.51.100.17 https"), Some("192.0.2.43")]),
            (&["for=192.0.2.43", "for=\"198.51.100.17:_x\" ; proto=ws"], &[Some("198.51.100.17"), Some("192.0.2.43")]),
            (&["for=unknown, for=_SEVKISEK, for=\"_gazonk:80\""], &[None; 3]),
            (&["proto=https;by=_x"], &[None]),
            (&["for=\"192\\.0.2.1\";host=\"a,b;c\\\"d\""], &[Some("192.0.2.1")]),
            (&["for=192.0.2.1;for=192.0.2.2", "for=192.0.2.1;x=1;X=2"], &[None, None]),
            (
                &["for=[2001:db8::1]", "for=192.0.2.1:80", "for=\"2001:db8::1\"", "for =192.0.2.1", "for= 192.0.2.1"],
                &[None; 5],
            ),
            (
                &["192.0.2.1", "for=\"192.0.2.1", "for=192.0.2.1\"", "=192.0.2.1", "for=", "for=\"192.0.2.1\"x"],
                &[None; 6],
            ),
            (&["for=192.0.2.1;", ";for=192.0.2.2;;proto=http"], &[Some("192.0.2.2 http"), Some("192.0.2.1")]),
        ] {
            let told: Vec<_> = told.iter().map(|hop| hop.map(str::to_owned)).collect();
            assert_eq!(read(ClientHeader::Forwarded, lines), told, "{lines:?}");
        }
    }

    #[test]
    fn what_a_client_left_open_does_not_swallow_what_a_proxy_wrote_behind_it() {
        for begun in ["for=\"", "for=\"\\", "for=\"x, for=\"y\\\"", "for=1.2.3.4;x=\"", "\\", "\"\"\""] {
            let line = format!("{begun}, for=198.51.100.1;proto=https");
            let told = read(ClientHeader::Forwarded, &[&line]);
            assert_eq!(told[0].as_deref(), Some("198.51.100.1 https"), "{line}");
        }
    }
}

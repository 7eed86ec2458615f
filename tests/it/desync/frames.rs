//! HTTP/2 byte by byte: frames are written as they are told, and of what comes back only what a verdict needs is read.

use std::collections::BTreeMap;

use super::case::Keys;
use super::client::{Answer, Client};

/// A frame to send. Field values may hold the marks of [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// HEADERS that end the request.
    Ask(u32, &'static [Field]),
    /// HEADERS with a body to come.
    Head(u32, &'static [Field]),
    /// DATA.
    Data(u32, &'static [u8]),
    /// DATA that ends the request.
    Last(u32, &'static [u8]),
    /// HEADERS, then CONTINUATION with the rest, cut after so many bytes.
    Split(u32, &'static [Field], usize),
    /// Any type, flags, stream and payload.
    Other(u8, u8, u32, &'static [u8]),
    /// HEADERS with a block as it is, flags and all.
    Block(u32, u8, &'static [u8]),
}

/// A field's name and value.
pub(super) type Field = (&'static str, &'static str);

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// SETTINGS with a header table of nothing, so that answers need no memory to be read.
const SETTINGS: &[u8] = &[0, 1, 0, 0, 0, 0];

impl Frame {
    pub(super) fn bytes(&self, keys: &Keys) -> Vec<u8> {
        match *self {
            Self::Ask(stream, fields) => frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields, keys)),
            Self::Head(stream, fields) => frame(HEADERS, END_HEADERS, stream, &block(fields, keys)),
            Self::Data(stream, data) => frame(DATA, 0, stream, data),
            Self::Last(stream, data) => frame(DATA, END_STREAM, stream, data),
            Self::Split(stream, fields, at) => {
                let block = block(fields, keys);
                let (first, rest) = block.split_at(at);
                [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
            }
            Self::Other(kind, flags, stream, payload) => frame(kind, flags, stream, payload),
            Self::Block(stream, flags, block) => frame(HEADERS, flags, stream, &keys.fill(block)),
        }
    }
}

/// The preface and our settings.
pub(super) fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTING, 0, 0, SETTINGS)].concat()
}

/// HEADERS and, where there is a body, DATA.
pub(super) fn request(stream: u32, fields: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let end = if body.is_empty() { END_STREAM } else { 0 };
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect();
    let head = frame(HEADERS, END_HEADERS | end, stream, &block);
    if body.is_empty() { head } else { [head, frame(DATA, END_STREAM, stream, body)].concat() }
}

fn block(fields: &[Field], keys: &Keys) -> Vec<u8> {
    let literal = |(name, value): &Field| literal(name.as_bytes(), &keys.fill(value.as_bytes()));
    fields.iter().flat_map(literal).collect()
}

/// A literal field without indexing, its name new, nothing Huffman-coded (RFC 7541, 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(&mut bytes, text.len());
        bytes.extend_from_slice(text);
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn integer(bytes: &mut Vec<u8>, number: usize) {
    let low = |number: usize| u8::try_from(number & 0x7f).unwrap();
    if number < 127 {
        return bytes.push(low(number));
    }
    bytes.push(127);
    let mut left = number - 127;
    while left > 127 {
        bytes.push(low(left) | 0x80);
        left >>= 7;
    }
    bytes.push(low(left));
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What came back on one connection.
#[derive(Default)]
pub(super) struct Streams {
    /// Answers that are whole; `reset` is a status.
    pub(super) whole: BTreeMap<u32, Answer>,
    partial: BTreeMap<u32, Answer>,
    /// The connection is over.
    pub(super) gone: bool,
}

impl Streams {
    /// Reads until `count` streams have their answers or the connection is over.
    pub(super) fn read(&mut self, client: &mut Client, count: usize) -> Result<(), String> {
        while self.whole.len() < count && !self.gone {
            while client.unread().len() < 9 {
                if !client.more()? {
                    self.gone = true;
                    return Ok(());
                }
            }
            let head = client.take(9)?;
            let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let payload = client.take(number(&head[..3]) as usize)?;
            self.on(client, head[3], head[4], number(&head[5..]), &payload)?;
        }
        Ok(())
    }

    fn on(&mut self, client: &mut Client, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), String> {
        match kind {
            HEADERS => {
                let answer = self.partial.entry(stream).or_default();
                // Trailers and whatever else follows have no status.
                if answer.status.is_empty() {
                    answer.status =
                        status(payload).ok_or_else(|| format!("an answer without a status: {payload:?}"))?;
                }
            }
            DATA => self.partial.entry(stream).or_default().body.extend_from_slice(payload),
            RESET => {
                let answer = self.partial.remove(&stream).unwrap_or_default();
                // NO_ERROR after a whole answer only says that the rest of the request is not wanted.
                self.whole.entry(stream).or_insert_with(|| Answer { status: "reset".into(), ..answer });
            }
            SETTING if flags & ACK == 0 => client.send(&frame(SETTING, ACK, 0, &[])),
            PING if flags & ACK == 0 => client.send(&frame(PING, ACK, 0, payload)),
            GOAWAY => self.gone = true,
            _ => {}
        }
        if matches!(kind, HEADERS | DATA)
            && flags & END_STREAM != 0
            && let Some(answer) = self.partial.remove(&stream)
        {
            self.whole.insert(stream, answer);
        }
        Ok(())
    }
}

/// The status, which stands first in a block. Its name is always in the static table, its value is there too or three
/// Huffman-coded digits.
fn status(mut block: &[u8]) -> Option<String> {
    while block.first()? & 0xe0 == 0x20 {
        block = &block[1..];
    }
    if let Some(at @ 0x88..=0x8e) = block.first() {
        return Some(["200", "204", "206", "304", "400", "404", "500"][usize::from(at - 0x88)].into());
    }
    let (coded, length) = (block.get(1)? & 0x80 != 0, usize::from(block.get(1)? & 0x7f));
    let value = block.get(2..2 + length)?;
    if !coded {
        return String::from_utf8(value.to_vec()).ok();
    }
    let mut bits = value.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect::<Vec<_>>();
    bits.resize(18, 1);
    let (mut at, mut digits) = (0, String::new());
    while digits.len() < 3 {
        let take = |count: usize| bits[at..at + count].iter().fold(0, |code, bit| code << 1 | u32::from(*bit));
        // `0`, `1` and `2` have five bits; `3` to `9` are six, from 011001 (RFC 7541, appendix B).
        let (digit, count) = if take(5) < 3 { (take(5), 5) } else { (take(6).checked_sub(0x19)? + 3, 6) };
        digits.push(char::from_digit(digit, 10)?);
        at += count;
    }
    Some(digits)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTING: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

#[test]
fn a_status_is_read_in_every_form() {
    for (block, read) in [
        (&[0x88][..], "200"),
        (&[0x20, 0x8c], "400"),
        (&[0x08, 0x03, b'5', b'0', b'2'], "502"),
        (&[0x48, 0x82, 0x68, 0x01], "401"),
        (&[0x08, 0x83, 0x68, 0x0c, 0xff], "403"),
    ] {
        assert_eq!(status(block).as_deref(), Some(read), "{block:?}");
    }
}

//! What holds for any request: the properties that tests and fuzz targets put to the gateway's readers.
//!
//! Each compares a reader with a second, slower reading of the same text that shares no code with it, or with what must
//! follow from its answer. Inputs are lines; each property tells what its lines are.

mod canonical;
mod client;
mod headers;
mod route;

pub use self::canonical::canonical;
pub use self::client::client;
pub use self::headers::headers;
pub use self::route::route;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The lines of an input, with nothing for those it lacks.
fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == b'\n').chain(std::iter::repeat(&b""[..]))
}

/// A line as text, or nothing where it is none.
fn text(line: &[u8]) -> &str {
    str::from_utf8(line).unwrap_or_default()
}

/// Lines of `name: value` as headers; what could not have come over the wire is left out.
fn head<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
    let line = |line: &'a [u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    lines.into_iter().filter_map(line).collect()
}

/// Escapes undone, once: every `%` with two hexadecimal digits behind it is the byte they name.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(high << 4 | low));
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// Escapes undone until there are none.
fn unescaped_wholly(text: &[u8]) -> Vec<u8> {
    let next = unescaped(text);
    if next == text { next } else { unescaped_wholly(&next) }
}

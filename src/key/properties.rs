//! What holds for the text form of a secret, whatever is presented as one.

use std::convert::Infallible;

use super::token::{Prefix, Shape, mint, shape};

/// Any bytes have the shape that a second reading finds, and no character of a minted secret's body can be another.
///
/// The whole input is presented. Its first line is the prefix of what is minted, where it is one; the last two bytes
/// choose the character that is changed and what it becomes.
pub fn token(input: &[u8]) {
    assert_eq!(shape(input), read_again(input));
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(Ok(prefix)) = str::from_utf8(line).map(str::parse::<Prefix>) else { return };
    let Ok((secret, imprint)) = mint(&prefix, seeded(input));
    let text = secret.expose();
    let Shape::Ours { prefix: found, kid, intact: true } = shape(text) else { panic!("what is minted is ours") };
    assert_eq!((found, Some(kid)), (prefix.as_str(), imprint.kid.as_deref()));
    assert_eq!(shape(text), read_again(text));

    let [.., place, other] = *input else { return };
    let at = prefix.as_str().len() + 1 + usize::from(place) % BODY;
    let mut changed = text.to_vec();
    changed[at] = other;
    match shape(&changed) {
        Shape::Ours { intact, .. } => assert_eq!(intact, changed == text, "byte {at} of a secret became {other}"),
        Shape::Foreign => assert!(!other.is_ascii_alphanumeric()),
    }
}

/// The form as the documentation of `token` tells it, read from the other end.
fn read_again(presented: &[u8]) -> Shape<'_> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9'));
    let read = |text: &'_ str| -> bool {
        text.len() <= 24 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.splitn(2, '_').all(is_word)
    };
    let Some((prefix, body)) = str::from_utf8(presented).ok().and_then(|text| text.rsplit_once('_')) else {
        return Shape::Foreign;
    };
    if !read(prefix) || body.len() != BODY || !body.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Shape::Foreign;
    }
    let sum = body[44..].chars().fold(0_u64, |sum, digit| sum * 62 + base62(digit));
    Shape::Ours { prefix, kid: &body[..12], intact: sum == u64::from(crc32(&body.as_bytes()[..44])) }
}

fn base62(digit: char) -> u64 {
    let digits = ('0'..='9').chain('A'..='Z').chain('a'..='z');
    digits.zip(0..).find(|(known, _)| *known == digit).map_or(62, |(_, value)| value)
}

/// CRC-32 (IEEE 802.3) bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Bytes that look random and follow from `input` alone.
fn seeded(input: &[u8]) -> impl FnMut(&mut [u8]) -> Result<(), Infallible> {
    let mut state = u64::from(crc32(input)) | 1 << 32;
    move |bytes| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[4];
        }
        Ok(())
    }
}

/// Kid, secret and checksum.
const BODY: usize = 50;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_have_one_shape(input in proptest::collection::vec(any::<u8>(), 0..120)) {
            token(&input);
        }

        #[test]
        fn what_looks_like_a_secret_has_one_shape(
            input in "[a-z][a-z0-9]{0,30}(_[a-z0-9_]{0,8})?_[0-9A-Za-z]{49,51}[0-9A-Za-z_\u{e9}\n-]?",
        ) {
            token(input.as_bytes());
        }

        #[test]
        fn no_character_of_a_secret_can_be_another(prefix in "[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8})?", place: u8, other: u8) {
            token(&[prefix.as_bytes(), b"\n", &[place, other]].concat());
        }
    }
}

//! Ids in the form that clients of this API know: UUIDs.
//!
//! Behind `key_` an id of ours has sixteen characters of base 62, which are a number below 2^96. It stands in a UUID of version 8
//! (RFC 9562, 5.8), the version for one's own use, so that each can be had from the other. Any other id stands for itself, and
//! everyone may name a key by the id it has elsewhere.
//!
//! ```text
//!  key_4fTq...   number: 60 high bits, 36 low bits
//!  hhhhhhhh-hhhh-8hhh-8000-000lllllllll
//! ```

use crate::key::KeyId;

/// How a key's id is shown.
pub(super) fn shown(id: &KeyId) -> String {
    let Some(number) = number(id.as_str()) else { return id.to_string() };
    let (high, low) = (number >> LOW, number & ((1 << LOW) - 1));
    format!("{:08x}-{:04x}-8{:03x}-8000-{low:012x}", high >> 28, (high >> 12) & 0xffff, high & 0xfff)
}

/// The key that is named so.
pub(super) fn read(text: &str) -> Option<KeyId> {
    match uuid(&text.to_ascii_lowercase()) {
        Some(number) => format!("{STEM}{}", digits(number)?).parse().ok(),
        None => text.parse().ok(),
    }
}

fn number(id: &str) -> Option<u128> {
    let digits = id.strip_prefix(STEM).filter(|digits| digits.len() == DIGITS)?;
    let value = |digit: u8| ALPHABET.iter().position(|known| *known == digit);
    digits.bytes().try_fold(0_u128, |number, digit| Some(number * 62 + value(digit)? as u128))
}

/// None where it is more than so many digits can say.
fn digits(mut number: u128) -> Option<String> {
    let mut digits = [0; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    (number == 0).then(|| digits.map(char::from).iter().collect())
}

fn uuid(text: &str) -> Option<u128> {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next()?;
        let plain = part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u128::from_str_radix(part, 16).ok())?
    };
    let (first, second, third, fourth, last) = (hex(8)?, hex(4)?, hex(4)?, hex(4)?, hex(12)?);
    let ours = parts.next().is_none() && third >> 12 == 8 && fourth == 0x8000 && last >> LOW == 0;
    ours.then_some((first << 28 | second << 12 | (third & 0xfff)) << LOW | last)
}

const STEM: &str = "key_";
const DIGITS: usize = 16;
const LOW: u32 = 36;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_of_ours_is_a_uuid_and_any_other_is_itself() {
        for (id, uuid) in [
            ("key_0000000000000000", "00000000-0000-8000-8000-000000000000"),
            ("key_000000000000000z", "00000000-0000-8000-8000-00000000003d"),
            ("key_zzzzzzzzzzzzzzzz", "9a09afba-e830-850a-8000-0009de00ffff"),
        ] {
            let id: KeyId = id.parse().unwrap();
            assert_eq!((shown(&id).as_str(), read(uuid)), (uuid, Some(id.clone())));
            assert_eq!((read(&uuid.to_uppercase()), read(id.as_str())), (Some(id.clone()), Some(id)));
        }
        let other: KeyId = "key_1".parse().unwrap();
        assert_eq!((shown(&other).as_str(), read("key_1")), ("key_1", Some(other)));
    }

    #[test]
    fn a_uuid_that_is_none_of_ours_names_no_key_of_ours() {
        for uuid in [
            "00000000-0000-4000-8000-000000000000",
            "00000000-0000-8000-9000-000000000000",
            "00000000-0000-8000-8000-100000000000",
            "00000000-0000-8000-8000-0000000000",
            "+0000000-0000-8000-8000-000000000000",
            "00000000-0000-8000-8000-000000000000-0",
        ] {
            assert!(read(uuid).is_none_or(|id| !id.as_str().starts_with(STEM)), "{uuid}");
        }
        assert_eq!(read("ffffffff-ffff-8fff-8000-000fffffffff"), None, "more than sixteen digits say");
    }

    proptest! {
        #[test]
        fn each_can_be_had_from_the_other(id in "key_[0-9A-Za-z]{16}") {
            let id: KeyId = id.parse().unwrap();
            let uuid = shown(&id);
            prop_assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'8'));
            prop_assert_eq!(read(&uuid), Some(id));
        }
    }
}

//! The text form of a secret: `<prefix>_<kid:12><secret:32><checksum:6>`, base62.
//!
//! ```text
//!  kw_live_0123456789AB0123456789ABCDEFGHIJKLMNOPQRSTUVabcdef
//!  '-----' '----------''------------------------------''----'
//!  prefix  kid         190 bits of secret              CRC-32 of kid and secret
//! ```
//!
//! The kid is for people, logs and leak reports; nothing is found by it. The checksum (IEEE CRC-32 in six base62
//! digits, the prefix left out, as GitHub's scanners compute it) stops typing errors, not attackers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::record::Imprint;
use crate::secret::Secret;

/// What stands before the last underscore of a secret: an issuer's or a dialect's mark, such as `kw_live` or `uspl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// The text, without the underscore that follows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        if is_prefix(text) { Ok(Self(text.into())) } else { Err(BadPrefix) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix is lower-case letters and digits, begins with a letter, has at most one underscore inside and 24 characters"
)]
pub struct BadPrefix;

/// What a presented secret looks like, before anything is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// It has our form.
    Ours {
        /// What stands before the body.
        prefix: &'a str,
        /// The public twelve characters that name it.
        kid: &'a str,
        /// Whether the checksum holds.
        intact: bool,
    },
    /// Any other text; it can only be a key adopted by import.
    Foreign,
}

/// Reads the form of `secret` without looking anything up.
#[must_use]
pub fn shape(secret: &[u8]) -> Shape<'_> {
    let Some(at) = secret.len().checked_sub(BODY + 1) else { return Shape::Foreign };
    let (prefix, rest) = secret.split_at(at);
    let (Ok(prefix), Ok(body)) = (std::str::from_utf8(prefix), std::str::from_utf8(&rest[1..])) else {
        return Shape::Foreign;
    };
    if rest[0] != b'_' || !is_prefix(prefix) || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Shape::Foreign;
    }
    let (signed, sum) = body.split_at(BODY - CHECKSUM);
    Shape::Ours { prefix, kid: &body[..KID], intact: checksum(signed.as_bytes()) == sum.as_bytes() }
}

/// Makes a new secret under `prefix` from `random` bytes, and what may be kept of it.
///
/// `random` fills its argument from a cryptographic source; its error is handed on.
///
/// # Errors
/// What `random` answers when it cannot fill its argument.
pub fn mint<E>(prefix: &Prefix, mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(Secret, Imprint), E> {
    let mut text = Zeroizing::new(Vec::with_capacity(prefix.0.len() + 1 + BODY));
    text.extend_from_slice(prefix.0.as_bytes());
    text.push(b'_');
    let body = text.len();
    base62(&mut text, BODY - CHECKSUM, &mut random)?;
    let sum = checksum(&text[body..]);
    text.extend_from_slice(&sum);
    let secret = Secret::new(&text);
    let imprint = Imprint::of(&secret);
    Ok((secret, imprint))
}

/// `length` random base62 characters after `stem`, for ids that are no secret.
///
/// # Errors
/// What `random` answers when it cannot fill its argument.
pub fn random_id<E>(
    stem: &str,
    length: usize,
    mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<String, E> {
    let mut text = stem.as_bytes().to_vec();
    base62(&mut text, length, &mut random)?;
    Ok(text.into_iter().map(char::from).collect())
}

/// Appends `count` base62 characters by rejection sampling: a modulo over 256 would favour the first eight.
fn base62<E>(text: &mut Vec<u8>, count: usize, random: &mut impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
    const FAIR: u8 = 62 * 4;
    let mut bytes = Zeroizing::new([0_u8; 64]);
    let full = text.len() + count;
    while text.len() < full {
        random(&mut bytes[..])?;
        let wanted = full - text.len();
        let fair = bytes.iter().filter(|byte| **byte < FAIR).take(wanted);
        text.extend(fair.map(|byte| ALPHABET[usize::from(byte % 62)]));
    }
    Ok(())
}

fn checksum(signed: &[u8]) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(signed);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

fn is_prefix(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let (first, second) = text.split_once('_').map_or((text, None), |(first, second)| (first, Some(second)));
    text.len() <= 24 && text.starts_with(|c: char| c.is_ascii_lowercase()) && word(first) && second.is_none_or(word)
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KID: usize = 12;
const CHECKSUM: usize = 6;
/// Everything after the prefix and its underscore.
const BODY: usize = KID + 32 + CHECKSUM;
/// No secret of ours is shorter: a prefix of one letter, an underscore and the body.
pub const SHORTEST: usize = 1 + 1 + BODY;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) -> Result<(), Infallible> {
        let mut next = 0_u8;
        move |bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(37);
            }
            Ok(())
        }
    }

    #[test]
    fn the_published_vector_holds() {
        let signed = format!("{}{}", "0".repeat(12), "a".repeat(32));
        assert_eq!(&checksum(signed.as_bytes()), b"4AlRon");
    }

    #[test]
    fn a_minted_secret_has_our_shape_and_an_intact_checksum() {
        for prefix in ["kw_live", "uspl", "dbtu"] {
            let (secret, imprint) = mint(&prefix.parse().unwrap(), counting()).unwrap();
            let Shape::Ours { prefix: found, kid, intact: true } = shape(secret.expose()) else { panic!("{prefix}") };
            assert_eq!((found, Some(kid)), (prefix, imprint.kid.as_deref()));
            assert!(secret.expose_str().unwrap().ends_with(&imprint.hint));
        }
    }

    #[test]
    fn one_changed_character_breaks_the_checksum() {
        let (secret, _) = mint(&"kw_live".parse().unwrap(), counting()).unwrap();
        for at in 8..secret.expose().len() {
            let mut text = secret.expose().to_vec();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            assert!(matches!(shape(&text), Shape::Ours { intact: false, .. }), "at {at}");
        }
    }

    #[test]
    fn other_texts_are_foreign() {
        let body = "a".repeat(50);
        let not_ours = ["", "abc", &body, &format!("_{body}"), &format!("KW_{body}"), &format!("a_b_c_{body}")];
        for text in not_ours {
            assert_eq!(shape(text.as_bytes()), Shape::Foreign, "{text}");
        }
        assert_eq!(shape(format!("kw_live_{}-{}", "a".repeat(20), "a".repeat(29)).as_bytes()), Shape::Foreign);
    }

    proptest! {
        #[test]
        fn shape_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = shape(&bytes);
        }

        #[test]
        fn a_prefix_that_parses_is_found_again(text in "[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8})?") {
            let (secret, imprint) = mint(&text.parse().unwrap(), counting()).unwrap();
            let is_ours = matches!(shape(secret.expose()), Shape::Ours { intact: true, prefix, .. } if prefix == text);
            prop_assert!(is_ours);
            prop_assert_eq!(imprint.prefix.as_ref().map(Prefix::as_str), Some(text.as_str()));
        }
    }
}

//! The text of an `Authorization` line: a scheme, and the one secret behind it. Whatever could be read in two ways is refused.

use super::refusal::{Invalid, Refusal};
use crate::secret::is_visible;

/// A scheme that a key may stand behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Token …`
    Token,
    /// `Bearer …`
    Bearer,
}

impl Scheme {
    /// The scheme of a line, whatever its case, and what stands behind it; none where it is another's.
    #[must_use]
    pub fn of(line: &[u8]) -> Option<(Self, &[u8])> {
        let (scheme, rest) = split(line);
        if scheme.eq_ignore_ascii_case(b"token") {
            Some((Self::Token, rest))
        } else if scheme.eq_ignore_ascii_case(b"bearer") {
            Some((Self::Bearer, rest))
        } else {
            None
        }
    }
}

/// The one secret that stands behind a scheme.
///
/// # Errors
/// [`Refusal::KeyRequired`] where nothing does, [`Refusal::CredentialAmbiguous`] where it could be read in two ways,
/// [`Refusal::KeyInvalid`] where it can be no key.
pub fn secret(rest: &[u8]) -> Result<&[u8], Refusal> {
    match rest {
        b"" => Err(Refusal::KeyRequired),
        secret if is_one(secret) => Ok(secret),
        // One token, no list and no parameters: anything else could be read in two ways.
        secret if secret.iter().any(|byte| matches!(byte, b' ' | b'\t' | b',')) => Err(Refusal::CredentialAmbiguous),
        _ => Err(Refusal::KeyInvalid(Invalid::Malformed)),
    }
}

/// The scheme and what follows it, without the spaces around.
#[must_use]
pub fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| *byte == b' ' || *byte == b'\t').unwrap_or(line.len());
    let (scheme, rest) = line.split_at(end);
    (scheme, rest.trim_ascii())
}

/// Whether it is visible, and no list.
fn is_one(secret: &[u8]) -> bool {
    is_visible(secret) & secret.iter().fold(true, |so_far, byte| so_far & (*byte != b','))
}

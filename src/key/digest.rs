//! The hash a secret is stored and found under.
//!
//! SHA-256 of the whole presented secret, then, where the server has a pepper, HMAC-SHA-256 of that under it; so digests
//! of foreign keys can be imported without their plain text. No slow password hash: the input has full entropy, and a slow
//! hash would be a lever for whoever sends invented keys.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// What a secret is stored and found under. Compared in constant time, never printed.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest whose bytes were stored earlier.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the store and for choosing a stripe. Never log them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Digest {
    /// Four words are compared in an eighth of the time of their bytes, and as constantly.
    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }
}

impl Eq for Digest {}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

/// Turns secrets into digests, under the server's pepper where one is set.
#[derive(Clone, Debug, Default)]
pub struct Digester {
    pepper: Option<Secret>,
}

impl Digester {
    /// A digester with this pepper, or with none.
    #[must_use]
    pub const fn new(pepper: Option<Secret>) -> Self {
        Self { pepper }
    }

    /// The digest of a presented secret.
    #[must_use]
    pub fn digest(&self, secret: &Secret) -> Digest {
        self.seal(&sha256(secret))
    }

    /// The digest of a secret of which only the SHA-256 is at hand.
    #[must_use]
    pub fn seal(&self, sha256: &[u8; 32]) -> Digest {
        let Some(pepper) = &self.pepper else { return Digest(*sha256) };
        Digest(hmac(pepper, sha256))
    }

    /// Eight bytes that tell this pepper from another without telling the pepper: kept in the store, so that a start under
    /// the wrong pepper is an error and not a 401 for everybody.
    #[must_use]
    pub fn mark(&self) -> [u8; 8] {
        let mut mark = [0; 8];
        if let Some(pepper) = &self.pepper {
            mark.copy_from_slice(&hmac(pepper, b"keyward pepper mark")[..8]);
        }
        mark
    }
}

/// SHA-256 of the plain text.
pub(super) fn sha256(secret: &Secret) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.expose()).as_ref());
    digest
}

#[allow(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn hmac(pepper: &Secret, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper.expose()).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_pepper_the_digest_is_plain_sha_256() {
        // FIPS 180-2, appendix B.1.
        let digest = Digester::default().digest(&Secret::new(b"abc"));
        assert_eq!(digest.as_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn a_pepper_changes_the_digest_and_the_mark() {
        let plain = Digester::default();
        let peppered = Digester::new(Some(Secret::new(b"pepper")));
        let secret = Secret::new(b"a secret of a client");
        assert!(plain.digest(&secret) != peppered.digest(&secret));
        assert!(peppered.digest(&secret) == peppered.seal(plain.digest(&secret).as_bytes()));
        assert_ne!(plain.mark(), peppered.mark());
    }

    #[test]
    fn debug_does_not_show_the_bytes() {
        assert_eq!(format!("{:?}", Digester::default().digest(&Secret::new(b"abc"))), "[digest]");
    }
}

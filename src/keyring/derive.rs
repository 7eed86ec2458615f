//! Keys made of a secret and of what they are for.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// What keys for one purpose are made of.
pub(super) fn root(purpose: &[u8], secret: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, purpose).extract(secret)
}

/// One of them.
#[expect(clippy::expect_used, reason = "HKDF gives up to 255 times its hash's length, and 32 bytes are asked for")]
pub(super) fn expand(prk: &Prk, info: &[&[u8]], into: &mut [u8; 32]) {
    prk.expand(info, Length).and_then(|okm| okm.fill(into)).expect("HKDF gives 32 bytes");
}

/// Thirty-two bytes.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

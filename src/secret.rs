//! The only type that holds the plain text of a key, or what is as secret.
//!
//! A [`Secret`] is wiped when it is dropped, prints as `[secret]`, cannot be serialised, and is compared in constant
//! time. Whoever needs the text says so with [`Secret::expose`], which is easy to search for: minting prints it once,
//! digesting and signing hash it, and nothing else calls it.

use std::fmt;
use std::io;
use std::path::Path;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Plain text of a key, as presented by a client, minted by us, or read from an import file.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes a copy of `bytes`; any bytes, because a client may present anything.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Reads what a file holds: all of its bytes, of which there must be `least`.
    ///
    /// # Errors
    /// The file cannot be read, or holds less.
    pub fn from_file(path: &Path, least: usize) -> Result<Self, BadSecretFile> {
        let bytes = Zeroizing::new(std::fs::read(path)?);
        if bytes.len() < least { Err(BadSecretFile::Short(bytes.len(), least)) } else { Ok(Self::new(&bytes)) }
    }

    /// The plain bytes. Never log, store or return them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether all of it is visible ASCII, as of every secret that may be a key.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        is_visible(&self.0)
    }

    /// The plain text where it is ASCII, as every minted secret is.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|text| text.is_ascii())
    }
}

/// Whether `bytes` are all visible ASCII. Without an early end, so that sixteen are looked at in one step.
#[must_use]
pub fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic())
}

/// A file that is no secret's. What it holds is not told.
#[derive(Debug, thiserror::Error)]
pub enum BadSecretFile {
    /// By the system's word.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// So many bytes, and so many are needed.
    #[error("{0} bytes are too few: at least {1} are needed")]
    Short(usize, usize),
}

impl From<String> for Secret {
    /// Takes the text over and wipes the string's own memory.
    fn from(text: String) -> Self {
        Self::new(Zeroizing::new(text).as_bytes())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_text() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2hunter2")), "[secret]");
    }
}

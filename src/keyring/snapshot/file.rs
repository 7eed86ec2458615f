//! A file of sealed records, only ever added to.
//!
//! ```text
//!  {"form":…,"boot":…,"folder":…,"store":…,"id":…}\n     in clear; the key is made of the pepper and of this very line
//!  length | nonce | sealed record | tag                  AES-256-GCM; its number is sealed with it
//!  length | nonce | …
//! ```
//!
//! So nobody without the pepper reads it, changes it, puts records in another order or into another file. A file that ends
//! within a record is one whose writer was stopped there: what it was about to write it had told nobody of.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::Prk;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::record::Record;
use crate::keyring::derive::expand;

/// Which snapshots may be read here: by whom, since when, of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) form: String,
    /// The start of this machine, and which of its clocks: boot time says nothing about another.
    pub(super) boot: String,
    /// The folder it lies in, which one process has at a time.
    pub(super) folder: String,
    pub(super) store: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    about: About,
    /// Random, so that no two files have one key.
    id: String,
}

/// Why a snapshot is of no use.
#[derive(Debug, thiserror::Error)]
pub(in crate::keyring) enum Unusable {
    #[error("there is none")]
    Missing,
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is none that this keyward can read")]
    OtherForm,
    #[error("it is from before this machine was started, or from another one")]
    OtherBoot,
    #[error("it was copied here from another folder")]
    OtherFolder,
    #[error("it is of another store")]
    OtherStore,
    #[error("it was changed, or sealed under another pepper")]
    Forged,
    #[error("it was not finished")]
    Torn,
    #[error("it is too old: what it holds counts no longer")]
    Late,
}

/// A file that is being written.
pub(super) struct Sealed {
    file: File,
    key: RandomizedNonceKey,
    count: u64,
    bytes: u64,
}

impl Sealed {
    /// A new, empty one, for nobody else to read.
    pub(super) fn create(path: &Path, about: &About, root: &Prk) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = format!("{:032x}", u128::from_be_bytes(random));
        let mut line = serde_json::to_vec(&Header { about: about.clone(), id })?;
        line.push(b'\n');
        file.write_all(&line)?;
        let key = key(root, &line).ok_or_else(|| io::Error::other("no key can be made"))?;
        Ok(Self { file, key, count: 0, bytes: line.len() as u64 })
    }

    /// Adds a record. When this returns, the system has it.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let plain = Zeroizing::new(serde_json::to_vec(record)?);
        let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&plain);
        let number = Aad::from(self.count.to_be_bytes());
        let nonce = self.key.seal_in_place_append_tag(number, &mut sealed).map_err(io::Error::other)?;
        let length = u32::try_from(NONCE_LEN + sealed.len()).map_err(io::Error::other)?;
        let whole = [&length.to_be_bytes()[..], nonce.as_ref(), &sealed].concat();
        self.file.write_all(&whole)?;
        self.count += 1;
        self.bytes += whole.len() as u64;
        Ok(())
    }

    /// How long it is.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file that is being read.
pub(super) struct Reader {
    file: BufReader<File>,
    key: RandomizedNonceKey,
    count: u64,
}

impl Reader {
    /// Opens a file that may be read here.
    pub(super) fn open(path: &Path, about: &About, root: &Prk) -> Result<Self, Unusable> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            Err(error) => return Err(Unusable::Unreadable(error)),
        };
        let mut line = Vec::new();
        file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(Unusable::Unreadable)?;
        let Header { about: found, .. } = serde_json::from_slice(&line).map_err(|_| Unusable::OtherForm)?;
        for (same, why) in [
            (found.form == about.form, Unusable::OtherForm),
            (found.boot == about.boot, Unusable::OtherBoot),
            (found.folder == about.folder, Unusable::OtherFolder),
            (found.store == about.store, Unusable::OtherStore),
        ] {
            if !same {
                return Err(why);
            }
        }
        let key = key(root, &line).ok_or(Unusable::Forged)?;
        Ok(Self { file, key, count: 0 })
    }

    /// The next record; none where the file ends.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Unusable> {
        let Some(mut sealed) = next(&mut self.file)? else { return Ok(None) };
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN).ok_or(Unusable::Forged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unusable::Forged)?;
        let plain = self.key.open_in_place(nonce, Aad::from(self.count.to_be_bytes()), sealed);
        let plain = plain.map_err(|_| Unusable::Forged)?;
        self.count += 1;
        serde_json::from_slice(plain).map(Some).map_err(|_| Unusable::OtherForm)
    }
}

/// The next record as it was sealed; none where the file ends, be it within one.
fn next(file: &mut impl Read) -> Result<Option<Vec<u8>>, Unusable> {
    let mut length = [0; 4];
    let mut sealed = Vec::new();
    if !whole(file.read_exact(&mut length))? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length);
    if length > LONGEST_RECORD {
        return Err(Unusable::Forged);
    }
    file.take(length.into()).read_to_end(&mut sealed).map_err(Unusable::Unreadable)?;
    Ok((sealed.len() == length as usize).then_some(sealed))
}

fn whole(read: io::Result<()>) -> Result<bool, Unusable> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Unusable::Unreadable(error)),
    }
}

fn key(root: &Prk, line: &[u8]) -> Option<RandomizedNonceKey> {
    let mut key = Zeroizing::new([0; 32]);
    expand(root, &[line], &mut key);
    RandomizedNonceKey::new(&AES_256_GCM, &*key).ok()
}

const LONGEST_LINE: u64 = 4096;
/// A record of a bulk change of the log, or of some keys that belong to everybody, is far shorter.
const LONGEST_RECORD: u32 = 64 * 1024 * 1024;

//! GitHub's secret scanning, as its partners are told of what it finds: a JSON array, signed over its raw bytes (ECDSA, P-256,
//! SHA-256) by a key that GitHub publishes under an identifier. Which of them are believed stands in a file of the settings, of the
//! form of `/meta/public_keys/secret_scanning`; nothing is fetched.

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer, Serialize};

use crate::key::Imprint;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// The keys that are believed. Those that are no longer current sign nothing new, and still prove what they signed.
pub(super) struct Keys(Vec<(String, ParsedPublicKey)>);

#[derive(Deserialize)]
struct Published {
    public_keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    key_identifier: String,
    key: String,
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let published: Published = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let read = |PublishedKey { key_identifier: id, key }: PublishedKey| {
            let fault = || format!("the key {id:?} is no public key of P-256 in PEM");
            let der = SubjectPublicKeyInfoDer::from_pem_slice(key.as_bytes()).map_err(|_| fault())?;
            let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der).map_err(|_| fault())?;
            Ok((id, key))
        };
        let keys = published.public_keys.into_iter().map(read).collect::<Result<Vec<_>, String>>()?;
        if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(Self(keys)) }
    }

    /// The signature that a request carries, where it is by one of these.
    pub(super) fn signature(&self, headers: &HeaderMap) -> Option<Signature<'_>> {
        let one = |name: &str| {
            let mut lines = headers.get_all(name).iter();
            lines.next().filter(|_| lines.next().is_none())?.to_str().ok()
        };
        let named = one("github-public-key-identifier")?;
        let (_, key) = self.0.iter().find(|(id, _)| id == named)?;
        Some(Signature { key, bytes: STANDARD.decode(one("github-public-key-signature")?).ok()? })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

/// What a known key is said to have signed.
pub(super) struct Signature<'a> {
    key: &'a ParsedPublicKey,
    bytes: Vec<u8>,
}

impl Signature<'_> {
    /// Whether it has signed these bytes.
    pub(super) fn covers(&self, body: &[u8]) -> bool {
        self.key.verify_sig(body, &self.bytes).is_ok()
    }
}

/// What was found, where GitHub says so.
pub(super) struct Matches(pub(super) Vec<Match>);

/// One of them. What else is said of it is not looked at.
#[derive(Deserialize)]
pub(super) struct Match {
    #[serde(deserialize_with = "secret")]
    pub(super) token: Secret,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pub(super) url: String,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

impl Matches {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Problem> {
        // serde's words repeat what they do not like, which may be a secret.
        let unreadable = |_| Problem::detailed(Code::Unparsable, "It is no list of matches.");
        serde_json::from_slice(text).map(Self).map_err(unreadable)
    }
}

/// Whether it was one of ours. The secret is named by its hash, so that no answer holds one.
#[derive(Debug, Serialize)]
pub(super) struct Label {
    token_hash: String,
    token_type: String,
    label: &'static str,
}

impl Match {
    pub(super) fn label(&self, is_ours: bool) -> Label {
        let hash = Imprint::of(&self.token).sha256;
        Label {
            token_hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            token_type: self.kind.clone(),
            label: if is_ours { "true_positive" } else { "false_positive" },
        }
    }
}

//! Certificates, and which of them a client is shown.
//!
//! By SNI: the certificate that has the name, else one that has its wildcard (one label), else the first of the
//! settings, which is also what a client gets that names nobody. Names come from each certificate's own subject
//! alternative names; on two that share one, the earlier wins. One rustls configuration and one ticket key serve all
//! workers, or a returning client would meet its session only one time in N. No early data: it can be replayed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use zeroize::Zeroizing;

use super::config::CertificateFiles;
use crate::flaw::Flaw;

/// What one or more listeners need for TLS; clones share it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

impl ServerTls {
    /// Reads every file; `key` is the list's setting, such as `server.certificates`.
    pub fn load(files: &[CertificateFiles], key: &str) -> Result<Self, Vec<Flaw>> {
        let keys: Vec<String> = (0..files.len()).map(|index| format!("{key}.{index}")).collect();
        Self::from_files(files.iter().zip(keys.iter().map(String::as_str)), key)
    }

    /// Reads the files of the one certificate whose settings stand directly under `key`, such as `admin`.
    pub fn load_one(files: &CertificateFiles, key: &str) -> Result<Self, Vec<Flaw>> {
        Self::from_files([(files, key)].into_iter(), key)
    }

    /// Shows the certificates of `new` to whoever connects from now on. Connections go on, and so do sessions: the ticket
    /// key stays.
    pub fn show(&self, new: &Self) {
        self.shown.certificates.store(new.shown.certificates.load_full());
    }

    /// Whether two host names are shown the same certificate.
    #[must_use]
    pub fn same_certificate(&self, a: &str, b: &str) -> bool {
        let certificates = self.shown.certificates.load();
        certificates.find(a) == certificates.find(b)
    }

    /// When each certificate that is shown now expires, in seconds since 1970 and in the order of the settings; 0 for one that
    /// no client can accept at any time.
    #[must_use]
    pub fn expire_at(&self) -> Vec<u64> {
        self.shown.certificates.load().expire_at.clone()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    fn from_files<'a>(
        files: impl Iterator<Item = (&'a CertificateFiles, &'a str)>,
        key: &str,
    ) -> Result<Self, Vec<Flaw>> {
        let provider = Arc::new(provider());
        let mut certificates = Certificates::default();
        let mut flaws = Vec::new();
        for (files, key) in files {
            match Certificate::read(files, key, &provider) {
                Ok(certificate) => certificates.add(certificate),
                Err(more) => flaws.extend(more),
            }
        }
        if flaws.is_empty() && certificates.all.is_empty() {
            flaws.push(Flaw::new(key, "TLS needs a certificate"));
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let shown = Arc::new(Shown { certificates: ArcSwap::from_pointee(certificates) });
        let config = server_config(provider, Arc::clone(&shown))
            .map_err(|error| vec![Flaw::new(key, format!("TLS cannot be set up: {error}"))])?;
        Ok(Self { config: Arc::new(config), shown })
    }
}

/// aws-lc-rs, with AES-128 before AES-256 as browsers have it: both are out of reach, and the shorter key comes with SHA-256,
/// which processors have instructions for, where SHA-384 costs a tenth of a handshake.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let suite = suite.suite().as_str().unwrap_or_default();
        // TLS 1.3 stays before TLS 1.2.
        (!suite.starts_with("TLS13"), !suite.contains("AES_128"))
    });
    provider
}

fn server_config(provider: Arc<CryptoProvider>, shown: Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    // Our order of suites, and not what an old or tampered client would rather have.
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(config)
}

/// HTTP/2 in ALPN.
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The certificates that are shown now.
#[derive(Debug)]
struct Shown {
    certificates: ArcSwap<Certificates>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.load();
        let index = certificates.find(hello.server_name().unwrap_or_default());
        certificates.all.get(index).cloned()
    }
}

#[derive(Debug, Default)]
struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// In the same order.
    expire_at: Vec<u64>,
    exact: HashMap<Box<str>, usize>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, usize>,
}

impl Certificates {
    fn add(&mut self, certificate: Certificate) {
        let index = self.all.len();
        for name in certificate.leaf.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.into()).or_insert(index);
        }
        self.all.push(certificate.key);
        self.expire_at.push(certificate.leaf.expires_at);
    }

    fn find(&self, name: &str) -> usize {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(name.as_str()).or_else(parent).copied().unwrap_or(FIRST)
    }
}

/// The certificate of a client that names nobody, or nobody we know.
const FIRST: usize = 0;

/// One certificate that was read and proved whole.
struct Certificate {
    key: Arc<CertifiedKey>,
    leaf: Leaf,
}

/// What is read of the certificate itself, and not of those that vouch for it.
struct Leaf {
    names: Vec<String>,
    /// Seconds since 1970.
    expires_at: u64,
}

impl Certificate {
    fn read(files: &CertificateFiles, key: &str, provider: &CryptoProvider) -> Result<Self, Vec<Flaw>> {
        let chain_file = named(files.chain_file.as_ref(), format!("{key}.chain_file"));
        let key_file = named(files.key_file.as_ref(), format!("{key}.key_file"));
        let chain = chain_file.and_then(|place| read_chain(&place));
        let signer = key_file.and_then(|place| Ok((read_key(&place, provider)?, place)));
        let ((chain, leaf), (signer, place)) = match (chain, signer) {
            (Ok(chain), Ok(signer)) => (chain, signer),
            (chain, signer) => return Err(chain.err().into_iter().chain(signer.err()).collect()),
        };
        let certified = CertifiedKey::new(chain, signer);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self { key: Arc::new(certified), leaf })
            }
            Err(_) => Err(vec![place.flaw("the private key does not belong to the certificate in chain_file")]),
        }
    }
}

/// A file, and the setting that names it.
struct Place<'a> {
    path: &'a Path,
    key: String,
}

impl Place<'_> {
    fn flaw(&self, what: &str) -> Flaw {
        Flaw::new(self.key.as_str(), format!("{}: {what}", self.path.display()))
    }

    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, Flaw> {
        fs::read(self.path).map(Zeroizing::new).map_err(|error| self.flaw(&format!("cannot be read: {error}")))
    }

    fn bad_pem(&self, error: &pem::Error, missing: &str) -> Flaw {
        match error {
            pem::Error::NoItemsFound => self.flaw(missing),
            error => self.flaw(&format!("is no PEM: {error}")),
        }
    }
}

fn named(path: Option<&PathBuf>, key: String) -> Result<Place<'_>, Flaw> {
    match path {
        Some(path) => Ok(Place { path, key }),
        None => Err(Flaw::new(key, "is missing; a certificate needs chain_file and key_file")),
    }
}

fn read_chain(place: &Place<'_>) -> Result<(Vec<CertificateDer<'static>>, Leaf), Flaw> {
    const NONE: &str = "has no certificate in it";
    let bytes = place.bytes()?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| place.bad_pem(&error, NONE))?;
    let first = chain.first().ok_or_else(|| place.flaw(NONE))?;
    let leaf = webpki::EndEntityCert::try_from(first)
        .map_err(|error| place.flaw(&format!("its first certificate cannot be used: {error}")))?;
    let names = leaf.valid_dns_names().map(str::to_ascii_lowercase).collect();
    let leaf = Leaf { names, expires_at: expires_at(&leaf) };
    Ok((chain, leaf))
}

/// webpki keeps a certificate's times to itself, and tells until when it was good where it is asked too late.
fn expires_at(leaf: &webpki::EndEntityCert<'_>) -> u64 {
    let end_of_time = UnixTime::since_unix_epoch(Duration::MAX);
    match leaf.verify_for_usage(&[], &[], &[], end_of_time, webpki::KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => not_after.as_secs(),
        // It ends before it begins, or is on webpki's list of those that nobody trusts.
        _ => 0,
    }
}

fn read_key(place: &Place<'_>, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Flaw> {
    let bytes = place.bytes()?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        // Both ways of writing such a key say so in plain text; the parser reads neither.
        let encrypted = bytes.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
        if encrypted { place.flaw(PASSPHRASE) } else { place.bad_pem(&error, "has no private key in it") }
    })?;
    let key = provider.key_provider.load_private_key(key);
    key.map_err(|_| place.flaw("its private key is of no kind that TLS can use"))
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
const PASSPHRASE: &str = "its private key needs a passphrase, and nobody is there to give one: write it without";

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;

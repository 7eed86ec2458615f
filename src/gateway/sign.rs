//! Proof to an origin that a request came through us: an HTTP Message Signature (RFC 9421, `hmac-sha256`) under a key
//! that both know.
//!
//! Covered are method, authority, path and query as they are forwarded, the request's id, and those identity headers that
//! the request has. The list of what is covered is signed too, so an identity header that was added behind us is seen to be
//! none of ours. The body is not covered. A request in nobody's name is signed like any other: to the origin, one without
//! a signature did not come from here.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;

use super::config::{OriginConfig, ServiceConfig};
use super::forward::X_REQUEST_ID;
use super::headers::Identity;
use crate::clock::Timestamp;
use crate::flaw::Flaw;
use crate::secret::Secret;

/// Signs what one service is sent.
#[derive(Clone)]
pub(super) struct Signer {
    /// With its HMAC begun already.
    key: hmac::Key,
    key_id: String,
    lifetime: Duration,
}

impl Signer {
    /// The signer of each service, in order; none where the settings name no key.
    ///
    /// # Errors
    /// Key files that cannot be read, hold too little or end in a line break, and ids that cannot stand in a header; each
    /// once, under the setting that said it.
    pub(super) fn of_each(
        services: &BTreeMap<String, ServiceConfig>,
        origin: &OriginConfig,
    ) -> Result<Vec<Option<Self>>, Vec<Flaw>> {
        let (mut signers, mut flaws) = (Vec::new(), Vec::new());
        for (name, said) in services {
            match Self::of(name, said, origin) {
                Ok(signer) => signers.push(signer),
                Err(found) => flaws.extend(found),
            }
        }
        flaws.sort_by(|one: &Flaw, other| one.key.cmp(&other.key));
        flaws.dedup();
        if flaws.is_empty() { Ok(signers) } else { Err(flaws) }
    }

    fn of(name: &str, said: &ServiceConfig, origin: &OriginConfig) -> Result<Option<Self>, Vec<Flaw>> {
        let Some(file) = said.signing_key_file.as_ref().or(origin.signing_key_file.as_ref()) else { return Ok(None) };
        let key_id = said.signing_key_id.as_ref().unwrap_or(&origin.signing_key_id);
        let lifetime = said.signature_lifetime.unwrap_or(origin.signature_lifetime).0;
        let flaw = |own: bool, field: &str, message: String| match own {
            true => Flaw::new(format!("services.{name}.{field}"), message),
            false => Flaw::new(format!("origin.{field}"), message),
        };
        let mut flaws = Vec::new();
        if !is_key_id(key_id) {
            let message = format!("{key_id:?} is no key id: write 1 to 64 of the characters A-Z a-z 0-9 - . _ ~ : @");
            flaws.push(flaw(said.signing_key_id.is_some(), "signing_key_id", message));
        }
        if lifetime < Duration::from_secs(1) {
            let message = "a signature needs at least 1s to be of use".to_owned();
            flaws.push(flaw(said.signature_lifetime.is_some(), "signature_lifetime", message));
        }
        match read_key(file) {
            Ok(secret) if flaws.is_empty() => return Ok(Some(Self::new(&secret, key_id, lifetime))),
            Ok(_) => {}
            Err(message) => flaws.push(flaw(said.signing_key_file.is_some(), "signing_key_file", message)),
        }
        Err(flaws)
    }

    fn new(secret: &Secret, key_id: &str, lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(HMAC_SHA256, secret.expose()), key_id: key_id.to_owned(), lifetime }
    }

    /// Signs a request that is otherwise as the origin will get it.
    pub(super) fn sign(&self, request: &mut Parts, identity: &Identity, now: Timestamp) {
        let (base, input) = self.say(request, identity, now);
        let signature = format!("{LABEL}:{}:", self.tag(&base));
        // Both are visible ASCII, as is all they are made of. One that were not would be missed by the origin.
        if let (Ok(input), Ok(signature)) = (HeaderValue::try_from(input), HeaderValue::try_from(signature)) {
            request.headers.insert(SIGNATURE_INPUT, input);
            request.headers.insert(SIGNATURE, signature);
        }
    }

    /// `hmac-sha256` (RFC 9421, 3.3.3), in base64.
    fn tag(&self, base: &[u8]) -> String {
        STANDARD.encode(hmac::sign(&self.key, base))
    }

    /// What is signed (RFC 9421, 2.5), and the value of `Signature-Input` that says how to say it again.
    fn say(&self, request: &Parts, identity: &Identity, now: Timestamp) -> (Vec<u8>, Vec<u8>) {
        let (mut base, mut input) = (Vec::with_capacity(1024), Vec::with_capacity(512));
        input.extend_from_slice(LABEL.as_bytes());
        input.push(b'(');
        let mut cover = |name: &str, value: &[&[u8]]| {
            if !input.ends_with(b"(") {
                input.push(b' ');
            }
            let start = input.len();
            input.push(b'"');
            input.extend_from_slice(name.as_bytes());
            input.push(b'"');
            base.extend_from_slice(&input[start..]);
            base.extend_from_slice(b": ");
            value.iter().for_each(|part| base.extend_from_slice(part));
            base.push(b'\n');
        };
        cover("@method", &[request.method.as_str().as_bytes()]);
        let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        cover("@authority", &[host]);
        cover("@path", &[request.uri.path().as_bytes()]);
        // Without a query it is the mark alone (RFC 9421, 2.2.7).
        cover("@query", &[b"?", request.uri.query().unwrap_or_default().as_bytes()]);
        for name in [&X_REQUEST_ID].into_iter().chain(identity.names()) {
            if let Some(value) = request.headers.get(name) {
                cover(name.as_str(), &[value.as_bytes()]);
            }
        }
        let created = now.as_millis().div_euclid(1000);
        let expires = now.plus(self.lifetime).as_millis().div_euclid(1000);
        // Writing to a Vec cannot fail.
        let _ = write!(input, r#");created={created};expires={expires};keyid="{}";alg="hmac-sha256""#, self.key_id);
        base.extend_from_slice(b"\"@signature-params\": ");
        base.extend_from_slice(&input[LABEL.len()..]);
        (base, input)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.key_id)
    }
}

/// A key, or a sentence that says why it is none.
fn read_key(file: &Path) -> Result<Secret, String> {
    let secret = Secret::from_file(file, SHORTEST_KEY).map_err(|bad| format!("{}: {bad}", file.display()))?;
    if secret.expose().ends_with(b"\n") {
        let message = "it ends in a line break, which some readers keep and some do not: write it without";
        return Err(format!("{}: {message}", file.display()));
    }
    Ok(secret)
}

/// What needs no escape in a structured field's string.
fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:@".contains(&b))
}

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// The signature's name among others, with the sign that follows it in both headers.
const LABEL: &str = "keyward=";

/// Fewest bytes of a key: as many as the signature has (RFC 2104, 3).
const SHORTEST_KEY: usize = 32;

#[cfg(test)]
mod tests;

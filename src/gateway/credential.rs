//! Where in a request a secret may ride, and taking it from there. What [`take`] took is no longer in the headers, so
//! nothing later can forward or log it by accident.

use std::fmt;
use std::str::FromStr;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::headers::{is_plain, is_reserved};
use crate::key::Refusal;
use crate::key::scheme::{self, Scheme};
use crate::key::token::{SHORTEST, Shape, shape};
use crate::secret::Secret;

/// A place a secret may ride in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `Authorization: Token …`
    Token,
    /// `Authorization: Bearer …`
    Bearer,
    /// A header of its own.
    Header(HeaderName),
}

impl FromStr for Carrier {
    type Err = BadCarrier;

    fn from_str(text: &str) -> Result<Self, BadCarrier> {
        match text {
            "token" => Ok(Self::Token),
            "bearer" => Ok(Self::Bearer),
            _ => {
                let name = text.strip_prefix("header:").and_then(|name| name.parse().ok());
                let name = name.filter(|name| !is_reserved(name) && is_plain(name));
                name.map(Self::Header).ok_or(BadCarrier)
            }
        }
    }
}

/// The text is no carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a carrier is \"token\", \"bearer\" or \"header:NAME\", with a name of letters, digits and hyphens that has no meaning of its own"
)]
pub(super) struct BadCarrier;

/// What was found: the carrier and the secret.
pub(super) struct Credential {
    pub(super) carrier: Carrier,
    pub(super) secret: Secret,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?})", self.carrier)
    }
}

/// Takes the one credential out of `headers`.
///
/// # Errors
/// [`Refusal::KeyRequired`] without one, [`Refusal::CredentialAmbiguous`] with two or with one that can be read in two
/// ways, [`Refusal::KeyInvalid`] where a scheme stands without a usable secret.
pub(super) fn take(headers: &mut HeaderMap, carriers: &[Carrier]) -> Result<Credential, Refusal> {
    let mut found: Option<Credential> = None;
    let mut keep = |credential: Credential| match found.replace(credential) {
        None => Ok(()),
        Some(_) => Err(Refusal::CredentialAmbiguous),
    };
    if carriers.iter().any(|carrier| matches!(carrier, Carrier::Token | Carrier::Bearer)) {
        // A map that is full tells of no entry, not even of one that it has.
        let entry = headers.try_entry(header::AUTHORIZATION).map_err(|_| Refusal::CredentialAmbiguous)?;
        if let Entry::Occupied(line) = entry {
            if line.iter().nth(1).is_some() {
                return Err(Refusal::CredentialAmbiguous);
            }
            if let Some(credential) = from_authorization(line.get(), carriers)? {
                line.remove();
                keep(credential)?;
            }
        }
    }
    for carrier in carriers {
        let Carrier::Header(name) = carrier else { continue };
        if let Some(value) = single(headers, name)? {
            let secret = Secret::new(value.as_bytes());
            headers.remove(name);
            keep(Credential { carrier: carrier.clone(), secret })?;
        }
    }
    found.ok_or(Refusal::KeyRequired)
}

/// On a route that asks for no key, a secret of our own shape is still not the origin's to see. Any other
/// `Authorization` is the origin's matter there.
pub(super) fn strip_own(headers: &mut HeaderMap) {
    let is_ours = |value: &HeaderValue| {
        let (_, secret) = scheme::split(value.as_bytes());
        matches!(shape(secret), Shape::Ours { .. })
    };
    if headers.get_all(header::AUTHORIZATION).iter().any(is_ours) {
        headers.remove(header::AUTHORIZATION);
    }
    strip_minted(headers);
}

/// Removes every header that is a secret we minted, by its checksum: a client may send one where this route does not look.
pub(super) fn strip_minted(headers: &mut HeaderMap) {
    let is_minted = |value: &HeaderValue| {
        let value = value.as_bytes();
        if value.len() < SHORTEST {
            return false;
        }
        let secret = value.rsplit(|byte| *byte == b' ').next().unwrap_or(value);
        matches!(shape(secret), Shape::Ours { intact: true, .. })
    };
    let doomed: SmallVec<[HeaderName; 2]> =
        headers.iter().filter(|(_, value)| is_minted(value)).map(|(name, _)| name.clone()).collect();
    for name in doomed {
        headers.remove(name);
    }
}

fn from_authorization(value: &HeaderValue, carriers: &[Carrier]) -> Result<Option<Credential>, Refusal> {
    let carrier = |scheme| match scheme {
        Scheme::Token => Carrier::Token,
        Scheme::Bearer => Carrier::Bearer,
    };
    match Scheme::of(value.as_bytes()).map(|(scheme, rest)| (carrier(scheme), rest)) {
        Some((carrier, rest)) if carriers.contains(&carrier) => {
            let secret = Secret::new(scheme::secret(rest)?);
            Ok(Some(Credential { carrier, secret }))
        }
        _ => Ok(None),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    if lines.next().is_some() { Err(Refusal::CredentialAmbiguous) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carriers(names: &[&str]) -> Vec<Carrier> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn taken(lines: &[(&str, &str)], names: &[&str]) -> (Result<String, Refusal>, HeaderMap) {
        let mut headers: HeaderMap =
            lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let result = take(&mut headers, &carriers(names));
        (result.map(|found| found.secret.expose_str().unwrap().to_owned()), headers)
    }

    #[test]
    fn the_secret_is_taken_out_of_the_headers() {
        for value in ["Token abc", "token abc", "TOKEN   abc", "Bearer abc", "bearer abc "] {
            let (secret, left) = taken(&[("authorization", value), ("accept", "*/*")], &["token", "bearer"]);
            assert_eq!(secret.as_deref(), Ok("abc"), "{value}");
            assert_eq!(left.len(), 1);
        }
        let (secret, left) = taken(&[("x-api-key", "abc")], &["bearer", "header:X-API-Key"]);
        assert_eq!((secret.as_deref(), left.len()), (Ok("abc"), 0));
    }

    #[test]
    fn two_credentials_are_ambiguous() {
        let all = &["token", "bearer", "header:x-api-key", "header:x-other"];
        for lines in [
            &[("authorization", "Token a"), ("authorization", "Token a")][..],
            &[("authorization", "Token a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-other", "b")],
            &[("authorization", "Token a, Token b")],
            &[("authorization", "Bearer a b")],
        ] {
            assert_eq!(taken(lines, all).0, Err(Refusal::CredentialAmbiguous), "{lines:?}");
        }
    }

    #[test]
    fn two_credentials_are_ambiguous_in_a_map_that_is_full() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", "Token a"), ("x-api-key", "b")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut others = (0..).map(|number| HeaderName::try_from(format!("a{number}")).unwrap());
        while headers.try_insert(others.next().unwrap(), HeaderValue::from_static("")).is_ok() {}
        let carriers = carriers(&["token", "header:x-api-key"]);
        assert_eq!(take(&mut headers, &carriers).map(drop), Err(Refusal::CredentialAmbiguous));
    }

    #[test]
    fn no_credential_of_ours_is_none() {
        for lines in
            [&[][..], &[("authorization", "Basic YTpi")], &[("authorization", "Token")], &[("authorization", "")]]
        {
            assert_eq!(taken(lines, &["token", "bearer"]).0, Err(Refusal::KeyRequired), "{lines:?}");
        }
        // A carrier the route does not name does not count, and stays for the origin.
        let (secret, left) = taken(&[("authorization", "Bearer a")], &["header:x-api-key"]);
        assert_eq!((secret, left.len()), (Err(Refusal::KeyRequired), 1));
    }

    #[test]
    fn an_open_route_forwards_foreign_credentials_but_not_ours() {
        let ours = format!("Bearer kw_live_{}", "a".repeat(50));
        for (value, stays) in [("Basic YTpi", true), ("Bearer eyJhbGciOi", true), (ours.as_str(), false)] {
            let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            strip_own(&mut headers);
            assert_eq!(headers.contains_key(header::AUTHORIZATION), stays, "{value}");
        }
    }

    #[test]
    fn a_carrier_is_no_header_with_a_meaning_of_its_own() {
        for text in ["Token", "cookie", "header:", "header:host", "header:Content-Length", "header:a b", "header:X_Key"]
        {
            assert!(text.parse::<Carrier>().is_err(), "{text}");
        }
    }
}

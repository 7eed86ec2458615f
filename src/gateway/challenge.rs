//! The challenges of a refusal: `WWW-Authenticate` (RFC 9110, 11.6.1; RFC 6750, 3).
//!
//! One field line a scheme, since several challenges in one are read wrongly by many. The same two on every path: which
//! carriers a route takes is told to nobody without a key.

use http::header::{self, HeaderMap, HeaderValue};

/// What a refusal asks of its client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge {
    None,
    /// A credential is wanted; no error is told (RFC 6750, 3.1).
    Plain,
    Error(&'static str),
}

/// The challenges of one realm. Those of most refusals are written once a worker: a flood of invented keys is answered
/// with nothing but copies of references.
#[derive(Debug)]
pub(super) struct Challenges {
    realm: String,
    bearer: HeaderValue,
    invalid_token: HeaderValue,
    token: HeaderValue,
}

impl Challenges {
    /// Those of a realm that can stand between quotes.
    pub(super) fn new(realm: &str) -> Self {
        Self {
            realm: realm.to_owned(),
            bearer: line("Bearer", realm, ""),
            invalid_token: line("Bearer", realm, &error("invalid_token")),
            token: line("Token", realm, ""),
        }
    }

    /// Adds the lines of `challenge`, with what else is to be said of its error.
    pub(super) fn add(&self, headers: &mut HeaderMap, challenge: Challenge, more: &str) {
        let bearer = match challenge {
            Challenge::None => return,
            Challenge::Plain => self.bearer.clone(),
            Challenge::Error("invalid_token") if more.is_empty() => self.invalid_token.clone(),
            Challenge::Error(code) => line("Bearer", &self.realm, &(error(code) + more)),
        };
        headers.append(header::WWW_AUTHENTICATE, bearer);
        headers.append(header::WWW_AUTHENTICATE, self.token.clone());
    }
}

fn error(code: &str) -> String {
    format!(", error=\"{code}\"")
}

fn line(scheme: &'static str, realm: &str, parameters: &str) -> HeaderValue {
    let line = HeaderValue::try_from(format!("{scheme} realm=\"{realm}\"{parameters}"));
    // The settings let only visible characters into a realm, and the rest is ours.
    line.unwrap_or_else(|_| HeaderValue::from_static(scheme))
}

//! The headers of a refusal, and its challenges among them: `WWW-Authenticate` (RFC 9110, 11.6.1; RFC 6750, 3).
//!
//! One field line a scheme, since several challenges in one are read wrongly by many. The same two on every path: which
//! carriers a route takes is told to nobody without a key.

use http::header::{self, HeaderMap, HeaderValue};

use super::forward::X_REQUEST_ID;

/// What a refusal asks of its client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge {
    None,
    /// A credential is wanted; no error is told (RFC 6750, 3.1).
    Plain,
    Error(&'static str),
}

/// The headers that refusals begin with, under one realm. Those of most refusals are made once a worker: a flood of invented
/// keys is answered with copies.
#[derive(Debug)]
pub(super) struct Challenges {
    realm: String,
    none: HeaderMap,
    plain: HeaderMap,
    invalid_token: HeaderMap,
}

impl Challenges {
    /// Those of a realm that can stand between quotes.
    pub(super) fn new(realm: &str) -> Self {
        Self {
            realm: realm.to_owned(),
            none: common(),
            plain: challenged(realm, ""),
            invalid_token: challenged(realm, &error("invalid_token")),
        }
    }

    /// A refusal's headers with the lines of `challenge`, and what else is to be said of its error. All of them have room
    /// for [`X_REQUEST_ID`], which is to be set.
    pub(super) fn headers(&self, challenge: Challenge, more: &str) -> HeaderMap {
        match challenge {
            Challenge::None => self.none.clone(),
            Challenge::Plain => self.plain.clone(),
            Challenge::Error("invalid_token") if more.is_empty() => self.invalid_token.clone(),
            Challenge::Error(code) => challenged(&self.realm, &(error(code) + more)),
        }
    }
}

fn common() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, HeaderValue::from_static(""));
    headers
}

fn challenged(realm: &str, parameters: &str) -> HeaderMap {
    let mut headers = common();
    headers.append(header::WWW_AUTHENTICATE, line("Bearer", realm, parameters));
    headers.append(header::WWW_AUTHENTICATE, line("Token", realm, ""));
    headers
}

fn error(code: &str) -> String {
    format!(", error=\"{code}\"")
}

fn line(scheme: &'static str, realm: &str, parameters: &str) -> HeaderValue {
    let line = HeaderValue::try_from(format!("{scheme} realm=\"{realm}\"{parameters}"));
    // The settings let only visible characters into a realm, and the rest is ours.
    line.unwrap_or_else(|_| HeaderValue::from_static(scheme))
}

//! One canonical request: made once, from here on the only thing that is judged and forwarded.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use hyper::body::Incoming;
use ipnet::IpNet;

use super::canon::{self, Malformed};
use super::client::Client;
use super::headers::clean_request;
use super::plan::Plan;
use super::refuse::Stop;
use crate::net::Peer;

/// The request as it will be judged and forwarded.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) host: HeaderValue,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) client: Client,
}

impl Asked {
    /// Makes the canonical request.
    ///
    /// # Errors
    /// [`Stop::Malformed`] or [`Stop::Misdirected`].
    pub(super) fn new(request: Request<Incoming>, peer: &Peer, plan: &Plan, trusted: &[IpNet]) -> Result<Self, Stop> {
        let (mut head, body) = request.into_parts();
        let secure = peer.secure();
        canon::method(&head.method)?;
        let host = canon::host(&head.uri, &head.headers, secure)?;
        let target = canon::target(&head.uri, &head.method, plan.strictness)?;
        canon::framing(&head.headers, head.version)?;
        if head.version == Version::HTTP_2 && head.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Malformed::TransferEncoding.into());
        }
        let client = Client::of(peer.address, secure, &head.headers, trusted);
        clean_request(&mut head.headers, &plan.identity, plan.underscores)?;
        let asked = Self { method: head.method, host, target, headers: head.headers, body, client };
        if peer.tls.as_ref().is_some_and(|tls| !tls.serves(canon::without_port(asked.host()))) {
            return Err(Stop::Misdirected);
        }
        Ok(asked)
    }

    /// The host, with its port where that is not the scheme's own.
    pub(super) fn host(&self) -> &str {
        // Made from ASCII in `canon::host`.
        self.host.to_str().unwrap_or_default()
    }
}

//! One canonical request: made once, from here on the only thing that is judged and forwarded.

use http::{HeaderValue, Version, request};

use super::Generation;
use super::canon;
use super::client::Client;
use super::headers::clean_request;
use super::refuse::Stop;
use crate::net::Peer;

/// The request as it will be judged and forwarded.
#[derive(Clone)]
pub(super) struct Asked {
    /// Method, canonical target in origin form, and clean headers.
    pub(super) head: request::Parts,
    pub(super) host: HeaderValue,
    pub(super) client: Client,
    /// Whether it came over HTTP/2.
    pub(super) http2: bool,
}

impl Asked {
    /// Makes the canonical request.
    ///
    /// # Errors
    /// [`Stop::HeadTooLarge`], [`Stop::Malformed`] or [`Stop::Misdirected`].
    pub(super) fn new(mut head: request::Parts, peer: &Peer, live: &Generation) -> Result<Box<Self>, Stop> {
        let plan = &live.plan;
        if size_of(&head) > live.header_bytes {
            return Err(Stop::HeadTooLarge);
        }
        let (secure, http2) = (peer.secure(), head.version == Version::HTTP_2);
        canon::method(&head.method)?;
        let host = canon::host(&head.uri, &head.headers, secure)?;
        let target = canon::target(&head.uri, &head.method, plan.strictness)?;
        canon::framing(&head.headers, head.version)?;
        let client = Client::of(peer, &head.headers, &live.trusted, live.client_header);
        clean_request(&mut head.headers, &plan.identity, plan.underscores)?;
        head.uri = target.into();
        head.version = Version::HTTP_11;
        head.extensions.clear();
        // Boxed: it is handed on from step to step.
        let asked = Box::new(Self { head, host, client, http2 });
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

/// A head's size as HTTP/1.1 writes it: request line, then `name: value` lines. For HTTP/2 it is the same request's.
fn size_of(head: &request::Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let lines = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    head.method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + lines.sum::<usize>()
}

//! One canonical request: made once, from here on the only thing that is judged and forwarded.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header, request};

use super::Generation;
use super::canon;
use super::client::Client;
use super::headers::clean_request;
use super::refuse::Stop;
use super::upgrade::Asking;
use crate::key::AccountId;
use crate::keyring::Caller;
use crate::net::Peer;

/// The request as it will be judged and forwarded.
pub(super) struct Asked {
    /// Method, canonical target in origin form, and clean headers.
    pub(super) head: request::Parts,
    pub(super) host: HeaderValue,
    pub(super) client: Client,
    /// Whether it came over HTTP/2.
    pub(super) http2: bool,
    /// What its connection is asked to go on as.
    pub(super) upgrade: Option<Asking>,
    /// The position of the log that it is to be judged by, or a later one.
    pub(super) at_least: Option<u64>,
}

impl Asked {
    /// Makes the canonical request.
    ///
    /// # Errors
    /// [`Stop::HeadTooLarge`], [`Stop::Malformed`] or [`Stop::Misdirected`].
    pub(super) fn new(mut head: request::Parts, peer: &Peer, live: &Generation) -> Result<Box<Self>, Stop> {
        let plan = &live.plan;
        let Survey { size, framed, upgrade } = Survey::of(&head);
        if size > live.header_bytes {
            return Err(Stop::HeadTooLarge);
        }
        let http2 = head.version == Version::HTTP_2;
        canon::method(&head.method)?;
        let client = Client::of(peer, &head.headers, &live.trusted, live.client_header);
        // The port that goes without saying is that of the scheme which the origin is told of.
        let host = canon::host(&head.uri, &head.headers, client.secure)?;
        let target = canon::target(&head.uri, &head.method, plan.strictness)?;
        if framed {
            canon::framing(&head.headers, head.version)?;
        }
        let upgrade = if upgrade { Asking::of(&head, framed) } else { None };
        let at_least = clean_request(&mut head.headers, &plan.identity, plan.underscores)?;
        head.uri = target.into();
        head.version = Version::HTTP_11;
        head.extensions.clear();
        // Boxed: it is handed on from step to step.
        let asked = Box::new(Self { head, host, client, http2, at_least, upgrade });
        if peer.tls.as_ref().is_some_and(|tls| !tls.serves(canon::without_port(asked.host()))) {
            return Err(Stop::Misdirected);
        }
        Ok(asked)
    }

    /// Who asks, of a rule or a part of self-service, in an account.
    pub(super) fn caller<'a>(&'a self, route: &'a str, account: Option<&'a AccountId>) -> Caller<'a> {
        let agent = self.head.headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
        Caller { address: self.client.address, agent, route, account }
    }

    /// The host, with its port where that is not the scheme's own.
    pub(super) fn host(&self) -> &str {
        // Made from ASCII in `canon::host`.
        self.host.to_str().unwrap_or_default()
    }
}

/// A permitted request that may have to be sent once more, in one piece of memory of its own. A clone would cost three times
/// as much, line by line, and hold the whole buffer that the request was read into until it is answered.
pub(super) struct Kept {
    method: Method,
    client: Client,
    http2: bool,
    /// Target, host, and every header's name and value, each ended by a byte that none of them can hold.
    text: Vec<u8>,
}

impl Kept {
    pub(super) fn of(asked: &Asked) -> Self {
        // It was judged; and one that asks for an upgrade is not sent again.
        let Asked { head, host, client, http2, at_least: _, upgrade: _ } = asked;
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut text = Vec::with_capacity(USUAL);
        let mut add = |part: &[u8]| {
            text.extend_from_slice(part);
            text.push(END);
        };
        add(target.as_bytes());
        add(host.as_bytes());
        for (name, value) in &head.headers {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        let client = Client { request_id: None, ..client.clone() };
        Self { method: head.method.clone(), client, http2: *http2, text }
    }

    /// The same request.
    ///
    /// # Errors
    /// Never: it was one.
    pub(super) fn asked(self) -> Result<Box<Asked>, http::Error> {
        let mut parts = self.text.split(|byte| *byte == END);
        let mut next = || parts.next().unwrap_or_default();
        let target = PathAndQuery::try_from(next())?;
        let host = HeaderValue::from_bytes(next())?;
        let mut request = Request::builder().method(self.method).uri(Uri::from(target)).body(())?;
        loop {
            let (name, value) = (next(), next());
            if name.is_empty() {
                let (head, ()) = request.into_parts();
                let (client, http2) = (self.client, self.http2);
                return Ok(Box::new(Asked { head, host, client, http2, at_least: None, upgrade: None }));
            }
            request.headers_mut().append(HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
        }
    }
}

/// What most requests fit in.
const USUAL: usize = 512;

/// No target, name or value has it (RFC 9110, 5.5).
const END: u8 = 0;

/// What one look at a head's lines tells.
struct Survey {
    /// As HTTP/1.1 writes it: request line, then `name: value` lines; for HTTP/2 it is the same request's.
    size: usize,
    /// Whether any of the lines frames a body.
    framed: bool,
    /// Whether any asks for an upgrade.
    upgrade: bool,
}

impl Survey {
    fn of(head: &request::Parts) -> Self {
        let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let size = head.method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
        let mut all = Self { size, framed: false, upgrade: false };
        for (name, value) in &head.headers {
            all.size += name.as_str().len() + value.len() + 4;
            all.framed |= *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
            all.upgrade |= *name == header::UPGRADE;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn asked(method: Method, target: &str, host: &str, lines: &[(HeaderName, HeaderValue)]) -> Asked {
        let mut request = Request::builder().method(method).uri(target).body(()).unwrap();
        for (name, value) in lines {
            request.headers_mut().append(name, value.clone());
        }
        let (head, ()) = request.into_parts();
        let client = Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            chain: HeaderValue::from_static("127.0.0.1"),
            secure: true,
            request_id: None,
        };
        Asked { head, host: host.parse().unwrap(), client, http2: true, at_least: None, upgrade: None }
    }

    proptest! {
        /// Names in their order, lines that are repeated, empty values and bytes beyond ASCII included.
        #[test]
        fn a_request_that_is_sent_again_is_the_same(
            method in "[A-Z]{1,20}",
            target in "/[a-z/%~]{0,40}(\\?[!$-;=?-Z_a-z]{0,20})?",
            lines in proptest::collection::vec(("[a-c!#$%&'*+.^_`|~-]{1,30}", "([!-~]([ -~\\t]|\\PC){0,20})?"), 0..40),
        ) {
            let lines: Vec<(HeaderName, HeaderValue)> = lines
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
                .collect();
            let first = asked(method.parse().unwrap(), &target, "a.test:8443", &lines);
            let again = Kept::of(&first).asked().unwrap();
            prop_assert_eq!(&again.head.method, &first.head.method);
            prop_assert_eq!(&again.head.uri, &first.head.uri);
            prop_assert_eq!(again.head.version, first.head.version);
            prop_assert_eq!((&again.host, again.http2), (&first.host, first.http2));
            prop_assert!(again.head.headers.iter().eq(first.head.headers.iter()));
        }
    }

    #[test]
    fn an_options_request_for_everything_is_sent_again_as_one() {
        let first = asked(Method::OPTIONS, "*", "a.test", &[]);
        assert_eq!(Kept::of(&first).asked().unwrap().head.uri, Uri::from_static("*"));
    }
}

//! Asking an origin for another protocol (RFC 9110, 7.8), where the route allows it.
//!
//! ```text
//!  HTTP/1.1, no body, one `Upgrade` of one token, named by `Connection`   else it is an ordinary request, and no word of it
//!     and the route allows that token                                     goes on
//!  the origin answers 101 with that token, and proof for a WebSocket      else 101 is no answer, and any other is an
//!     --> the connection goes on as a tunnel                              ordinary one, after which the connection closes
//! ```
//!
//! Nothing but this makes a tunnel, and not a byte of what the client sends behind its request goes to the origin before.

use std::cell::Cell;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version, request};

use super::config::RouteConfig;
use super::origin::Switched;
use super::tunnel::Place;

/// What a request asks for: the one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asking(HeaderValue);

/// Something that a route lets a client ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protocol(HeaderValue);

/// A protocol that is asked of the origin, and how its answer has to look.
pub(super) struct Switch {
    protocol: Protocol,
    /// The proof that a WebSocket server gives.
    accept: Option<String>,
    /// Among the tunnels; without one there will be none.
    place: Cell<Option<Place>>,
}

/// What an origin agreed to.
pub(super) struct Agreed {
    pub(super) origin: Switched,
    pub(super) protocol: Protocol,
    pub(super) place: Place,
}

impl Asking {
    /// What this head, as it came, asks for, if that can be told in one way only. `framed` is whether it tells of a body.
    pub(super) fn of(head: &request::Parts, framed: bool) -> Option<Self> {
        if head.version != Version::HTTP_11 || framed {
            return None;
        }
        let token = only(&head.headers, header::UPGRADE)?;
        let lines = head.headers.get_all(header::CONNECTION).iter();
        let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let named = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        (named && is_protocol(token.as_bytes())).then(|| Self(token.clone()))
    }
}

impl Protocol {
    /// Reads `upgrade` of a route.
    pub(super) fn all(said: &RouteConfig, flaw: &mut impl FnMut(&str, String)) -> Vec<Self> {
        let Some(tokens) = &said.upgrade else { return Vec::new() };
        if said.filter.is_some() && !tokens.is_empty() {
            flaw("upgrade", "nothing can be filtered out of what goes through a tunnel".into());
        }
        let read = |text: &String| match HeaderValue::from_str(text).ok().filter(|token| is_protocol(token.as_bytes()))
        {
            None => {
                flaw("upgrade", format!("{text:?} is no protocol: write one as in Upgrade, such as \"websocket\""));
                None
            }
            Some(_) if is_http(text) => {
                flaw("upgrade", format!("{text:?} would let requests through that nobody judges"));
                None
            }
            Some(token) => Some(Self(token)),
        };
        tokens.iter().filter_map(read).collect()
    }

    /// Whether this is what is asked for, by a request that may ask for it.
    fn is_asked(&self, asking: &Asking, head: &request::Parts) -> bool {
        let is_same = self.0.as_bytes().eq_ignore_ascii_case(asking.0.as_bytes());
        is_same && (!self.is_websocket() || (head.method == Method::GET && only(&head.headers, KEY).is_some()))
    }

    /// Whether its bytes are a WebSocket's frames (RFC 6455).
    pub(super) fn is_websocket(&self) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Says that it is asked for, or that it begins.
    pub(super) fn say(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.0.clone());
    }
}

impl Switch {
    /// What this request asks for and one of these allows.
    pub(super) fn allowed(protocols: &[Protocol], asking: &Asking, head: &request::Parts) -> Option<Box<Self>> {
        let protocol = protocols.iter().find(|protocol| protocol.is_asked(asking, head))?.clone();
        let key = Some(&protocol).filter(|protocol| protocol.is_websocket()).and_then(|_| only(&head.headers, KEY));
        let accept = key.map(|key| {
            let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
            STANDARD.encode(proof.as_ref())
        });
        Some(Box::new(Self { protocol, accept, place: Cell::new(None) }))
    }

    pub(super) const fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// A tunnel may come of it.
    pub(super) fn enters(&self, place: Place) {
        self.place.set(Some(place));
    }

    /// The origin agreed, and this is its connection.
    pub(super) fn agreed(&self, origin: Switched) -> Option<Agreed> {
        Some(Agreed { origin, protocol: self.protocol.clone(), place: self.place.take()? })
    }

    /// Whether a 101 with these headers is the answer to it.
    pub(super) fn is_answered(&self, headers: &HeaderMap) -> bool {
        let token = only(headers, header::UPGRADE).map(|token| token.as_bytes().trim_ascii());
        let same = token.is_some_and(|token| token.eq_ignore_ascii_case(self.protocol.0.as_bytes()));
        let proof = only(headers, ACCEPT).map(|proof| proof.as_bytes().trim_ascii());
        same && self.accept.as_ref().is_none_or(|accept| proof == Some(accept.as_bytes()))
    }
}

/// The value of a header that stands once.
fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// `protocol = name ["/" version]`, each a token; a list is none.
fn is_protocol(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'/');
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| is_token_char(*byte));
    parts.next().is_some_and(is_token) && parts.next().is_none_or(is_token) && parts.next().is_none()
}

fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// HTTP itself, or TLS, in which it could be hidden: a tunnel of those is a way around every rule.
fn is_http(text: &str) -> bool {
    let name = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
    matches!(name.as_str(), "h2" | "h2c" | "h3" | "http" | "https" | "tls")
}

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: Method, version: Version, lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn protocols(tokens: &[&str]) -> Result<Vec<Protocol>, Vec<String>> {
        let upgrade = Some(tokens.iter().map(ToString::to_string).collect());
        let mut flaws = Vec::new();
        let said = RouteConfig { upgrade, ..RouteConfig::default() };
        let all = Protocol::all(&said, &mut |field, message| flaws.push(format!("{field}: {message}")));
        if flaws.is_empty() { Ok(all) } else { Err(flaws) }
    }

    const ASKED: [(&str, &str); 3] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn allowed(method: Method, version: Version, lines: &[(&str, &str)], framed: bool) -> Option<Box<Switch>> {
        let head = head(method, version, lines);
        Switch::allowed(&protocols(&["SPDY/3.1", "websocket"]).unwrap(), &Asking::of(&head, framed)?, &head)
    }

    #[test]
    fn one_token_that_the_route_allows_is_asked_for_and_nothing_else() {
        let asked = |lines: &[(&str, &str)]| allowed(Method::GET, Version::HTTP_11, lines, false);
        assert_eq!(asked(&ASKED).unwrap().protocol().as_str(), "websocket");
        let spdy = [("connection", "upgrade"), ("upgrade", "spdy/3.1")];
        assert!(allowed(Method::POST, Version::HTTP_11, &spdy, false).is_some());
        assert!(allowed(Method::POST, Version::HTTP_11, &spdy, true).is_none(), "a body");
        assert!(allowed(Method::POST, Version::HTTP_11, &ASKED, false).is_none(), "a WebSocket by POST");
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert!(allowed(Method::GET, version, &ASKED, false).is_none(), "{version:?}");
        }
        let changed = |at: usize, line: (&'static str, &'static str)| {
            let mut lines = ASKED.to_vec();
            lines[at] = line;
            lines
        };
        let twice = |line| [&ASKED[..], &[line]].concat();
        for lines in [
            changed(0, ("connection", "keep-alive")),
            changed(0, ("accept", "*/*")),
            changed(1, ("upgrade", "websocket, h2c")),
            changed(1, ("upgrade", "h2c")),
            changed(1, ("upgrade", "websocket/13")),
            changed(1, ("upgrade", "")),
            changed(2, ("accept", "*/*")),
            twice(("upgrade", "websocket")),
            twice(("upgrade", "h2c")),
            twice(("sec-websocket-key", "YQ==")),
        ] {
            assert!(asked(&lines).is_none(), "{lines:?}");
        }
        assert!(asked(&twice(("connection", "x-hop"))).is_some());
    }

    #[test]
    fn only_a_101_with_the_token_and_the_proof_is_the_answer() {
        let switch = allowed(Method::GET, Version::HTTP_11, &ASKED, false).unwrap();
        let answered = |lines: &[(&str, &str)]| switch.is_answered(&head(Method::GET, Version::HTTP_11, lines).headers);
        // RFC 6455, 1.3.
        let proof = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(answered(&[("upgrade", "websocket"), proof]));
        assert!(answered(&[("upgrade", "WebSocket"), ("connection", "upgrade"), proof]));
        for lines in [
            &[proof][..],
            &[("upgrade", "websocket")],
            &[("upgrade", "websocket"), ("sec-websocket-accept", "YQ==")],
            &[("upgrade", "h2c"), proof],
            &[("upgrade", "h2c, websocket"), proof],
            &[("upgrade", "websocket"), ("upgrade", "h2c"), proof],
            &[("upgrade", "websocket"), proof, proof],
        ] {
            assert!(!answered(lines), "{lines:?}");
        }
    }

    #[test]
    fn no_route_lets_http_through_unjudged() {
        for token in ["h2c", "H2C", "h2", "h3", "HTTP/2.0", "http/1.1", "TLS/1.2", "tls"] {
            let flaws = protocols(&[token]).unwrap_err();
            assert!(flaws[0].contains("nobody judges"), "{flaws:?}");
        }
        for token in ["", "a b", "a/b/c", "/a", "a/", "a,b", "ä"] {
            assert!(protocols(&[token]).unwrap_err()[0].contains("no protocol"), "{token}");
        }
        assert_eq!(protocols(&["websocket", "SPDY/3.1", "tcp"]).unwrap().len(), 3);
    }
}

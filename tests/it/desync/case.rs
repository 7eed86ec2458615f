//! How a case is written: what is sent, what the client must be answered, and what the origin must have received.

use super::frames::Frame;
use super::recorder::{Lie, Then};

/// One case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) sent: Sent,
    /// The client's answers, in order: a status, then the code of a refusal or, where the origin lies, the whole body;
    /// `cut` is one that breaks off, and one with a question mark may be missing. Over HTTP/2 the streams' in the order of
    /// their numbers, where `reset` and `goaway` are answers too.
    pub(super) answers: &'static [&'static str],
    pub(super) after: After,
    /// What must have reached the origin, in order: the request line without its version, the field lines that are the
    /// client's own, and behind `||` the body; parts are split by `|`, and `host: api.test` is meant where none stands.
    pub(super) forwarded: &'static [&'static str],
    /// The origin may have received the beginning of these too, on a connection that ended then.
    pub(super) cut: &'static [&'static str],
    pub(super) lie: Option<Lie>,
    /// Over HTTP/2 as well.
    pub(super) everywhere: bool,
}

/// What is sent. `<host>` and `<key>` stand for whole field lines, `<bare>` for the rest of a request line and a Host,
/// `<keyed>` for the same and a key; `<secret>` and `<other>` for the keys of two accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    /// These bytes.
    Raw(&'static [u8]),
    /// A request with a Host, a key, these field lines and this body.
    Keyed { method: &'static str, target: &'static str, fields: &'static [u8], body: &'static [u8] },
    /// A GET with a Host, these field lines, and no key but what they bring.
    Bare { target: &'static str, fields: &'static [u8] },
    /// HTTP/2 frames, after the preface and an empty SETTINGS.
    Frames(&'static [Frame]),
}

/// What becomes of the client's connection after the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request on it is served.
    Open,
    /// It ends without another byte.
    Closed,
    /// Either: it depends on how much of a body had come when it was refused.
    Either,
}

/// A GET with a key.
pub(super) const fn get(target: &'static str, fields: &'static [u8]) -> Sent {
    Sent::Keyed { method: "GET", target, fields, body: b"" }
}

/// A POST to `/a` with a key.
pub(super) const fn post(fields: &'static [u8], body: &'static [u8]) -> Sent {
    Sent::Keyed { method: "POST", target: "/a", fields, body }
}

/// A POST to `/a` with a key and a chunked body.
pub(super) const fn chunked(body: &'static [u8]) -> Sent {
    post(b"Transfer-Encoding: chunked\r\n", body)
}

/// A request to `/a` with a key and no body.
pub(super) const fn method(method: &'static str, target: &'static str) -> Sent {
    Sent::Keyed { method, target, fields: b"", body: b"" }
}

/// A GET with what credentials its fields bring.
pub(super) const fn bare(target: &'static str, fields: &'static [u8]) -> Sent {
    Sent::Bare { target, fields }
}

pub(super) const fn raw(bytes: &'static [u8]) -> Sent {
    Sent::Raw(bytes)
}

/// Answered with these, and these forwarded.
pub(super) const fn case(
    name: &'static str,
    sent: Sent,
    answers: &'static [&'static str],
    forwarded: &'static [&'static str],
) -> Case {
    Case { name, sent, answers, after: After::Open, forwarded, cut: &[], lie: None, everywhere: false }
}

/// Refused, and nothing forwarded; the connection is open.
pub(super) const fn refused(name: &'static str, sent: Sent, answers: &'static [&'static str]) -> Case {
    case(name, sent, answers, &[])
}

/// Not taken for HTTP/1.1 at all: 400, and the connection closed.
pub(super) const fn unreadable(name: &'static str, sent: Sent) -> Case {
    refused(name, sent, &["400"]).closed()
}

/// Forwarded as this, and nothing else.
pub(super) const fn passed(name: &'static str, sent: Sent, forwarded: &'static [&'static str]) -> Case {
    case(name, sent, &["200"], forwarded)
}

/// The origin answers a GET of `/a` with a lie, and the client gets these.
pub(super) const fn lie(
    name: &'static str,
    answer: &'static [u8],
    then: Then,
    answers: &'static [&'static str],
) -> Case {
    let mut case = case(name, get("/a", b""), answers, &["GET /a"]);
    case.lie = Some(Lie { answer, then });
    case
}

impl Case {
    pub(super) const fn closed(mut self) -> Self {
        self.after = After::Closed;
        self
    }

    pub(super) const fn forwards(mut self, forwarded: &'static [&'static str]) -> Self {
        self.forwarded = forwarded;
        self
    }

    pub(super) const fn either(mut self) -> Self {
        self.after = After::Either;
        self
    }

    pub(super) const fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }

    /// The origin may have seen the beginning of these.
    pub(super) const fn cut(mut self, cut: &'static [&'static str]) -> Self {
        self.cut = cut;
        self
    }

    /// Another request than GET `/a` meets the lie.
    pub(super) const fn to(mut self, sent: Sent, forwarded: &'static [&'static str]) -> Self {
        (self.sent, self.forwarded) = (sent, forwarded);
        self
    }
}

/// The keys of the two accounts that cases and innocents use.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Of account 101, which the cases use.
    pub(super) secret: String,
    /// Of account 202, which the innocents use.
    pub(super) other: String,
}

impl Keys {
    /// Puts what they stand for in the place of marks.
    pub(super) fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let key = format!("Authorization: Token {}\r\n", self.secret);
        let bare = "HTTP/1.1\r\nHost: api.test\r\n";
        let keyed = format!("{bare}{key}");
        let marks = [
            ("<host>", "Host: api.test\r\n"),
            ("<key>", &key),
            ("<bare>", bare),
            ("<keyed>", &keyed),
            ("<secret>", &self.secret),
            ("<other>", &self.other),
        ];
        let mut filled = Vec::with_capacity(bytes.len() + 128);
        let mut rest = bytes;
        while let [first, after @ ..] = rest {
            match marks.iter().find(|(mark, _)| rest.starts_with(mark.as_bytes())) {
                Some((mark, text)) => {
                    filled.extend_from_slice(text.as_bytes());
                    rest = &rest[mark.len()..];
                }
                None => {
                    filled.push(*first);
                    rest = after;
                }
            }
        }
        filled
    }
}

impl Sent {
    /// As HTTP/1.1.
    pub(super) fn bytes(&self, keys: &Keys) -> Vec<u8> {
        let (line, key, fields, body) = match *self {
            Self::Raw(bytes) => return keys.fill(bytes),
            Self::Keyed { method, target, fields, body } => (format!("{method} {target}"), "<key>", fields, body),
            Self::Bare { target, fields } => (format!("GET {target}"), "", fields, &b""[..]),
            Self::Frames(_) => unreachable!("frames are no HTTP/1.1"),
        };
        let head = format!("{line} HTTP/1.1\r\n<host>{key}");
        keys.fill(&[head.as_bytes(), fields, b"\r\n", body].concat())
    }

    /// The method of the first request, by which its answer is read.
    pub(super) fn method(&self) -> &str {
        match self {
            Self::Raw(bytes) if bytes.starts_with(b"HEAD ") => "HEAD",
            Self::Keyed { method, .. } => method,
            _ => "GET",
        }
    }
}

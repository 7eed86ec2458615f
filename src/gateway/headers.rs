//! Header hygiene, in the one order that is safe: `Connection` first, then everything only we may say, then what the
//! connection itself said. What we say ourselves is set last, in `forward`.
//!
//! Doing it the other way round would let a client remove our identity header by naming it in `Connection`.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::canon::Malformed;
use super::config::{IdentityNames, Underscores};
use crate::flaw::Flaw;
use crate::keyring::receipt::{AT_LEAST, position};

/// The names the origin reads, and which of them are ours.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) account: HeaderName,
    pub(super) user: HeaderName,
    pub(super) key: HeaderName,
    pub(super) kind: HeaderName,
    pub(super) permissions: HeaderName,
    /// Whether any service is sent signatures, so that a client may send none.
    signed: bool,
    /// Which lengths the names have, a bit each: most other names are told apart by that.
    lengths: u64,
}

impl Identity {
    /// The names as set, or what is wrong with them.
    pub(super) fn new(names: &IdentityNames, signed: bool) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let mut taken: Vec<HeaderName> = Vec::new();
        let mut read = |field: &str, text: &str| {
            let key = format!("gateway.identity.{field}");
            let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(is_plain);
            match name {
                None => flaws.push(Flaw::new(key, format!("{text:?} is no name of letters, digits and hyphens"))),
                Some(name) if is_reserved(&name) => {
                    flaws.push(Flaw::new(key, format!("{text:?} has a meaning of its own in HTTP")));
                }
                Some(name) if taken.contains(&name) => flaws.push(Flaw::new(key, format!("{text:?} is used twice"))),
                Some(name) => taken.push(name),
            }
        };
        read("account", &names.account);
        read("user", &names.user);
        read("key", &names.key);
        read("kind", &names.kind);
        read("permissions", &names.permissions);
        match <[HeaderName; 5]>::try_from(taken) {
            Ok(names) => {
                let lengths = names.iter().fold(0, |lengths, name| lengths | bit_of(name.as_str()));
                let [account, user, key, kind, permissions] = names;
                Ok(Self { account, user, key, kind, permissions, signed, lengths })
            }
            Err(_) => Err(flaws),
        }
    }

    /// The same names in memory of their own.
    pub(super) fn copied(&self) -> Self {
        let copy =
            |name: &HeaderName| HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
        Self {
            account: copy(&self.account),
            user: copy(&self.user),
            key: copy(&self.key),
            kind: copy(&self.kind),
            permissions: copy(&self.permissions),
            signed: self.signed,
            lengths: self.lengths,
        }
    }

    /// The names, in the order they are signed in.
    pub(super) fn names(&self) -> [&HeaderName; 5] {
        [&self.account, &self.user, &self.key, &self.kind, &self.permissions]
    }

    fn contains(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        let may_be = self.lengths & bit_of(text) != 0;
        (may_be && self.names().contains(&name)) || (self.signed && is_signature(text))
    }
}

/// The bit for a name's length; the last one is for all that are longer.
fn bit_of(name: &str) -> u64 {
    1 << name.len().min(63)
}

/// Whether `name` means something to HTTP or to forwarding, so that nothing of ours may be called so.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    is_of_connection(name)
        || is_forwarding(name)
        || is_untouchable(name)
        || is_signature(name)
        || matches!(name, "expect" | "via" | AT_LEAST)
}

/// Cleans a request's headers. Of which position of the log they tell, where they do: that is said to us alone.
///
/// # Errors
/// [`Malformed::Connection`] where `Connection` names what is not the connection's, [`Malformed::Underscore`] by setting,
/// [`Malformed::AtLeast`].
pub(super) fn clean_request(
    headers: &mut HeaderMap,
    identity: &Identity,
    underscores: Underscores,
) -> Result<Option<u64>, Malformed> {
    let mut doomed: SmallVec<[HeaderName; 8]> = SmallVec::new();
    let (mut connection, mut cookie, mut at_least) = (false, false, false);
    for name in headers.keys() {
        connection |= *name == header::CONNECTION;
        cookie |= *name == header::COOKIE;
        if !is_plain(name) {
            if underscores == Underscores::Refuse {
                return Err(Malformed::Underscore);
            }
            doomed.push(name.clone());
        } else if is_ours(name, identity) {
            doomed.push(name.clone());
        } else {
            at_least |= name.as_str() == AT_LEAST;
        }
    }
    if connection {
        named_by_connection(headers, identity, &mut doomed)?;
    }
    let at_least = if at_least { Some(take_at_least(headers)?) } else { None };
    for name in doomed {
        headers.remove(name);
    }
    if cookie {
        join_cookies(headers);
    }
    Ok(at_least)
}

#[cold]
fn take_at_least(headers: &mut HeaderMap) -> Result<u64, Malformed> {
    let once = headers.get_all(AT_LEAST).iter().nth(1).is_none();
    let said = headers.remove(AT_LEAST).filter(|_| once);
    said.and_then(|said| position(said.as_bytes())).ok_or(Malformed::AtLeast)
}

/// Adds what the client's `Connection` says is the connection's own.
fn named_by_connection(
    headers: &HeaderMap,
    identity: &Identity,
    doomed: &mut SmallVec<[HeaderName; 8]>,
) -> Result<(), Malformed> {
    for option in headers.get_all(header::CONNECTION).iter().flat_map(options) {
        let Ok(name) = HeaderName::from_bytes(option) else { return Err(Malformed::Connection) };
        if is_untouchable(name.as_str()) || is_forwarding(name.as_str()) || identity.contains(&name) {
            return Err(Malformed::Connection);
        }
        doomed.push(name);
    }
    Ok(())
}

/// Cleans an answer's headers of what belongs to the origin's connection.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    let mut doomed: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_of_connection(name.as_str())).cloned().collect();
    if doomed.contains(&header::CONNECTION) {
        for line in headers.get_all(header::CONNECTION) {
            let named = options(line).filter_map(|option| HeaderName::from_bytes(option).ok());
            doomed.extend(named.filter(|name| !is_untouchable(name.as_str())));
        }
    }
    for name in doomed {
        headers.remove(name);
    }
}

/// HTTP/2 may split Cookie into several fields; HTTP/1.1 has one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let whole: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&whole.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether only we may say it to the origin, or only the client to us.
fn is_ours(name: &HeaderName, identity: &Identity) -> bool {
    let text = name.as_str();
    is_of_connection(text) || is_forwarding(text) || text == "expect" || identity.contains(name)
}

/// Whether a name can be read in one way only. To CGI-like origins `_` is `-`, to some every other sign is, so such a name may
/// alias one of ours, a route's account, or a framing.
pub(super) fn is_plain(name: &HeaderName) -> bool {
    name.as_str().bytes().fold(true, |so_far, byte| so_far & PLAIN[usize::from(byte)])
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-';
        byte += 1;
    }
    plain
};

fn options(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Hop-by-hop (RFC 9110, 7.6.1), whether `Connection` names it or not.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// What only the proxy in front may say (the forwarding family), and what rewrites the request behind its judge.
fn is_forwarding(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => {
            rest.starts_with("forwarded")
                || matches!(
                    rest,
                    "real-ip"
                        | "client-ip"
                        | "cluster-client-ip"
                        | "original-url"
                        | "original-uri"
                        | "original-host"
                        | "original-method"
                        | "host"
                        | "http-host-override"
                        | "rewrite-url"
                        | "http-method-override"
                        | "http-method"
                        | "method-override"
                        | "request-id"
                )
        }
        // `Proxy` becomes HTTP_PROXY in CGI-like origins, which their own clients then use (CVE-2016-5385).
        None => matches!(name, "forwarded" | "true-client-ip" | "cf-connecting-ip" | "fastly-client-ip" | "proxy"),
    }
}

/// What proves where a request comes from (RFC 9421).
fn is_signature(name: &str) -> bool {
    matches!(name, "signature" | "signature-input")
}

/// What a `Connection` line must not remove.
fn is_untouchable(name: &str) -> bool {
    matches!(name, "host" | "authorization" | "cookie" | "content-length" | "content-type" | "date")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(signed: bool) -> Identity {
        let name = |name: &str| format!("X-Keyward-{name}");
        let names = IdentityNames {
            account: name("Account"),
            user: name("User"),
            key: name("Key"),
            kind: name("Kind"),
            permissions: name("Permissions"),
        };
        Identity::new(&names, signed).unwrap()
    }

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn cleaned(lines: &[(&str, &str)]) -> Result<HeaderMap, Malformed> {
        let mut headers = map(lines);
        clean_request(&mut headers, &identity(false), Underscores::Drop).map(|_| headers)
    }

    #[test]
    fn the_position_a_client_was_told_of_is_for_us_alone() {
        let read = |lines: &[(&str, &str)]| {
            let mut headers = map(lines);
            clean_request(&mut headers, &identity(false), Underscores::Drop).map(|said| (said, headers))
        };
        let left = map(&[("accept", "*/*")]);
        for (value, position) in [("0", 0), ("42", 42), ("18446744073709551615", u64::MAX)] {
            let said = read(&[("Keyward-At-Least", value), ("accept", "*/*")]);
            assert_eq!(said, Ok((Some(position), left.clone())), "{value}");
        }
        let said = read(&[("connection", "keyward-at-least"), ("keyward-at-least", "7"), ("accept", "*/*")]);
        assert_eq!(said, Ok((Some(7), left.clone())), "a connection's own headers are read before they go");
        assert_eq!(read(&[("keyward_at_least", "7"), ("accept", "*/*")]), Ok((None, left)));
        for value in ["", "-1", "+1", "1 ", "01", "1.0", "0x1", "one", "18446744073709551616", "1,2"] {
            assert_eq!(read(&[("keyward-at-least", value)]), Err(Malformed::AtLeast), "{value:?}");
        }
        assert_eq!(read(&[("keyward-at-least", "1"), ("keyward-at-least", "1")]), Err(Malformed::AtLeast));
    }

    #[test]
    fn what_only_we_may_say_is_removed_in_every_spelling() {
        for name in [
            "X-Keyward-Account",
            "x-keyward-permissions",
            "X_Keyward_Account",
            "X-Keyward_Account",
            "X.Keyward.Account",
            "X-Keyward!Account",
            "X-Forwarded.For",
            "Content.Length",
            "Content|Length",
            "X-Forwarded-For",
            "X-Forwarded-Anything",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Host",
            "Proxy",
            "X-HTTP-Method-Override",
            "Transfer_Encoding",
            "HTTP2-Settings",
            "Upgrade",
            "Keep-Alive",
        ] {
            let left = cleaned(&[(name, "spoofed"), ("accept", "*/*")]).unwrap();
            assert_eq!(left, map(&[("accept", "*/*")]), "{name}");
        }
    }

    #[test]
    fn a_clients_signature_is_removed_where_ours_is_set_and_only_there() {
        for name in ["Signature", "signature-input", "Signature_Input", "Signature.Input", "signature!input"] {
            let mut headers = map(&[(name, "sig1=:AAAA:"), ("accept", "*/*")]);
            clean_request(&mut headers, &identity(true), Underscores::Drop).unwrap();
            assert_eq!(headers, map(&[("accept", "*/*")]), "{name}");
        }
        let mut named = map(&[("connection", "signature"), ("signature", "sig1=:AAAA:")]);
        assert_eq!(clean_request(&mut named, &identity(true), Underscores::Drop), Err(Malformed::Connection));
        let own = [("signature", "sig1=:AAAA:"), ("signature-input", "sig1=()")];
        assert_eq!(cleaned(&own).unwrap(), map(&own));
    }

    #[test]
    fn every_connection_line_is_honoured_and_none_may_name_what_is_not_its_own() {
        let left =
            cleaned(&[("connection", "close, X-A"), ("connection", "x-b"), ("x-a", "1"), ("x-b", "2"), ("x-c", "3")]);
        assert_eq!(left.unwrap(), map(&[("x-c", "3")]));
        for name in ["Host", "authorization", "Cookie", "content-length", "X-Keyward-Account", "x-forwarded-for", "a b"]
        {
            assert_eq!(cleaned(&[("connection", name)]), Err(Malformed::Connection), "{name}");
        }
    }

    #[test]
    fn split_cookies_become_one() {
        let left = cleaned(&[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(left, map(&[("cookie", "a=1; b=2")]));
    }

    #[test]
    fn an_answer_keeps_what_is_not_its_connections() {
        let mut headers =
            map(&[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "1"), ("etag", "x"), ("date", "now")]);
        clean_answer(&mut headers);
        assert_eq!(headers, map(&[("etag", "x"), ("date", "now")]));
    }

    #[test]
    fn identity_names_must_be_ours_alone() {
        let names = |account: &str, user: &str| IdentityNames {
            account: account.into(),
            user: user.into(),
            key: "X-K".into(),
            kind: "X-Kind".into(),
            permissions: "X-P".into(),
        };
        assert!(Identity::new(&names("X-Account-Id", "X-User"), false).is_ok());
        for (account, user) in [
            ("X A", "X-U"),
            ("Host", "X-U"),
            ("X_A", "X-U"),
            ("X-A", "x-a"),
            ("X-Forwarded-For", "X-U"),
            ("Signature", "X-U"),
        ] {
            assert_eq!(Identity::new(&names(account, user), false).unwrap_err().len(), 1, "{account} {user}");
        }
    }
}

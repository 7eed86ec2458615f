//! From the wire to one canonical request, before anything is decided. What is judged is what is forwarded.
//!
//! Input that two programs are known to read in two ways is refused, not repaired: whatever we mended, some origin would
//! have mended differently. Two things are rewritten because every reader agrees on them: escapes of characters that
//! need none (`%41` is `A`), and the case of the other escapes.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use super::config::{Config, Leniency};

/// Why a request cannot be taken for one certain thing. Always the client's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// CONNECT and TRACE.
    #[error("this method is not served here")]
    Method,
    /// None, several, or one that is no host.
    #[error("exactly one valid Host is needed")]
    Host,
    /// The target's authority and Host differ.
    #[error("the request target and Host name different hosts")]
    TwoHosts,
    /// `.` or `..` as a segment, plain or escaped.
    #[error("dot segments and escaped dots are not accepted in the path")]
    Dots,
    /// `//`.
    #[error("empty segments are not accepted in the path")]
    EmptySegment,
    /// `;`.
    #[error("semicolons are not accepted in the path")]
    Semicolon,
    /// `%2F`, `%5C`.
    #[error("escaped slashes are not accepted in the path")]
    EscapedSlash,
    /// Control bytes, backslashes, broken escapes, raw non-ASCII, double escaping.
    #[error("the request target has a character or an escape that is not accepted")]
    Target,
    /// More than one Content-Length, or none that is a number.
    #[error("Content-Length is repeated or no number")]
    ContentLength,
    /// Anything but a single `chunked`.
    #[error("Transfer-Encoding must be a single chunked")]
    TransferEncoding,
    /// It names a header that must not be removed.
    #[error("Connection names a header that is not the connection's")]
    Connection,
    /// A header name with `_` or another sign, where settings refuse it.
    #[error("header names of anything but letters, digits and hyphens are not accepted")]
    Underscore,
    /// `Keyward-At-Least` is repeated, or no position of the log.
    #[error("Keyward-At-Least must be one revision, which is a number")]
    AtLeast,
    /// The account stands in two places that differ.
    #[error("the request names two accounts")]
    TwoAccounts,
    /// The body broke off or was no valid chunked coding.
    #[error("the request body is broken")]
    Body,
    /// The body has to be looked into, and reads in two ways or in none.
    #[error("the request body is no JSON object, or names a member twice")]
    Json,
}

/// How strict to be where strictness is a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictness {
    pub(super) empty_segments: bool,
    pub(super) semicolons: bool,
    pub(super) escaped_slashes: bool,
}

impl Strictness {
    pub(super) fn new(config: &Config) -> Self {
        let refuses = |leniency| leniency == Leniency::Refuse;
        Self {
            empty_segments: refuses(config.empty_segments),
            semicolons: refuses(config.semicolons),
            escaped_slashes: refuses(config.escaped_slashes),
        }
    }
}

/// The method, checked.
pub(super) fn method(method: &Method) -> Result<(), Malformed> {
    // CONNECT makes a tunnel behind one check; TRACE sends headers back, ours included.
    if *method == Method::CONNECT || *method == Method::TRACE { Err(Malformed::Method) } else { Ok(()) }
}

/// The one host a request is for: lower case, without the final dot and the scheme's own port.
///
/// HTTP/1 must have one Host (RFC 9112, 3.2), HTTP/2 an `:authority` or a Host, equal where both stand (RFC 9113, 8.3.1).
pub(super) fn host(uri: &Uri, headers: &HeaderMap, secure: bool) -> Result<HeaderValue, Malformed> {
    let mut lines = headers.get_all(header::HOST).iter();
    let (line, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(Malformed::Host);
    }
    if let (Some(line), None) = (line, uri.authority())
        && is_canonical_host(line.as_bytes(), secure)
    {
        // As nearly every one is: no copy.
        return Ok(line.clone());
    }
    let from_line = line.map(|line| canonical_host(line.as_bytes(), secure)).transpose()?;
    let from_target = uri.authority().map(|target| canonical_host(target.as_str().as_bytes(), secure)).transpose()?;
    match (from_line, from_target) {
        (Some(line), Some(target)) if line != target => Err(Malformed::TwoHosts),
        (Some(host), _) | (None, Some(host)) => HeaderValue::from_str(&host).map_err(|_| Malformed::Host),
        (None, None) => Err(Malformed::Host),
    }
}

/// The host without its port, as routes and certificates name it.
pub(super) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

fn canonical_host(raw: &[u8], secure: bool) -> Result<Cow<'_, str>, Malformed> {
    let text = std::str::from_utf8(raw).map_err(|_| Malformed::Host)?;
    if is_canonical_host(raw, secure) {
        return Ok(Cow::Borrowed(text));
    }
    let own = own_port(secure);
    let authority: Authority = text.parse().map_err(|_| Malformed::Host)?;
    let (name, port) = (authority.host(), authority.port());
    let spelled = match name.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    // `host:` and `host:0x50` parse as an authority without a port.
    let whole =
        name.len() + usize::from(authority.host().ends_with('.')) + port.as_ref().map_or(0, |p| p.as_str().len() + 1);
    if !spelled || name.is_empty() || name.ends_with('.') || whole != text.len() {
        return Err(Malformed::Host);
    }
    let port = port.map(|port| port.as_u16()).filter(|port| *port != own);
    let canonical = match port {
        Some(port) => Cow::Owned(format!("{}:{port}", name.to_ascii_lowercase())),
        None if name.bytes().any(|b| b.is_ascii_uppercase()) || name.len() != text.len() => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        None => Cow::Borrowed(text),
    };
    Ok(canonical)
}

/// Whether this is a name in lower case, and no port or one that is not the scheme's own, as nearly every host is: it needs
/// no parser to tell.
fn is_canonical_host(host: &[u8], secure: bool) -> bool {
    let digits = host.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (name, port) = match host.split_at(host.len() - digits) {
        ([name @ .., b':'], port) => (name, Some(port)),
        _ => (host, None),
    };
    let named = |byte: u8| byte.is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'-') | (byte == b'.');
    let plain = name.iter().fold(true, |so_far, byte| so_far & named(*byte));
    // The digits a number has: no leading zero.
    let numbered = |digits: &[u8]| {
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
        digits.first() != Some(&b'0') && number.is_some_and(|number| number != own_port(secure))
    };
    plain && !name.is_empty() && !name.ends_with(b".") && port.is_none_or(numbered)
}

const fn own_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// The target as it will be forwarded: origin form, canonical path, query as it came.
pub(super) fn target(uri: &Uri, method: &Method, strictness: Strictness) -> Result<PathAndQuery, Malformed> {
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Malformed::Target);
    }
    let Some(whole) = uri.path_and_query() else { return Err(Malformed::Target) };
    if whole.as_str() == "*" {
        return if *method == Method::OPTIONS { Ok(whole.clone()) } else { Err(Malformed::Target) };
    }
    if let Some(query) = whole.query()
        && !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Malformed::Target);
    }
    match path(whole.path(), strictness)? {
        // `http://host?query` has no path in it, and is asked for at `/`.
        Cow::Borrowed(_) if whole.as_str().starts_with('/') => Ok(whole.clone()),
        path => {
            let text = match whole.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.into_owned(),
            };
            PathAndQuery::try_from(text).map_err(|_| Malformed::Target)
        }
    }
}

/// The canonical form of a path, or why it has none.
pub(super) fn path(raw: &str, strictness: Strictness) -> Result<Cow<'_, str>, Malformed> {
    if !raw.starts_with('/') {
        return Err(Malformed::Target);
    }
    // What nearly every path is; the rest of this would find nothing in it.
    if is_smooth(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let plain = raw.bytes().all(is_plain);
    let canonical = if plain { Cow::Borrowed(raw) } else { Cow::Owned(unescape(raw, strictness)?) };
    let mut parts = canonical[1..].split('/').peekable();
    while let Some(part) = parts.next() {
        match part {
            part if is_dots(part) => return Err(Malformed::Dots),
            "" if parts.peek().is_some() && strictness.empty_segments => return Err(Malformed::EmptySegment),
            _ => {}
        }
    }
    Ok(canonical)
}

/// Whether a path has nothing but plain characters, and no segment that is empty or begins with a dot. Both are looked at
/// to the end, so that many bytes are looked at in one step.
fn is_smooth(raw: &str) -> bool {
    let raw = raw.as_bytes();
    let pairs = raw.iter().zip(raw.get(1..).unwrap_or_default());
    let rough = pairs.fold(false, |so_far, (a, b)| so_far | ((*a == b'/') & ((*b == b'/') | (*b == b'.'))));
    !rough && raw.iter().fold(true, |so_far, byte| so_far & is_plain(*byte))
}

/// Whether a segment is `.` or `..`, or is one to an origin that reads a kept `%2F` as a slash or cuts at `;`, escaped or kept.
fn is_dots(segment: &str) -> bool {
    let suspect = segment.starts_with('.') || segment.contains('%');
    let mut parts = segment.split("%2F").flat_map(|part| part.split("%5C"));
    suspect && parts.any(|part| [";", "%3B"].iter().any(|mark| matches!(part.split(mark).next(), Some("." | ".."))))
}

/// Rewrites escapes to their one canonical spelling, and refuses those that hide something.
fn unescape(raw: &str, strictness: Strictness) -> Result<String, Malformed> {
    let mut out = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    let mut beyond_ascii = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hidden = escape(&mut bytes).ok_or(Malformed::Target)?;
                match hidden {
                    b'.' => return Err(Malformed::Dots),
                    b'/' | b'\\' if strictness.escaped_slashes => return Err(Malformed::EscapedSlash),
                    0..=0x1f | 0x7f => return Err(Malformed::Target),
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                        out.push(char::from(hidden));
                        continue;
                    }
                    0x80.. => beyond_ascii = true,
                    _ => {}
                }
                out.push('%');
                out.push(char::from(HEX[usize::from(hidden >> 4)]));
                out.push(char::from(HEX[usize::from(hidden & 15)]));
            }
            b';' if strictness.semicolons => return Err(Malformed::Semicolon),
            b';' => out.push(';'),
            byte if is_plain(byte) => out.push(char::from(byte)),
            _ => return Err(Malformed::Target),
        }
    }
    if is_escaped_twice(&out) {
        return Err(Malformed::Target);
    }
    // An overlong form of a slash or a dot is no UTF-8.
    if beyond_ascii && percent_encoding::percent_decode_str(&out).decode_utf8().is_err() {
        return Err(Malformed::Target);
    }
    Ok(out)
}

/// Whether undoing the escapes of a canonical path leaves another escape.
fn is_escaped_twice(path: &str) -> bool {
    path.split("%25").skip(1).any(|rest| escape(&mut rest.bytes()).is_some())
}

/// The byte behind `%`, where two hexadecimal digits follow.
fn escape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

/// What a path may hold as it is: RFC 3986's pchar and `/`, without `;` and `%`.
const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

const PLAIN: [bool; 256] = {
    let marks = b"/-._~!$&'()*+,=:@";
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        plain[marks[at] as usize] = true;
        at += 1;
    }
    plain
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Checks the body's framing as it arrived, beyond what the parser did.
pub(super) fn framing(headers: &HeaderMap, version: Version) -> Result<(), Malformed> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        // A leading zero means octal to some origins.
        let is_decimal =
            |text: &&str| text.bytes().all(|b| b.is_ascii_digit()) && (*text == "0" || !text.starts_with('0'));
        let number = length.to_str().ok().filter(is_decimal);
        let fits = number.and_then(|text| text.parse::<u64>().ok()).is_some_and(|number| number < 1 << 63);
        if !fits || lengths.next().is_some() {
            return Err(Malformed::ContentLength);
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || version != Version::HTTP_11 {
            return Err(Malformed::TransferEncoding);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Strictness = Strictness { empty_segments: true, semicolons: true, escaped_slashes: true };
    const LENIENT: Strictness = Strictness { empty_segments: false, semicolons: false, escaped_slashes: false };

    #[test]
    fn a_canonical_path_stays_as_it_is() {
        for raw in ["/", "/a/b", "/a/b/", "/a.b/..c", "/a:b@c", "/%E2%82%AC", "/a%20b", "/%3B", "/%25"] {
            assert_eq!(path(raw, STRICT).unwrap(), raw);
        }
    }

    proptest! {
        /// As it is written down, one character after the other.
        #[test]
        fn a_smooth_path_is_plain_and_has_no_segment_that_is_empty_or_begins_with_a_dot(
            raw in "/([a-b/.;%~!\\\\ä]|[ -~]|\\PC){0,12}",
        ) {
            let inner = raw.strip_suffix('/').unwrap_or(&raw);
            let smooth = raw.bytes().all(is_plain)
                && inner.split('/').skip(1).all(|segment| !segment.is_empty() && !segment.starts_with('.'));
            prop_assert_eq!(is_smooth(&raw), smooth || raw == "/", "{}", raw);
        }

        #[test]
        fn a_canonical_host_is_a_name_in_lower_case_and_a_port_that_says_something(
            host in "([a-c0-9.:-]|[ -~]|\\PC){0,10}(:[0-9]{0,6}|:80|:443|:0)?",
            secure in any::<bool>(),
        ) {
            let (name, port) = host.split_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
            let named = !name.is_empty()
                && !name.ends_with('.')
                && name.chars().all(|sign| matches!(sign, 'a'..='z' | '0'..='9' | '-' | '.'));
            let own = if secure { "443" } else { "80" };
            let numbered = port.is_none_or(|port| {
                port != own && port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
            });
            prop_assert_eq!(is_canonical_host(host.as_bytes(), secure), named && numbered, "{}", host);
        }

        /// The way that needs no parser gives what the parser gives.
        #[test]
        fn a_host_that_is_canonical_is_what_the_parser_makes_of_it(
            host in "[a-c0-9-]{1,6}([.][a-c]{1,3})?(:[1-9][0-9]{0,4}|:80|:443)?",
            secure in any::<bool>(),
        ) {
            prop_assume!(is_canonical_host(host.as_bytes(), secure));
            // In upper case it goes the other way; no host has a capital once it is canonical.
            let parsed = canonical_host(host.to_ascii_uppercase().as_bytes(), secure).map(Cow::into_owned);
            prop_assert_eq!(parsed.as_deref(), Ok(host.as_str()));
        }
    }

    #[test]
    fn needless_escapes_are_undone_and_the_others_are_upper_case() {
        for (raw, canonical) in [("/%61ccounts/%31", "/accounts/1"), ("/a%3ab", "/a%3Ab"), ("/%e2%82%ac", "/%E2%82%AC")]
        {
            assert_eq!(path(raw, STRICT).unwrap(), canonical);
        }
    }

    #[test]
    fn what_can_be_read_twice_is_refused() {
        for (raw, why) in [
            ("/a/../b", Malformed::Dots),
            ("/a/.", Malformed::Dots),
            ("/a/%2e%2e/b", Malformed::Dots),
            ("/a/..%3b/b", Malformed::Dots),
            ("/a/.%3Bc=d", Malformed::Dots),
            ("/a%2Eb", Malformed::Dots),
            ("//a", Malformed::EmptySegment),
            ("/a//b", Malformed::EmptySegment),
            ("/a;b", Malformed::Semicolon),
            ("/a%2fb", Malformed::EscapedSlash),
            ("/a%5Cb", Malformed::EscapedSlash),
            ("/a\\b", Malformed::Target),
            ("/a%00", Malformed::Target),
            ("/a%0d%0a", Malformed::Target),
            ("/a%7f", Malformed::Target),
            ("/a%", Malformed::Target),
            ("/a%4", Malformed::Target),
            ("/a%zz", Malformed::Target),
            ("/a%252e", Malformed::Target),
            ("/a%2541", Malformed::Target),
            ("/a%25%32e", Malformed::Target),
            ("/a%25%32%65", Malformed::Target),
            ("/a%2525%32%65", Malformed::Target),
            ("/a/..%3bx/b", Malformed::Dots),
            ("/ä", Malformed::Target),
            ("/%c0%af", Malformed::Target),
            ("/a|b", Malformed::Target),
            ("/a\"", Malformed::Target),
            ("a", Malformed::Target),
        ] {
            assert_eq!(path(raw, STRICT), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_target_is_forwarded_in_origin_form() {
        for (raw, forwarded) in [
            ("/a?b=%zz", "/a?b=%zz"),
            ("http://h/%61?b", "/a?b"),
            ("http://h?a/b", "/?a/b"),
            ("http://h", "/"),
            ("/?", "/?"),
        ] {
            assert_eq!(target(&raw.parse().unwrap(), &Method::GET, STRICT).unwrap().as_str(), forwarded, "{raw}");
        }
        assert_eq!(target(&Uri::from_static("*"), &Method::GET, STRICT), Err(Malformed::Target));
        assert_eq!(target(&Uri::from_static("*"), &Method::OPTIONS, STRICT).unwrap().as_str(), "*");
    }

    #[test]
    fn settings_loosen_what_they_name_and_no_more() {
        for raw in ["//a", "/a;b", "/a%2Fb"] {
            assert_eq!(path(raw, LENIENT).unwrap(), raw);
        }
        assert!(path("/a/../b", LENIENT).is_err());
        for raw in ["/a;/../b", "/a/..;x/b", "/a/.;", "/a%2F..%2Fb", "/a%5c..", "/..%2Fa"] {
            assert_eq!(path(raw, LENIENT), Err(Malformed::Dots), "{raw}");
        }
    }

    fn request(host: &[&str], uri: &str) -> (Uri, HeaderMap) {
        let lines = host.iter().map(|line| (header::HOST, HeaderValue::from_str(line).unwrap()));
        (uri.parse().unwrap(), lines.collect())
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (raw, secure, canonical) in [
            ("example.com", false, "example.com"),
            ("EXAMPLE.com.", false, "example.com"),
            ("example.com:80", false, "example.com"),
            ("example.com:443", true, "example.com"),
            ("example.com:443", false, "example.com:443"),
            ("[::1]:8080", false, "[::1]:8080"),
        ] {
            let (uri, headers) = request(&[raw], "/");
            assert_eq!(host(&uri, &headers, secure).unwrap(), canonical, "{raw}");
        }
        assert_eq!(without_port("[::1]:8080"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("example.com:1"), "example.com");
    }

    #[test]
    fn no_host_two_hosts_and_no_hosts_are_refused() {
        for lines in [
            &[][..],
            &["a", "a"],
            &[""],
            &["a b"],
            &["a/b"],
            &["u@a"],
            &["a:"],
            &["a:x"],
            &["a%00"],
            &["."],
            &["[a]"],
            &["[v1.a]"],
        ] {
            let (uri, headers) = request(lines, "/");
            assert_eq!(host(&uri, &headers, false), Err(Malformed::Host), "{lines:?}");
        }
        let (uri, headers) = request(&["a"], "http://b/");
        assert_eq!(host(&uri, &headers, false), Err(Malformed::TwoHosts));
        let (uri, headers) = request(&["A"], "http://a:80/");
        assert_eq!(host(&uri, &headers, false).unwrap(), "a");
    }

    #[test]
    fn framing_has_one_reading() {
        let framed = |lines: &[(&'static str, &'static str)]| {
            let headers = lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            framing(&headers.collect(), Version::HTTP_11)
        };
        assert_eq!(framed(&[("content-length", "10")]), Ok(()));
        assert_eq!(framed(&[("content-length", "0")]), Ok(()));
        assert_eq!(framed(&[("transfer-encoding", "chunked")]), Ok(()));
        for value in ["+5", "-1", "", "5, 5", "0x10", "010", "00", "9223372036854775808", "1 "] {
            assert_eq!(framed(&[("content-length", value)]), Err(Malformed::ContentLength), "{value}");
        }
        let chunked = HeaderMap::from_iter([(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(framing(&chunked, version), Err(Malformed::TransferEncoding), "{version:?}");
        }
        assert_eq!(framed(&[("content-length", "5"), ("content-length", "5")]), Err(Malformed::ContentLength));
        for value in ["gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            assert_eq!(framed(&[("transfer-encoding", value)]), Err(Malformed::TransferEncoding), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own_canonical_form(raw in "/[ -~]{0,40}") {
            for strictness in [STRICT, LENIENT] {
                if let Ok(once) = path(&raw, strictness) {
                    prop_assert_eq!(path(&once, strictness).unwrap(), once.clone());
                }
            }
        }
    }
}

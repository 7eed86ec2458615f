//! One canonical request: what was judged is what is forwarded, and nobody can read it in another way.

use http::{Method, Uri, header};

use super::{text, unescaped, unescaped_wholly};
use crate::gateway::canon::{self, Strictness};

/// A target or host that is taken has one form, means what it said, and hides nothing under any number of escapes.
///
/// Lines: what is kept (any of `/`, `;`, `%`; `s` for a TLS connection, `o` for OPTIONS), the target, each `Host`.
pub fn canonical(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (kept, raw) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let strictness = Strictness {
        empty_segments: !kept.contains(&b'/'),
        semicolons: !kept.contains(&b';'),
        escaped_slashes: !kept.contains(&b'%'),
    };
    path(text(raw), strictness);
    let method = if kept.contains(&b'o') { Method::OPTIONS } else { Method::GET };
    let Ok(uri) = Uri::try_from(raw) else { return };
    target(&uri, &method, strictness);
    let hosts: Vec<&[u8]> = lines.collect();
    host(&uri, &hosts, kept.contains(&b's'));
}

fn path(raw: &str, strictness: Strictness) {
    let Ok(path) = canon::path(raw, strictness) else { return };
    assert_eq!(canon::path(&path, strictness).as_deref(), Ok(&*path), "the form of a form");
    assert_eq!(unescaped(path.as_bytes()), unescaped(raw.as_bytes()), "it means something else");
    assert_eq!(canon::path(raw, LENIENT).as_deref(), Ok(&*path), "it depends on what is kept");
    assert!(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && !b"\\?#\"<>^`{|}".contains(&b)));

    let once = unescaped(path.as_bytes());
    let wholly = unescaped_wholly(path.as_bytes());
    assert!(str::from_utf8(&once).is_ok(), "no text");
    assert_eq!(once, wholly, "escaped twice");
    assert!(!once.iter().any(u8::is_ascii_control), "a control byte");
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    // Some readers cut a segment at its first semicolon.
    let cut = |segment: &[u8]| segment.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
    assert!(!once.split(is_slash).filter_map(cut).any(|segment| segment == b"." || segment == b".."), "a dot segment");
    if strictness.escaped_slashes {
        assert_eq!(once.iter().filter(|byte| is_slash(byte)).count(), path.matches('/').count(), "a hidden slash");
    }
    if strictness.empty_segments {
        assert!(!path.contains("//"), "an empty segment");
    }
    if strictness.semicolons {
        assert!(!path.contains(';'), "a semicolon");
    }
}

fn target(uri: &Uri, method: &Method, strictness: Strictness) {
    let Ok(target) = canon::target(uri, method, strictness) else { return };
    assert_eq!(target.query(), uri.query(), "the query is forwarded as it came");
    if target.as_str() == "*" {
        assert_eq!(method, Method::OPTIONS);
        return;
    }
    // The origin reads what stands on the wire, and finds the path that was judged.
    let Ok(read) = Uri::try_from(target.as_str()) else { panic!("{target} cannot be read again") };
    assert_eq!((read.path(), read.query()), (target.path(), target.query()));
    assert_eq!(canon::path(uri.path(), strictness).as_deref(), Ok(target.path()));
    assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
}

fn host(uri: &Uri, hosts: &[&[u8]], secure: bool) {
    let headers = |hosts: &[&[u8]]| {
        let values = hosts.iter().filter_map(|host| http::HeaderValue::from_bytes(host).ok());
        values.map(|value| (header::HOST, value)).collect::<http::HeaderMap>()
    };
    let said = headers(hosts);
    let Ok(host) = canon::host(uri, &said, secure) else { return };
    assert!(said.len() < 2, "two lines");
    let again = canon::host(&Uri::from_static("/"), &headers(&[host.as_bytes()]), secure);
    assert_eq!(again.as_ref(), Ok(&host), "the form of a form");
    let host = text(host.as_bytes());
    assert!(host.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"@/\\%?#,;".contains(&b)));
    // Whatever named it named it so, but for case, one final dot and a port that goes without saying.
    let (name, port) = split(host);
    assert!(!name.is_empty() && !name.ends_with('.') && port != Some(if secure { 443 } else { 80 }));
    let named = uri.authority().map(http::uri::Authority::as_str);
    for given in said.get(header::HOST).map(|line| text(line.as_bytes())).into_iter().chain(named) {
        let (given, given_port) = split(given);
        let given = given.strip_suffix('.').unwrap_or(given);
        assert!(given.eq_ignore_ascii_case(name), "{given} became {name}");
        assert_eq!(given_port.filter(|port| *port != if secure { 443 } else { 80 }), port);
    }
}

/// Name and port: what stands behind the last colon that is outside of brackets.
fn split(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => panic!("{port} is no port"),
        },
        _ => (host, None),
    }
}

const LENIENT: Strictness = Strictness { empty_segments: false, semicolons: false, escaped_slashes: false };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of paths that readers have disagreed on.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9.;%/\\\\]{0,3}",
            "%[0-9a-fA-F]{2}",
            "%25([0-9a-f]|%3[0-9]|%6[1-6]){0,2}",
            Just("%2e".to_owned()),
            Just("..".to_owned()),
            Just("%2F".to_owned()),
            Just("%e2%82%ac".to_owned()),
            "[ -~\u{e4}]",
        ]
    }

    fn request() -> impl Strategy<Value = String> {
        let host = "[a-zA-Z0-9.\\[\\]:_@-]{0,12}(:(80|443|[0-9]{1,5}))?";
        let start = prop_oneof![4 => Just("/"), 1 => Just("http://a.b/"), 1 => Just("")];
        let path = proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat());
        ("[/;%so]{0,4}", start, path, "([?][ -~]{0,8})?", host)
            .prop_map(|(kept, start, path, query, host)| format!("{kept}\n{start}{path}{query}\n{host}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_request_has_one_form(input in request()) {
            canonical(input.as_bytes());
        }
    }
}

//! What is left of a request's headers: nothing of the connection's, nothing only we may say, and no secret of ours.

use http::{HeaderMap, Version, header};

use super::{head, lines, text};
use crate::gateway::canon;
use crate::gateway::config::{IdentityNames, Underscores};
use crate::gateway::credential::{self, Carrier};
use crate::gateway::headers::{Identity, clean_answer, clean_request};
use crate::key::Refusal;
use crate::key::token::{Shape, shape};

/// Cleaning leaves only what a client may say, changes none of it, and finds nothing more the second time; a secret that
/// was taken is gone, and it is the one that stood there.
///
/// Lines: `r` where underscores are refused, the carriers between blanks, the headers.
pub fn headers(input: &[u8]) {
    let mut lines = lines(input);
    let (flags, names) = (lines.next().unwrap_or_default(), text(lines.next().unwrap_or_default()));
    let carriers: Vec<Carrier> = names.split(' ').filter_map(|name| name.parse().ok()).collect();
    let headers = head(input.split(|byte| *byte == b'\n').skip(2));
    let underscores = if flags.contains(&b'r') { Underscores::Refuse } else { Underscores::Drop };
    framing(&headers);
    answer(headers.clone());
    if let Some(cleaned) = clean(&headers, underscores) {
        take(&cleaned, &carriers);
        open(cleaned);
    }
}

fn clean(headers: &HeaderMap, underscores: Underscores) -> Option<HeaderMap> {
    let identity = Identity::new(
        &IdentityNames {
            account: "X-Keyward-Account".into(),
            user: "X-Keyward-User".into(),
            key: "X-Keyward-Key".into(),
            kind: "X-Keyward-Kind".into(),
            permissions: "X-Keyward-Permissions".into(),
        },
        false,
    );
    let mut left = headers.clone();
    clean_request(&mut left, identity.as_ref().ok()?, underscores).ok()?;
    let options = headers.get_all(header::CONNECTION).iter().flat_map(|line| {
        let options = line.as_bytes().split(|byte| *byte == b',');
        options.map(|option| option.trim_ascii().to_ascii_lowercase()).collect::<Vec<_>>()
    });
    let options: Vec<Vec<u8>> = options.collect();
    for name in left.keys() {
        assert!(!is_ours_to_say(name.as_str()), "{name} is left");
        assert!(!options.contains(&name.as_str().as_bytes().to_vec()), "{name} belongs to the connection");
    }
    for name in headers.keys().filter(|name| !is_ours_to_say(name.as_str())) {
        let named = options.contains(&name.as_str().as_bytes().to_vec());
        match *name {
            header::COOKIE => assert!(left.get_all(name).iter().count() == 1, "not one cookie line"),
            _ if named => {}
            _ => assert!(headers.get_all(name).iter().eq(left.get_all(name)), "{name} is not as it was"),
        }
    }
    let mut again = left.clone();
    assert_eq!(clean_request(&mut again, identity.as_ref().ok()?, underscores), Ok(None));
    assert_eq!(again, left, "cleaned twice");
    Some(left)
}

/// Whether a client may not say it: it is the connection's or ours, or could be taken for one of those by an origin to
/// which every character but letters and digits is the same.
fn is_ours_to_say(name: &str) -> bool {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    !is_plain || name.starts_with("x-forwarded") || OURS.contains(&name)
}

fn take(headers: &HeaderMap, carriers: &[Carrier]) {
    let mut left = headers.clone();
    let Ok(found) = credential::take(&mut left, carriers) else { return };
    assert!(carriers.contains(&found.carrier));
    let name = match &found.carrier {
        Carrier::Token | Carrier::Bearer => header::AUTHORIZATION,
        Carrier::Header(name) => name.clone(),
    };
    let mut lines = headers.get_all(&name).iter();
    let (line, second) = (lines.next().map(http::HeaderValue::as_bytes), lines.next());
    let secret = found.secret.expose();
    assert!(second.is_none() && line.is_some_and(|line| line.ends_with(secret)), "not the one that stood there");
    // What is taken is all that is, and taking again finds nothing.
    let mut expected = headers.clone();
    expected.remove(&name);
    assert_eq!(left, expected);
    assert!(matches!(credential::take(&mut left.clone(), carriers), Err(Refusal::KeyRequired)));
    if matches!(found.carrier, Carrier::Token | Carrier::Bearer) {
        assert!(!secret.is_empty() && secret.iter().all(|byte| byte.is_ascii_graphic() && *byte != b','));
    }
    credential::strip_minted(&mut left);
    nothing_minted(&left);
}

/// On an open route nothing that we minted goes on, and everything else does.
fn open(headers: HeaderMap) {
    let mut left = headers.clone();
    credential::strip_own(&mut left);
    nothing_minted(&left);
    for (name, value) in &headers {
        let words = || value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
        let has_ours = words().any(|word| matches!(shape(word), Shape::Ours { .. }));
        let lines = headers.get_all(name).iter().count();
        assert!(left.contains_key(name) || has_ours || lines > 1, "{name} was lost");
    }
}

fn nothing_minted(headers: &HeaderMap) {
    for (name, value) in headers {
        let last = value.as_bytes().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        assert!(!matches!(shape(last), Shape::Ours { intact: true, .. }), "a secret is left in {name}");
    }
}

/// A body has one length, or is chunked, and never both ways around.
fn framing(headers: &HeaderMap) {
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        if canon::framing(headers, version).is_err() {
            continue;
        }
        let all = |name| headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        let (lengths, codings) = (all(header::CONTENT_LENGTH), all(header::TRANSFER_ENCODING));
        let is_number =
            |text: &Vec<u8>| (1..=19).contains(&text.len()) || text.iter().take(text.len() - 19).all(|b| *b == b'0');
        assert!(lengths.len() < 2 && lengths.iter().flatten().all(u8::is_ascii_digit) && lengths.iter().all(is_number));
        assert!(codings.is_empty() || version == Version::HTTP_11);
        assert!(codings.len() < 2 && codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")));
    }
}

/// An answer keeps all but the connection's own.
fn answer(headers: HeaderMap) {
    let mut left = headers;
    clean_answer(&mut left);
    assert!(!left.keys().any(|name| OF_CONNECTION.contains(&name.as_str())));
    let once = left.clone();
    clean_answer(&mut left);
    assert_eq!(left, once, "cleaned twice");
}

const OF_CONNECTION: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

const OURS: [&str; 35] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-keyward-permissions",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-request-id",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-keyward-account",
    "x-keyward-user",
    "x-keyward-key",
    "x-keyward-kind",
    "x-original-method",
    "x-host",
    "x-http-host-override",
    "proxy",
];

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn secret() -> String {
        let minted = crate::key::token::mint(&"kw_live".parse().unwrap(), |bytes| {
            bytes.fill(7);
            Ok::<_, Infallible>(())
        });
        minted.unwrap().0.expose_str().unwrap().to_owned()
    }

    fn line() -> impl Strategy<Value = String> {
        let known = proptest::sample::select(&OURS[..]).prop_map(str::to_owned);
        let name = prop_oneof![
            2 => "[xX][-_.!][kK]eyward[-_.]([aA]ccount|[kK]ind)|x-forwarded[-_.a-z]{0,5}|x-a|cookie|date|x.y|x_y",
            1 => known.clone(),
            2 => "authorization|x-api-key|connection|content-length|transfer-encoding",
        ];
        let value = prop_oneof![
            "(Token|token|Bearer|Basic)[ \\t]{0,2}[a-z,]{0,3}[ \\t]{0,1}[a-z]{0,1}",
            known,
            "close|x-a, x-y|x-a|[0-9+]{1,20}|chunked|[ -~]{0,5}",
            Just(secret()),
            Just(format!("Bearer {}", secret())),
        ];
        (name, value).prop_map(|(name, value)| format!("{name}: {value}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn nothing_is_left_that_only_we_may_say(
            flags in "r?",
            carriers in "(token)?( bearer)?( header:x-api-key)?( header:x-a)?",
            lines in proptest::collection::vec(line(), 0..6),
        ) {
            headers(format!("{flags}\n{carriers}\n{}", lines.join("\n")).as_bytes());
        }
    }
}

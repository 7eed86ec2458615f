use http::HeaderMap;
use serde_json::json;

use super::github::{Keys, Matches};
use super::*;

/// GitHub's documentation of the secret scanning partner program, "Implement signature verification": the earlier example
/// with the key it was signed by, and the present one. The identifiers, the bodies, the signatures and the keys are data; of the
/// key that signed the present one, GitHub's list has the text.
const EARLIER: Example = Example {
    id: "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
    body: r#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#,
    signature: "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=",
    key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\nkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==",
};
const PRESENT: Example = Example {
    id: "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
    body: r#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#,
    signature: "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
    key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==",
};

#[derive(Clone, Copy)]
struct Example {
    id: &'static str,
    body: &'static str,
    signature: &'static str,
    key: &'static str,
}

fn keys(published: &[(&str, &str)]) -> Keys {
    let key = |(id, key): &(&str, &str)| {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
        json!({"key_identifier": id, "key": pem, "is_current": true})
    };
    let list = json!({"public_keys": published.iter().map(key).collect::<Vec<_>>()});
    Keys::parse(list.to_string().as_bytes()).unwrap()
}

fn covers(keys: &Keys, id: &str, signature: &str, body: &str) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("github-public-key-identifier", id.parse().unwrap());
    headers.insert("github-public-key-signature", signature.parse().unwrap());
    keys.signature(&headers).is_some_and(|signature| signature.covers(body.as_bytes()))
}

#[test]
fn githubs_own_examples_verify_under_their_keys_and_under_no_other() {
    assert_eq!((EARLIER.body.len(), PRESENT.body.len()), (60, 104));
    for (example, other) in [(EARLIER, PRESENT), (PRESENT, EARLIER)] {
        let Example { id, body, signature, key } = example;
        assert!(covers(&keys(&[(other.id, other.key), (id, key)]), id, signature, body));
        assert!(!covers(&keys(&[(id, other.key)]), id, signature, body), "under the other key");
        let own = keys(&[(id, key)]);
        assert!(!covers(&own, other.id, signature, body), "a key that nobody published");
        assert!(!covers(&own, id, signature, &body.replace("some_type", "some-type")));
        assert!(!covers(&own, id, signature, &format!("{body}\n")), "the raw bytes are what is signed");
        assert!(!covers(&own, id, other.signature, body));
        assert!(!covers(&own, id, "no base64", body) && !covers(&own, id, "", body));
        assert_eq!(Matches::parse(body.as_bytes()).unwrap().0.len(), 1);
    }
}

#[test]
fn a_signature_that_stands_twice_or_not_at_all_is_none() {
    let Example { id, signature, key, .. } = EARLIER;
    let own = keys(&[(id, key)]);
    let mut headers = HeaderMap::new();
    assert!(own.signature(&headers).is_none());
    headers.insert("github-public-key-identifier", id.parse().unwrap());
    assert!(own.signature(&headers).is_none());
    headers.insert("github-public-key-signature", signature.parse().unwrap());
    assert!(own.signature(&headers).is_some());
    headers.append("github-public-key-signature", signature.parse().unwrap());
    assert!(own.signature(&headers).is_none());
}

#[test]
fn a_file_of_keys_that_cannot_be_used_says_why() {
    for (text, why) in [
        ("", "EOF"),
        ("{}", "public_keys"),
        (r#"{"public_keys": []}"#, "no key"),
        (r#"{"public_keys": [{"key_identifier": "x", "key": "y"}]}"#, "\"x\" is no public key"),
    ] {
        let said = Keys::parse(text.as_bytes()).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn what_is_no_list_of_matches_is_refused_without_repeating_it() {
    for text in ["", "{}", "[1]", r#"[{"token": 17, "type": "t"}]"#, r#"[{"type": "t"}]"#] {
        assert_eq!(Matches::parse(text.as_bytes()).err().unwrap().code, Code::Unparsable, "{text}");
    }
    let label = Matches::parse(br#"[{"token":"abc","type":"t"}]"#).unwrap().0[0].label(true);
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(json!(label), json!({"token_hash": hash, "token_type": "t", "label": "true_positive"}));
}

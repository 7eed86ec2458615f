//! Where a key may ride, and that it rides no further.

use crate::support::{Answer, Keyward, Minted, Origin, keyward};

fn started() -> (Keyward, Origin, Minted) {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/keyed/**\"\nservice = \"api\"\ncarriers = [\"header:X-API-Key\"]\n\
             [[routes]]\npath = \"/any/**\"\nservice = \"api\"\ncarriers = [\"token\", \"bearer\", \"header:X-API-Key\"]\n\
             [[routes]]\npath = \"/open/**\"\nservice = \"api\"\nopen = true\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, origin, key)
}

fn ask(keyward: &Keyward, path: &str, headers: &[(&str, &str)]) -> Answer {
    keyward.wire().ask("GET", path, headers)
}

#[test]
fn token_and_bearer_are_read_without_regard_to_case_and_removed() {
    let (keyward, origin, key) = started();
    for scheme in ["Token", "token", "TOKEN", "Bearer", "bearer", "BEARER"] {
        let answer = ask(&keyward, "/", &[("Authorization", &format!("{scheme} {}", key.secret))]);
        assert_eq!(answer.status, 200, "{scheme}: {}", answer.text());
        assert!(!origin.last().contains(&key.secret) && !origin.last().to_lowercase().contains("authorization"));
    }
}

#[test]
fn a_named_header_carries_the_key_where_the_route_says_so() {
    let (keyward, origin, key) = started();
    let answer = ask(&keyward, "/keyed/a", &[("x-api-key", &key.secret), ("Authorization", "Basic YTpi")]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The route's Authorization is the origin's own matter; the key is not.
    assert!(!origin.last().contains(&key.secret) && origin.last().contains("Basic YTpi"));
    assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("private"), Some("x-api-key")));
    assert_eq!(
        ask(&keyward, "/keyed/a", &[("Authorization", &format!("Token {}", key.secret))]).code(),
        "API_KEY_REQUIRED"
    );
    assert_eq!(ask(&keyward, "/elsewhere", &[("x-api-key", &key.secret)]).code(), "API_KEY_REQUIRED");
}

#[test]
fn two_credentials_are_a_400() {
    let (keyward, origin, key) = started();
    let token = format!("Token {}", key.secret);
    for headers in [
        &[("Authorization", token.as_str()), ("Authorization", token.as_str())][..],
        &[("Authorization", token.as_str()), ("X-API-Key", key.secret.as_str())],
        &[("X-API-Key", key.secret.as_str()), ("X-API-Key", key.secret.as_str())],
    ] {
        let answer = ask(&keyward, "/any/a", headers);
        assert_eq!((answer.status, answer.code().as_str()), (400, "CREDENTIAL_AMBIGUOUS"));
        assert!(answer.all("www-authenticate")[0].contains("error=\"invalid_request\""));
    }
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn an_open_route_needs_no_key_and_forwards_none_of_ours() {
    let (keyward, origin, key) = started();
    assert_eq!(ask(&keyward, "/open/a", &[]).status, 200);
    assert_eq!(ask(&keyward, "/open/a", &[("Authorization", &format!("Bearer {}", key.secret))]).status, 200);
    assert!(!origin.last().contains(&key.secret));
    assert_eq!(ask(&keyward, "/open/a", &[("X-Some-Key", &key.secret)]).status, 200);
    assert!(!origin.last().contains(&key.secret));
    assert_eq!(ask(&keyward, "/open/a", &[("Authorization", "Bearer another.systems.token")]).status, 200);
    assert!(origin.last().contains("another.systems.token"));
}

#[test]
fn what_is_no_key_is_required_or_invalid_and_never_forwarded() {
    let (keyward, origin, _key) = started();
    for (value, code) in [
        ("", "API_KEY_REQUIRED"),
        ("Token", "API_KEY_REQUIRED"),
        ("Basic YTpi", "API_KEY_REQUIRED"),
        ("Bearer None", "API_KEY_INVALID"),
        ("Token undefined", "API_KEY_INVALID"),
        ("Token kw_live_0000000000000000000000000000000000000000000000000a", "API_KEY_INVALID"),
        ("Token an-opaque-secret-that-nobody-has", "API_KEY_INVALID"),
    ] {
        let answer = ask(&keyward, "/", &[("Authorization", value)]);
        assert_eq!((answer.status, answer.code().as_str()), (401, code), "{value}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let challenges = answer.all("www-authenticate");
        assert!(challenges.iter().any(|line| line.starts_with("Bearer realm=\"keyward\"")), "{challenges:?}");
        assert!(challenges.iter().any(|line| line.starts_with("Token realm=\"keyward\"")), "{challenges:?}");
        assert_eq!(challenges[0].contains("error="), code == "API_KEY_INVALID", "{challenges:?}");
    }
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn a_secret_where_the_route_does_not_look_is_not_forwarded_either() {
    let (keyward, origin, key) = started();
    let token = format!("Token {}", key.secret);
    let lines = [("Authorization", token.as_str()), ("X-Another-Key", &key.secret), ("X-Other", "kept")];
    assert_eq!(ask(&keyward, "/", &lines).status, 200);
    assert!(!origin.last().contains(&key.secret) && origin.last().contains("kept"), "{}", origin.last());
}

//! The expected signatures were made by Python's `hmac` from a base written out by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;

use super::*;
use crate::gateway::{test_config, test_origin};

const NOW: Timestamp = Timestamp::from_millis(1_732_531_200_999);

fn signer(secret: &[u8]) -> Signer {
    Signer::new(&Secret::new(secret), "2026-11", Duration::from_secs(60))
}

fn signed(method: &str, target: &str, headers: &[(&str, &str)]) -> (String, String) {
    let mut request =
        Request::builder().method(method).uri(target).header("host", "api.test").header("x-request-id", "0f");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let identity = Identity::new(&test_config().identity, true).unwrap();
    signer(b"0123456789abcdef0123456789abcdef").sign(&mut parts, &identity, NOW);
    let text = |name| parts.headers[name].to_str().unwrap().to_owned();
    (text(SIGNATURE_INPUT), text(SIGNATURE))
}

#[test]
fn everything_that_tells_who_asks_what_is_signed() {
    let (input, signature) = signed(
        "GET",
        "/a?b=c%20d",
        &[
            ("x-keyward-permissions", "jobs:run,users:*"),
            ("x-keyward-user", "paul@example.com"),
            ("x-keyward-kind", "personal"),
            ("x-keyward-key", "key_1"),
            ("x-keyward-account", "101"),
            ("accept", "*/*"),
        ],
    );
    assert_eq!(
        input,
        "keyward=(\"@method\" \"@authority\" \"@path\" \"@query\" \"x-request-id\" \"x-keyward-account\" \
         \"x-keyward-user\" \"x-keyward-key\" \"x-keyward-kind\" \"x-keyward-permissions\")\
         ;created=1732531200;expires=1732531260;keyid=\"2026-11\";alg=\"hmac-sha256\""
    );
    assert_eq!(signature, "keyward=:wxu2TyhYoxMCcHhUzYS6RoMcG2sTpm6qupYSqQyC2nM=:");
}

#[test]
fn nobodys_request_is_signed_as_nobodys() {
    let (input, signature) = signed("POST", "/open", &[]);
    assert_eq!(
        input,
        "keyward=(\"@method\" \"@authority\" \"@path\" \"@query\" \"x-request-id\")\
         ;created=1732531200;expires=1732531260;keyid=\"2026-11\";alg=\"hmac-sha256\""
    );
    assert_eq!(signature, "keyward=:EVf6+ZLcCyzJ7JVdPs/IKN/AIMyz5XqiltmQzoPY/H4=:");
}

#[test]
fn no_two_requests_that_differ_are_signed_alike() {
    let account = |id| ("x-keyward-account", id);
    let all: Vec<_> = [
        signed("GET", "/a", &[]),
        signed("PUT", "/a", &[]),
        signed("GET", "/b", &[]),
        signed("GET", "/a?b", &[]),
        signed("GET", "/a%3Fb", &[]),
        signed("GET", "/a", &[account("1")]),
        signed("GET", "/a", &[account("")]),
        signed("GET", "/a", &[("x-keyward-user", "1")]),
        signed("OPTIONS", "*", &[]),
    ]
    .into_iter()
    .map(|(_, signature)| signature)
    .collect();
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
}

#[test]
fn the_algorithm_is_the_standards() {
    // RFC 9421, B.2.5 and B.1.5.
    let key = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let base = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@authority\": example.com\n\
                \"content-type\": application/json\n\"@signature-params\": (\"date\" \"@authority\" \"content-type\")\
                ;created=1618884473;keyid=\"test-shared-secret\"";
    let tag = signer(&STANDARD.decode(key).unwrap()).tag(base.as_bytes());
    assert_eq!(tag, "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

#[test]
fn debug_does_not_show_the_key() {
    assert_eq!(format!("{:?}", signer(b"hunter2hunter2hunter2hunter2hunter2")), "Signer(2026-11)");
}

#[test]
fn a_key_is_read_once_a_service_and_what_is_wrong_with_it_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = file("good", "0123456789abcdef0123456789abcdef");
    let services =
        |own: ServiceConfig| BTreeMap::from([("a".to_owned(), own), ("b".to_owned(), ServiceConfig::default())]);
    let own = ServiceConfig { signing_key_file: Some(good.clone()), ..ServiceConfig::default() };
    let signers = Signer::of_each(&services(own.clone()), &test_origin()).unwrap();
    assert_eq!(format!("{signers:?}"), "[Some(Signer(keyward)), None]");

    let flaws = |file, key_id: &str, lifetime: &str| {
        let (signing_key_id, signature_lifetime) = (key_id.to_owned(), lifetime.parse().unwrap());
        let origin = OriginConfig { signing_key_file: Some(file), signing_key_id, signature_lifetime, ..test_origin() };
        let flaws = Signer::of_each(&services(ServiceConfig::default()), &origin).err().unwrap_or_default();
        flaws.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(flaws(good.clone(), "2026-11", "1s"), [""; 0]);
    for (found, key, told) in [
        (flaws("/nowhere".into(), "k", "1s"), "origin.signing_key_file", "/nowhere: cannot be read"),
        (flaws(file("short", "hunter2"), "k", "1s"), "origin.signing_key_file", "7 bytes are too few"),
        (flaws(file("line", &"x".repeat(40).replace('x', "y\n")), "k", "1s"), "origin.signing_key_file", "line break"),
        (flaws(good.clone(), "a\"b", "1s"), "origin.signing_key_id", "is no key id"),
        (flaws(good.clone(), "k", "999ms"), "origin.signature_lifetime", "at least 1s"),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{key}: ")) && found[0].contains(told), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
    let wrong = ServiceConfig { signing_key_id: Some(String::new()), ..own };
    let found = Signer::of_each(&services(wrong), &test_origin()).unwrap_err();
    assert_eq!(found[0].key, "services.a.signing_key_id");
}

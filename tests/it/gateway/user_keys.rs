//! Legacy keys of users on their way out, over real sockets.

use crate::support::{Keyward, Minted, Origin, keyward};

const STATUS: &str = "keyward-key-status";

/// A keyward with these lines about users' keys, a user's key and a service key.
fn started(lines: &str) -> (Keyward, Origin, Minted, Minted) {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).config(format!("[gateway.user_keys]\n{lines}\n")).start();
    keyward.account("101");
    keyward.cli(&["user", "create", "paul"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "paul"]);
    let legacy = keyward.mint(&["--kind", "user", "--user", "paul"]);
    let service = keyward.service_key("101", &[]);
    (keyward, origin, legacy, service)
}

#[test]
fn their_holders_are_told_and_nobody_else() {
    let (keyward, _origin, legacy, service) = started(
        "deprecated = \"2026-01-01T00:00:00Z\"\nsunset = \"2999-01-01T00:00:00Z\"\nlink = \"https://example.com/keys\"",
    );
    let told = keyward.get("/api/accounts/101/", &legacy.secret);
    assert_eq!(told.status, 200);
    assert_eq!(told.header(STATUS), Some("deprecated; sunset=\"2999-01-01T00:00:00.000Z\""));
    assert_eq!(told.header("link"), Some("<https://example.com/keys>; rel=\"deprecation\""));
    let other = keyward.get("/api/accounts/101/", &service.secret);
    assert_eq!((other.status, other.header(STATUS), other.header("link")), (200, None, None));
}

#[test]
fn deprecated_without_a_date_is_told_without_one_and_not_before_its_time() {
    let (keyward, _origin, legacy, _) = started("deprecated = \"2026-01-01T00:00:00Z\"");
    assert_eq!(keyward.get("/", &legacy.secret).header(STATUS), Some("deprecated"));
    let (keyward, _origin, legacy, _) = started("deprecated = \"2999-01-01T00:00:00Z\"");
    assert_eq!(keyward.get("/", &legacy.secret).header(STATUS), None);
}

#[test]
fn from_their_sunset_on_and_in_a_brownout_they_are_refused_and_service_keys_are_not() {
    for (lines, reason) in [
        ("sunset = \"2026-01-01T00:00:00Z\"", "key_sunset"),
        ("brownouts = [\"2026-01-01T00:00:00Z/2999-01-01T00:00:00Z\"]", "key_brownout"),
    ] {
        let (keyward, _origin, legacy, service) = started(lines);
        let refused = keyward.get("/api/accounts/101/", &legacy.secret);
        assert_eq!((refused.status, refused.code().as_str()), (401, "API_KEY_INVALID"));
        assert_eq!(keyward.logged("/api/accounts/101/", 1)[0]["reason"], reason);
        assert_eq!(keyward.get("/api/accounts/101/", &service.secret).status, 200);
    }
}

//! Routes on their way out: told with every answer, and 410 once they are gone.

use crate::support::{Keyward, Minted, Origin, keyward};

const ORIGINS_OWN: &str = "HTTP/1.1 200 OK\r\nDeprecation: true\r\nSunset: Sat, 01 Nov 2036 08:00:00 GMT\r\n\
                           Link: </own>; rel=\"next\"\r\nContent-Length: 2\r\n\r\nok";

fn started(origin: &Origin, route: &str) -> (Keyward, Minted) {
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/api/v2/accounts\"\nservice = \"api\"\n{route}\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

#[test]
fn a_deprecated_route_says_since_when_until_when_and_what_takes_its_place() {
    let origin = Origin::answering(ORIGINS_OWN);
    let route = "deprecated = \"2026-12-01T00:00:00Z\"\nsunset = \"2027-06-01T00:00:00Z\"\n\
                 successor = \"/api/v3/accounts/{account}/\"\nlink = \"https://example.com/v2\"";
    let (keyward, key) = started(&origin, route);
    let answer = keyward.get("/api/v2/accounts/", &key.secret);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("deprecation"), Some("@1796083200"));
    assert_eq!(answer.header("sunset"), Some("Tue, 01 Jun 2027 00:00:00 GMT"));
    let links = [
        "</own>; rel=\"next\"",
        "<https://example.com/v2>; rel=\"deprecation\"",
        "</api/v3/accounts/101/>; rel=\"successor-version\"",
    ];
    assert_eq!(answer.all("link"), links);
    // Nobody else is told, nor of any other route.
    let stranger = keyward.get("/api/v2/accounts/", "nobodys-secret-at-all");
    assert_eq!((stranger.status, stranger.header("deprecation"), stranger.all("link").len()), (401, None, 0));
    let other = keyward.get("/else", &key.secret);
    assert_eq!((other.header("deprecation"), other.all("link").len()), (Some("true"), 1));
}

#[test]
fn deprecated_without_a_date_has_no_sunset_and_leaves_the_services_own() {
    let plain = Origin::plain();
    let (keyward, key) = started(&plain, "deprecated = true");
    let answer = keyward.get("/api/v2/accounts", &key.secret);
    assert_eq!((answer.header("deprecation"), answer.header("sunset")), (Some("@0"), None));
    let origin = Origin::answering(ORIGINS_OWN);
    let (keyward, key) = started(&origin, "deprecated = true");
    let answer = keyward.get("/api/v2/accounts", &key.secret);
    assert_eq!(answer.header("deprecation"), Some("@0"));
    assert_eq!(answer.header("sunset"), Some("Sat, 01 Nov 2036 08:00:00 GMT"));
}

#[test]
fn errors_of_the_service_say_so_too() {
    let origin = Origin::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let (keyward, key) = started(&origin, "deprecated = true");
    let answer = keyward.get("/api/v2/accounts", &key.secret);
    assert_eq!((answer.status, answer.header("deprecation")), (404, Some("@0")));
}

#[test]
fn what_is_gone_is_a_410_with_its_successor_told_only_to_a_living_key() {
    let origin = Origin::plain();
    let keyward = keyward()
        .config(format!(
            "[services.api]\nurl = \"{}\"\n[[routes]]\nname = \"old\"\npath = \"/api/v2/accounts\"\ngone = true\n\
             deprecated = \"2026-01-01T00:00:00Z\"\nsuccessor = \"/accounts/{{account}}/\"\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
            origin.url()
        ))
        .start();
    keyward.account("101");
    keyward.cli(&["user", "create", "u1"]);
    keyward.cli(&["member", "add", "--account", "101", "--user", "u1"]);
    let key = keyward.service_key("101", &[]);
    let user = keyward.mint(&["--kind", "user", "--user", "u1"]);
    let gone = keyward.get("/api/v2/accounts/", &key.secret);
    assert_eq!((gone.status, gone.code().as_str()), (410, "ROUTE_GONE"));
    assert_eq!(gone.header("link"), Some("</accounts/101/>; rel=\"successor-version\""));
    assert_eq!(gone.header("deprecation"), Some("@1767225600"));
    assert_eq!(gone.header("cache-control"), Some("no-store"));
    // A user key acts in no one account, so there is no one address.
    let crossing = keyward.get("/api/v2/accounts/", &user.secret);
    assert_eq!((crossing.status, crossing.header("link")), (410, None));
    assert_eq!(keyward.get("/api/v2/accounts/", "nobodys-secret-at-all").status, 401);
    assert!(origin.seen().heads.is_empty());
    let line = &keyward.logged("/api/v2/accounts/", 3)[0];
    assert_eq!((line["reason"].as_str(), line["route"].as_str()), (Some("route_gone"), Some("old")));
    assert_eq!((line["decision"].as_str(), line["service"].as_str()), (Some("refused"), None));
    assert_eq!(keyward.metric("keyward_auth_decisions_total{result=\"refused\",reason=\"route_gone\"}"), 2);
}

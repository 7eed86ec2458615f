//! The OpenAPI descriptions, held to what a live keyward answers: schemathesis asks everything they say can be asked, and much
//! that they say cannot.
//!
//! One of its checks is always left out: that whatever fits a schema is accepted. Rules between members (a personal key names a user,
//! a grace needs its seconds), and that an end lies ahead, are no part of the schemas, and are told with 422.

use std::net::SocketAddr;

use crate::support::python::python;
use crate::support::{Keyward, Minted, Origin, keyward};

/// A keyward with self-service below `/keyward`, and a user who manages the keys of an account.
fn started() -> (Keyward, Origin) {
    let origin = Origin::plain();
    let settings = "[self_service]\npath = \"/keyward\"\nchanges_per_minute = 0\n[leaks]\npath = \"/found\"\nreports_per_second = 100000\n";
    let keyward = keyward().upstream(origin.url()).config(settings).start();
    keyward.account("101");
    keyward.cli(&["user", "create", "paul"]);
    let may = ["--permission", "keys:manage", "--permission", "jobs:*"];
    keyward.cli(&[&["member", "add", "--account", "101", "--user", "paul"][..], &may].concat());
    (keyward, origin)
}

/// Has schemathesis read the description at this address and path, as `key`, and ask for whatever it finds there and `more` lets
/// it, `least` times. Of its checks these are left out.
fn holds(
    keyward: &Keyward,
    (address, path): (SocketAddr, &str),
    key: &Minted,
    without: &str,
    (more, least): (&[&str], usize),
) {
    // Enough that some are left when others were revoked on the way.
    let others = [(); 12].map(|()| keyward.service_key("101", &["--permission", "jobs:run"]).id);
    let (bearer, url) = (format!("Authorization: Bearer {}", key.secret), format!("http://{address}{path}"));
    // Bounded by the number of cases, not by time: what is found is the same on any machine.
    let bounds = ["--seed", "1", "--max-examples", "8", "--no-shrink", "--continue-on-failure"];
    let checks = ["--checks", "all", "--exclude-checks", without, "--warnings", "off"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
    let output = python()
        .args(["-m", "schemathesis.cli", "--config-file", &format!("{folder}/schemathesis.toml")])
        .args(["run", &url, "--header", &bearer, "--no-color"])
        .args(bounds)
        .args(checks)
        .args(more)
        .current_dir(keyward.folder())
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("OWN_KEY", &key.id)
        .env("KEYS", others.join(","))
        .env("ACCOUNT", "101")
        .env("USER_ID", "paul")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // It counts what it asked; and the key it asked with was good to the end.
    let counted = said.lines().find_map(|line| line.trim().split_once(" generated, "));
    let cases: usize = counted.and_then(|(count, _)| count.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(cases > least, "{said}");
    let mut wire = crate::support::Wire::connect(address);
    assert_eq!(wire.get(&path.replace("openapi.json", "whoami"), &key.secret).status, 200, "{said}");
}

/// That whatever fits a schema is accepted.
const UNTOLD: &str = "positive_data_acceptance";

#[test]
fn the_description_of_the_native_api_is_true() {
    let (keyward, _origin) = started();
    let operator = keyward.mint(&["--kind", "operator"]);
    let page = (keyward.admin(), "/v1/openapi.json");
    // Reports of found secrets are taken on the clients' listener.
    holds(&keyward, page, &operator, UNTOLD, (&["--exclude-path-regex", LEAKS], 200));
}

#[test]
fn the_description_of_how_found_secrets_are_reported_is_true() {
    let (keyward, _origin) = started();
    let operator = keyward.mint(&["--kind", "operator"]);
    let base = format!("http://{}/found", keyward.address());
    let here = ["--include-path", "/v1/leaks/found", "--url", &base];
    // What is no report of this form is read as a text that may hold secrets.
    let without = format!("{},negative_data_rejection", of_clients());
    holds(&keyward, (keyward.admin(), "/v1/openapi.json"), &operator, &without, (&here, 20));
}

const LEAKS: &str = "^/v1/leaks/";

/// TRACE is refused on the clients' listener before anything is asked of the path.
fn of_clients() -> String {
    format!("{UNTOLD},unsupported_method")
}

#[test]
fn the_description_of_what_holders_may_is_true() {
    let (keyward, _origin) = started();
    let holder = keyward.mint(&["--kind", "personal", "--account", "101", "--user", "paul"]);
    holds(&keyward, (keyward.address(), "/keyward/v1/openapi.json"), &holder, &of_clients(), (&[], 200));
}

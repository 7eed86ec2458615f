//! testssl.sh against a keyward with TLS: nothing above LOW but what is this test's own certificate.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::pki::Root;
use crate::support::{Origin, keyward};

/// What to look at: all that it tests but how some sixty old clients would fare, which is no finding and takes half a minute.
const CHECKS: &[&str] =
    &["--protocols", "--standard", "--server-preference", "--server-defaults", "--pfs", "--headers", "--vulnerable"];

/// It asks nobody but keyward, and nobody is asked to confirm anything.
const ALONE: &[&str] = &["--ip", "127.0.0.1", "--nodns", "none", "--warnings", "off", "--color", "0"];

/// Findings about the certificate that is made here, whose root nobody publishes.
const OF_THE_CERTIFICATE: &[(&str, &str)] = &[
    ("cert_revocation", "the test's root has no revocation list and no OCSP responder to name"),
    ("cert_validityPeriod", "the test's certificate is made to outlast every test"),
];

#[test]
fn testssl_finds_nothing_above_low() {
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let config = format!(
        "[server]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]\n\
         [[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n\
         [services.api]\nurl = \"{}\"\n",
        files.chain,
        files.key,
        origin.url()
    );
    let keyward = setup.config(config).start();
    let report = keyward.folder().join("testssl.json");
    let output = Command::new("testssl")
        .args(ALONE)
        .args(CHECKS)
        .arg("--add-ca")
        .arg(&root.file)
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("https://localhost:{}", keyward.tls_address().port()))
        .current_dir(keyward.folder())
        .stdin(Stdio::null())
        .output()
        .expect("testssl runs: .ci/packages installs testssl.sh");
    let said = String::from_utf8_lossy(&output.stdout);
    let findings: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    // It came to the end, and saw what it was to see.
    for (id, begin) in [
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered"),
        ("BEAST", ""),
        ("RC4", ""),
    ] {
        let found = findings.iter().find(|finding| text(finding, "id") == id);
        let found = found.unwrap_or_else(|| panic!("testssl says nothing of {id}:\n{said}"));
        assert!(text(found, "finding").starts_with(begin), "{found}");
    }
    let above = findings.iter().filter(|finding| !HARMLESS.contains(&text(finding, "severity").as_str()));
    let ours = above.filter(|finding| !OF_THE_CERTIFICATE.iter().any(|(id, _)| *id == text(finding, "id")));
    let ours: Vec<_> = ours.map(|finding| format!("{finding}")).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n"));
}

/// WARN is no finding: it says that it could not look, as on a busy machine it sometimes cannot.
const HARMLESS: &[&str] = &["OK", "INFO", "LOW", "WARN"];

//! Clients that nobody here wrote: curl, h2load, requests, httpx.

use std::path::PathBuf;
use std::process::Command;

use crate::support::pki::Root;
use crate::support::python::{Server, python};
use crate::support::{Keyward, Minted, Origin, keyward};

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run .ci/packages"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

struct Both {
    keyward: Keyward,
    key: Minted,
    root: PathBuf,
}

/// A keyward with a plain and a TLS listener.
fn both(upstream: &str) -> Both {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let keyward = setup
        .config(format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n",
            files.chain, files.key
        ))
        .upstream(upstream)
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    Both { keyward, key, root: root.file }
}

#[test]
fn curl_uploads_with_expect_follows_redirects_and_decodes_gzip() {
    let httpbin = Server::httpbin();
    let both = both(&httpbin.url());
    let token = format!("Authorization: Token {}", both.key.secret);
    let url = |path: &str| format!("http://{}{path}", both.keyward.address());
    let curl =
        |arguments: &[&str]| succeeds(Command::new("curl").args(["-sS", "--fail", "-H", &token]).args(arguments));
    let upload = both.keyward.folder().join("upload");
    std::fs::write(&upload, vec![b'x'; 2 << 20]).unwrap();
    let at = format!("@{}", upload.display());
    let said = curl(&["-H", "Expect: 100-continue", "--data-binary", &at, &url("/post")]);
    assert!(said.len() > 2 << 20);
    assert!(curl(&["--location", &url("/redirect/3")]).contains("\"url\""));
    assert!(curl(&["--compressed", &url("/gzip")]).contains("\"gzipped\": true"));
    assert_eq!(curl(&["--range", "0-9", &url("/range/100")]).len(), 10);
    assert!(curl(&["--http1.0", &url("/get")]).contains("\"args\""));
}

#[test]
fn h2load_gets_nothing_but_answers_over_http_1_and_http_2() {
    let origin = Origin::plain();
    let both = both(&origin.url());
    let token = format!("Authorization: Token {}", both.key.secret);
    let plain = format!("http://{}/", both.keyward.address());
    let secure = format!("https://localhost:{}/", both.keyward.tls_address().port());
    for (arguments, url) in [(&["--h1"][..], &plain), (&["--h1"], &secure), (&["-m", "20"], &secure)] {
        let said =
            succeeds(Command::new("h2load").args(["-n", "3000", "-c", "10", "-H", &token]).args(arguments).arg(url));
        assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{arguments:?}: {said}");
        assert!(said.contains("3000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{arguments:?}: {said}");
    }
}

#[test]
fn requests_and_httpx_work_unchanged() {
    let httpbin = Server::httpbin();
    let both = both(&httpbin.url());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/clients.py");
    let said = succeeds(
        python()
            .arg(script)
            .env("PLAIN", format!("http://{}", both.keyward.address()))
            .env("SECURE", format!("https://localhost:{}", both.keyward.tls_address().port()))
            .env("ROOT", &both.root)
            .env("SECRET", &both.key.secret),
    );
    assert_eq!(said.trim(), "requests ok\nhttpx ok");
}

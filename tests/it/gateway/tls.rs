//! TLS: the protocol by ALPN, the certificate by name, and no request for a host the connection was not made for.

use std::process::Command;

use crate::support::origin::value;
use crate::support::pki::Root;
use crate::support::{Keyward, Minted, Origin, keyward};

struct Started {
    keyward: Keyward,
    origin: Origin,
    key: Minted,
    root: Root,
}

fn started() -> Started {
    started_before(Origin::plain(), "")
}

fn started_before(origin: Origin, more: &str) -> Started {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let one = root.certificate(setup.folder(), &["one.test", "www.one.test"]);
    let any = root.certificate(setup.folder(), &["*.two.test"]);
    let mut config = format!("{more}\n[server]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]\n");
    for files in [&one, &any] {
        config.push_str(&format!(
            "[[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n",
            files.chain, files.key
        ));
    }
    config.push_str(&format!(
        "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n",
        origin.url()
    ));
    let keyward = setup.config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    Started { keyward, origin, key, root }
}

impl Started {
    /// What curl printed of a request to `https://host/`: its arguments and `-w` are the caller's.
    fn curl(&self, host: &str, arguments: &[&str]) -> String {
        let address = self.keyward.tls_address();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--cacert"])
            .arg(&self.root.file)
            .args(["--connect-to", &format!("::127.0.0.1:{}", address.port())])
            .args(["--header", &format!("Authorization: Token {}", self.key.secret)])
            .args(arguments)
            .arg(format!("https://{host}/a"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

const STATUS: &[&str] = &["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"];

#[test]
fn alpn_chooses_between_http_2_and_http_1() {
    let started = started();
    assert_eq!(started.curl("one.test", &[&["--http2"], STATUS].concat()), "2 200");
    let head = started.origin.last();
    assert_eq!((value(&head, "x-forwarded-proto"), value(&head, "host")), (Some("https"), Some("one.test")));
    assert_eq!(started.curl("one.test", &[&["--http1.1"], STATUS].concat()), "1.1 200");
    // HTTP's own port is none that HTTPS implies.
    for (sent, kept) in [("one.test:80", "one.test:80"), ("one.test:443", "one.test")] {
        let host = format!("Host: {sent}");
        assert_eq!(started.curl("one.test", &[&["--http1.1", "--header", &host], STATUS].concat()), "1.1 200");
        assert_eq!(value(&started.origin.last(), "host"), Some(kept));
    }
    assert_eq!(started.curl("one.test", &[&["--no-alpn"], STATUS].concat()), "1.1 200");
    assert_eq!(
        started.curl(
            "one.test",
            &[&["--http2", "--header", "Authorization: Token no-such-key-anywhere"], STATUS].concat()
        ),
        "2 400"
    );
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let started = started();
    // curl checks the name against the certificate, so a 200 is proof.
    for host in ["one.test", "www.one.test", "a.two.test", "b.two.test"] {
        assert_eq!(started.curl(host, STATUS), "2 200", "{host}");
    }
}

#[test]
fn a_request_for_another_certificates_host_is_misdirected() {
    let started = started();
    for version in ["--http2", "--http1.1"] {
        let asked =
            |host: &str| started.curl("one.test", &[&[version, "--header", &format!("Host: {host}")], STATUS].concat());
        assert!(asked("www.one.test").ends_with(" 200"));
        assert!(asked("a.two.test").ends_with(" 421"));
        let said = started.curl("one.test", &[version, "--header", "Host: a.two.test"]);
        assert!(said.contains("MISDIRECTED_REQUEST"), "{said}");
    }
}

#[test]
fn a_refused_head_over_http_2_has_no_body() {
    let started = started();
    let wrong = ["--http2", "--head", "--header", "Authorization: Bearer no-such-key-anywhere"];
    // A body would be a broken stream to curl.
    assert_eq!(started.curl("one.test", &[&wrong, STATUS].concat()), "2 400");
}

#[test]
fn a_refused_upload_over_http_2_learns_why() {
    let started = started();
    let upload = started.root.file.with_file_name("upload");
    std::fs::write(&upload, vec![b'x'; 900_000]).unwrap();
    let body = format!("@{}", upload.display());
    let wrong = ["--http2", "--data-binary", &body, "--header", "Authorization: Bearer no-such-key-anywhere"];
    let said = started.curl("one.test", &wrong);
    assert!(said.contains("CREDENTIAL_AMBIGUOUS"), "{said}");
    assert_eq!(started.keyward.logged("/a", 1)[0]["reason"], "credential_ambiguous");
}

#[test]
fn an_early_answer_to_an_upload_over_http_2_is_the_answer() {
    let origin = Origin::scripted(|line| {
        line.head();
        line.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let started = started_before(origin, "");
    let limited = started_before(Origin::plain(), "[gateway]\nbody_limit = \"300KiB\"\n");
    let upload = started.root.file.with_file_name("upload");
    std::fs::write(&upload, vec![b'x'; 900_000]).unwrap();
    let body = format!("@{}", upload.display());
    for _ in 0..5 {
        assert_eq!(started.curl("one.test", &["--http2", "--data-binary", &body]), "no");
        let unannounced = ["--http2", "--header", "Content-Length:", "--data-binary", &body];
        let said = limited.curl("one.test", &unannounced);
        assert!(said.contains("PAYLOAD_TOO_LARGE"), "{said}");
    }
}

#[test]
fn a_body_streams_over_http_2_both_ways() {
    let started = started();
    let said = started.curl("one.test", &["--http2", "--data-binary", &"x".repeat(100_000)]);
    assert_eq!(said, "ok");
    assert_eq!(value(&started.origin.last(), "content-length"), Some("100000"));
    let said =
        started.curl("one.test", &["--http2", "--header", "Transfer-Encoding: chunked", "--data-binary", "hello"]);
    assert_eq!(said, "ok");
}

#[test]
fn an_origin_over_tls_must_prove_its_name() {
    // keyward is the TLS origin of another keyward, so that both ends are real.
    let started = started();
    let port = started.keyward.tls_address().port();
    let front = |name: &str, ca: &str| {
        keyward()
            .config(format!(
                "[services.api]\nurl = \"https://{name}:{port}\"\npreserve_host = false\n{ca}\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n"
            ))
            .start()
    };
    // No name of the certificate resolves here, so what is shown is the refusal of every wrong one.
    for (name, ca) in [("127.0.0.1", format!("ca_file = {:?}", started.root.file)), ("localhost", String::new())] {
        let answer = front(name, &ca).wire().ask("GET", "/", &[]);
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_UNREACHABLE"), "{name}");
    }
}

#[test]
fn an_origin_over_tls_is_reached_where_it_proves_its_name() {
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let back = setup
        .config(format!(
            "[server]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n\
             [services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
            files.chain,
            files.key,
            origin.url()
        ))
        .start();
    let front = keyward()
        .config(format!(
            "[services.api]\nurl = \"https://localhost:{}\"\nca_file = {:?}\npreserve_host = false\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
            back.tls_address().port(),
            root.file
        ))
        .start();
    for _ in 0..3 {
        assert_eq!(front.wire().ask("GET", "/", &[]).text(), "ok");
    }
    assert_eq!(value(&origin.last(), "x-forwarded-proto"), Some("https"));
}

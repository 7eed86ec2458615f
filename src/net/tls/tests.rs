//! Certificates that are whole, and ten ways in which they are not.

use std::path::{Path, PathBuf};

use super::*;

/// Writes a fresh certificate for `names` and its key, as PEM.
fn write(folder: &Path, stem: &str, names: &[&str]) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = CertificateFiles {
        chain_file: Some(folder.join(format!("{stem}.pem"))),
        key_file: Some(folder.join(format!("{stem}.key"))),
    };
    fs::write(files.chain_file.as_ref().unwrap(), made.cert.pem()).unwrap();
    fs::write(files.key_file.as_ref().unwrap(), made.signing_key.serialize_pem()).unwrap();
    files
}

fn flaws(files: &[CertificateFiles]) -> Vec<String> {
    ServerTls::load(files, "server.certificates").err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn an_exact_name_goes_before_a_wildcard_and_the_first_takes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        write(folder.path(), "first", &["first.example"]),
        write(folder.path(), "wild", &["*.example.com", "example.com"]),
        write(folder.path(), "exact", &["api.example.com"]),
    ];
    let tls = ServerTls::load(&files, "server.certificates").unwrap();
    for (a, b, same) in [
        ("a.example.com", "b.example.com", true),
        ("a.example.com", "EXAMPLE.com.", true),
        ("a.example.com", "api.example.com", false),
        ("a.b.example.com", "first.example", true),
        ("unknown.test", "", true),
        ("a.example.com", "unknown.test", false),
    ] {
        assert_eq!(tls.same_certificate(a, b), same, "{a} and {b}");
    }
}

#[test]
fn every_flaw_of_every_certificate_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (write(folder.path(), "one", &["one.test"]), write(folder.path(), "two", &["two.test"]));
    let text = folder.path().join("text.pem");
    fs::write(&text, "not a certificate").unwrap();
    let locked = folder.path().join("locked.pem");
    fs::write(
        &locked,
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
    )
    .unwrap();
    let absent: PathBuf = folder.path().join("absent.pem");
    let with = |chain: Option<&PathBuf>, key: Option<&PathBuf>| CertificateFiles {
        chain_file: chain.cloned(),
        key_file: key.cloned(),
    };
    let (chain, key) = (one.chain_file.as_ref(), one.key_file.as_ref());
    let told = flaws(&[
        with(chain, two.key_file.as_ref()),
        with(Some(&absent), Some(&absent)),
        with(Some(&text), Some(&text)),
        with(None, key),
        with(chain, None),
        with(chain, Some(&locked)),
        one.clone(),
    ]);
    let expected = [
        ("server.certificates.0.key_file", "does not belong"),
        ("server.certificates.1.chain_file", "cannot be read"),
        ("server.certificates.1.key_file", "cannot be read"),
        ("server.certificates.2.chain_file", "has no certificate"),
        ("server.certificates.2.key_file", "has no private key"),
        ("server.certificates.3.chain_file", "is missing"),
        ("server.certificates.4.key_file", "is missing"),
        ("server.certificates.5.key_file", "needs a passphrase"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((key, what), flaw) in expected.iter().zip(&told) {
        assert!(flaw.starts_with(key) && flaw.contains(what), "{flaw} is not about {key}: {what}");
    }
    assert!(told[1].contains("absent.pem") && told[1].contains("No such file"), "{}", told[1]);
}

#[test]
fn tls_without_a_certificate_is_a_flaw() {
    assert_eq!(flaws(&[]), ["server.certificates: TLS needs a certificate"]);
    let none = CertificateFiles { chain_file: None, key_file: None };
    let told = ServerTls::load_one(&none, "admin").unwrap_err();
    assert_eq!(told.iter().map(|flaw| flaw.key.as_str()).collect::<Vec<_>>(), ["admin.chain_file", "admin.key_file"]);
}

#[test]
fn other_certificates_are_shown_from_one_moment_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (write(folder.path(), "a", &["a.test"]), write(folder.path(), "b", &["b.test"]));
    let tls = ServerTls::load(&[a.clone(), b.clone()], "server.certificates").unwrap();
    assert!(!tls.same_certificate("a.test", "b.test"));
    tls.clone().show(&ServerTls::load(&[a], "server.certificates").unwrap());
    assert!(tls.same_certificate("a.test", "b.test"));
}

#[test]
fn it_is_told_when_each_expires() {
    let folder = tempfile::tempdir().unwrap();
    let files = |name: &str, from: i32, to: i32| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        let place = |end: &str| Some(folder.path().join(format!("{name}.{end}")));
        let files = CertificateFiles { chain_file: place("pem"), key_file: place("key") };
        fs::write(files.chain_file.as_ref().unwrap(), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(files.key_file.as_ref().unwrap(), key.serialize_pem()).unwrap();
        files
    };
    let all = [
        files("gone.test", 2020, 2021),
        files("good.test", 2020, 2050),
        files("later.test", 2090, 2091),
        files("upside-down.test", 2030, 2020),
    ];
    let tls = ServerTls::load(&all, "server.certificates").unwrap();
    assert_eq!(tls.expire_at(), [1_609_459_200, 2_524_608_000, 3_818_448_000, 0]);
}

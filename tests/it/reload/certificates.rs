//! Certificates: a new one is shown to whoever connects from then on; who is connected already notices nothing.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{APPLIED, ASKED, REFUSED, WATCHED, hang_up, told, write};
use crate::support::pki::{Files, Root};
use crate::support::tls::Tls;
use crate::support::{Keyward, Origin, keyward};

fn config(watch: &str, origin: &Origin, files: &Files) -> String {
    format!(
        "{watch}[server]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\nchain_file = {:?}\n\
         key_file = {:?}\n{}",
        files.chain,
        files.key,
        super::to(origin)
    )
}

/// The certificate that a new connection is shown, and that the connection works.
fn shown(keyward: &Keyward, root: &Root) -> Vec<u8> {
    let mut wire = Tls::trusting(root).connect(keyward.tls_address(), "a.test");
    assert_eq!(wire.ask("GET", "/", &[("Host", "a.test")]).status, 200);
    wire.certificate()
}

fn der(files: &Files) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    rustls_pki_types::CertificateDer::from_pem_file(&files.chain).unwrap().to_vec()
}

/// A keyward that shows a certificate, and what that is.
struct Served {
    origin: Origin,
    root: Root,
    files: Files,
    keyward: Keyward,
    first: Vec<u8>,
}

fn served() -> Served {
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["a.test"]);
    let keyward = setup.config(config(WATCHED, &origin, &files)).start();
    let first = der(&files);
    Served { origin, root, files, keyward, first }
}

#[test]
fn a_new_certificate_is_for_new_connections_and_the_old_ones_go_on() {
    let Served { origin: _origin, root, files, keyward, first } = served();
    let mut open = Tls::trusting(&root).connect(keyward.tls_address(), "a.test");
    assert_eq!(open.ask("GET", "/", &[("Host", "a.test")]).status, 200);
    assert_eq!(open.certificate(), first);
    // The same names, another certificate and another key.
    root.certificate(keyward.folder(), &["a.test"]);
    told(&keyward, APPLIED, 1);
    let second = shown(&keyward, &root);
    assert_eq!(second, der(&files));
    assert_ne!(second, first);
    assert_eq!(open.ask("GET", "/", &[("Host", "a.test")]).status, 200);
}

#[test]
fn a_key_of_another_certificate_is_refused_until_it_fits() {
    let Served { origin: _origin, root, files, keyward, first } = served();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = root.certificate(elsewhere.path(), &["a.test"]);
    std::fs::copy(&other.key, &files.key).unwrap();
    told(&keyward, REFUSED, 1);
    keyward.stderr.expect("server.certificates.0.key_file");
    keyward.stderr.expect("does not belong to the certificate");
    assert_eq!(shown(&keyward, &root), first);
    std::fs::copy(&other.chain, &files.chain).unwrap();
    told(&keyward, APPLIED, 1);
    assert_eq!(shown(&keyward, &root), der(&other));
}

#[test]
fn a_certificate_that_is_gone_or_cut_off_changes_nothing() {
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["a.test"]);
    let keyward = setup.config(config(ASKED, &origin, &files)).start();
    let first = der(&files);
    let whole = std::fs::read_to_string(&files.chain).unwrap();
    std::fs::write(&files.chain, &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_file(&files.key).unwrap();
    hang_up(&keyward, REFUSED, 1);
    // Both, and not the first only.
    keyward.stderr.expect("reasons=2");
    assert_eq!(shown(&keyward, &root), first);
}

#[test]
fn a_swapped_link_as_kubernetes_makes_it_is_seen() {
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let mount = setup.folder().join("mount");
    let version = |name: &str| {
        let folder = mount.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        root.certificate(&folder, &["a.test"])
    };
    let point = |name: &str| {
        symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    let first = der(&version("..2026_1"));
    point("..2026_1");
    for name in ["a.test.pem", "a.test.key"] {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
    let files = Files { chain: mount.join("a.test.pem"), key: mount.join("a.test.key") };
    let keyward = setup.config(config(WATCHED, &origin, &files)).start();
    assert_eq!(shown(&keyward, &root), first);
    for (count, name) in [(1, "..2026_2"), (2, "..2026_3")] {
        let next = der(&version(name));
        point(name);
        std::fs::remove_dir_all(mount.join(format!("..2026_{count}"))).unwrap();
        told(&keyward, APPLIED, count);
        assert_eq!(shown(&keyward, &root), next);
    }
}

#[test]
fn another_root_for_an_origin_is_trusted_at_once() {
    let behind = Origin::plain();
    let setup = keyward();
    let (right, wrong) = (Root::new(setup.folder()), tempfile::tempdir().unwrap());
    let certificate = right.certificate(setup.folder(), &["localhost"]);
    let back = setup.config(config(ASKED, &behind, &certificate)).start();
    let trusted = wrong.path().join("trusted.pem");
    std::fs::copy(Root::new(wrong.path()).file, &trusted).unwrap();
    let front = keyward()
        .config(format!(
            "{WATCHED}[services.api]\nurl = \"https://localhost:{}\"\nca_file = {trusted:?}\npreserve_host = false\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
            back.tls_address().port()
        ))
        .start();
    assert_eq!(front.wire().ask("GET", "/", &[]).status, 502);
    std::fs::copy(&right.file, &trusted).unwrap();
    told(&front, APPLIED, 1);
    assert_eq!(front.wire().ask("GET", "/", &[]).status, 200);
}

/// A keyward whose management face speaks TLS, under these further settings.
fn config_of_admin(origin: &Origin, admin: &str) -> String {
    format!("{ASKED}{}[admin]\n{admin}", super::to(origin))
}

fn named(files: &Files) -> String {
    format!("chain_file = {:?}\nkey_file = {:?}\n", files.chain, files.key)
}

/// The certificate that the management face shows, and that it works.
fn shown_by_admin(keyward: &Keyward, root: &Root) -> Vec<u8> {
    let mut wire = Tls::trusting(root).connect(keyward.admin_tls_address(), "admin.test");
    assert_eq!(wire.ask("GET", "/readyz", &[]).status, 200);
    wire.certificate()
}

#[test]
fn tls_that_the_management_face_is_to_lose_stays_without_its_files_and_other_settings_are_reloaded() {
    let (first, second, third) = (Origin::plain(), Origin::plain(), Origin::plain());
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["admin.test"]);
    let keyward = setup.config(config_of_admin(&first, &named(&files))).start();
    let certificate = der(&files);
    std::fs::remove_file(&files.chain).unwrap();
    std::fs::remove_file(&files.key).unwrap();
    // They are named still, and a restart would fail without them.
    hang_up(&keyward, REFUSED, 1);
    keyward.stderr.expect("admin.chain_file");
    for (count, origin) in [(1, &second), (2, &third)] {
        write(&keyward, &config_of_admin(origin, ""));
        hang_up(&keyward, APPLIED, count);
        for key in ["admin.chain_file", "admin.key_file"] {
            told(&keyward, &format!("this setting waits for a restart key=\"{key}\""), count);
        }
        assert_eq!(keyward.wire().ask("GET", "/", &[]).status, 200);
        assert_eq!(origin.seen().heads.len(), 1);
        assert_eq!(shown_by_admin(&keyward, &root), certificate);
    }
    // Named again, it is renewed as ever.
    let renewed = root.certificate(keyward.folder(), &["admin.test"]);
    write(&keyward, &config_of_admin(&third, &named(&renewed)));
    hang_up(&keyward, APPLIED, 3);
    assert_eq!(shown_by_admin(&keyward, &root), der(&renewed));
}

#[test]
fn a_scrape_tells_when_each_certificate_that_is_shown_expires() {
    // Midnight of the first day of 2049, 2050 and 2051: the form in which a certificate says it changes with 2050.
    const YEARS: [(i32, &str); 3] = [(2049, "2493072000"), (2050, "2524608000"), (2051, "2556144000")];
    let origin = Origin::plain();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let made = |name: &str, (year, _)| root.certificate_until(setup.folder(), &[name], year);
    let (first, admin) = (made("a.test", YEARS[0]), made("admin.test", YEARS[1]));
    let settings = |more: &str| format!("{}[admin]\n{}{more}", config(ASKED, &origin, &first), named(&admin));
    let (one, two) =
        (settings(""), settings(&format!("[[server.certificates]]\n{}", named(&made("b.test", YEARS[1])))));
    let folder = setup.folder().to_owned();
    let keyward = setup.config(one).start();
    let assert_told = |expected: &[(&str, &str)]| {
        let mut wire = Tls::trusting(&root).connect(keyward.admin_tls_address(), "admin.test");
        let text = wire.ask("GET", "/metrics", &[]).text();
        let told = text
            .lines()
            .filter_map(|line| line.strip_prefix("keyward_certificate_expires_timestamp_seconds{certificate=\""));
        let told: Vec<_> = told.map(|line| line.split_once("\"} ").unwrap()).collect();
        let told: Vec<_> = told.iter().map(|(place, at)| (*place, at.trim_end_matches(".0"))).collect();
        assert_eq!(told, expected);
    };
    assert_told(&[("server.certificates.0", YEARS[0].1), ("admin", YEARS[1].1)]);
    root.certificate_until(&folder, &["a.test"], YEARS[2].0);
    write(&keyward, &two);
    // Read, and not taken over yet.
    assert_told(&[("server.certificates.0", YEARS[0].1), ("admin", YEARS[1].1)]);
    hang_up(&keyward, APPLIED, 1);
    let second = ("server.certificates.1", YEARS[1].1);
    assert_told(&[("server.certificates.0", YEARS[2].1), second, ("admin", YEARS[1].1)]);
    root.certificate_until(&folder, &["admin.test"], YEARS[2].0);
    hang_up(&keyward, APPLIED, 2);
    assert_told(&[("server.certificates.0", YEARS[2].1), second, ("admin", YEARS[2].1)]);
}

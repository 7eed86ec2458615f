//! `--admin`: commands to a keyward elsewhere, and everything that keeps one from being asked.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::keyward::{Setup, binary};
use crate::support::page::{blocks, run};
use crate::support::pki::Root;
use crate::support::postgres::Server;
use crate::support::{Keyward, keyward};

/// Runs a command that asks the keyward at `url`, with these variables too.
fn ask(url: &str, line: &str, variables: &[(&str, &str)]) -> Output {
    let mut command: Command = binary();
    command.args(line.split_whitespace()).args(["--admin", url]).envs(variables.iter().copied());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A keyward, its first operator key, and a file that holds it as an editor leaves it.
fn served(setup: Setup) -> (Keyward, String) {
    let keyward = setup.upstream("echo").start();
    let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
    std::fs::write(keyward.folder().join("operator.key"), format!("{operator}\n")).unwrap();
    (keyward, operator)
}

fn file(keyward: &Keyward, name: &str) -> String {
    keyward.folder().join(name).display().to_string()
}

#[test]
fn every_reason_not_to_be_heard_is_told_with_the_url_and_without_the_key() {
    let (keyward, operator) = served(keyward());
    keyward.account("101");
    let weak = keyward.service_key("101", &[]).secret;
    let (here, clients) = (format!("http://{}", keyward.admin()), format!("http://{}", keyward.address()));
    let of_file = format!("account list --operator-key-file {}", file(&keyward, "operator.key"));
    std::fs::write(keyward.folder().join("empty.key"), "\n").unwrap();
    let of_empty = format!("account list --operator-key-file {}", file(&keyward, "empty.key"));
    let wrong = format!("kw_live_{}", "a".repeat(50));
    let list = "account list";
    for (url, line, key, code, fragment) in [
        (here.as_str(), list, "", 2, "an operator key is needed to ask http://127.0.0.1:"),
        (&here, list, "two words", 2, "what KEYWARD_OPERATOR_KEY holds is no key"),
        (&here, &of_empty, "", 2, "empty.key holds is no key"),
        (&here, "account list --operator-key-file nowhere", "", 1, "the operator key cannot be read from nowhere"),
        (&here, list, &wrong, 1, "it answers 401, API_KEY_INVALID"),
        (&here, list, &weak, 1, "it answers 403, SCOPE_INSUFFICIENT"),
        (&here, "account create 101", &operator, 1, "account \"101\" exists already"),
        (&clients, list, &weak, 1, "does not answer as a keyward's admin listener does"),
        ("http://127.0.0.1:1", list, &operator, 1, "cannot ask the keyward at http://127.0.0.1:1: Connection refused"),
        ("http://192.0.2.1:9090", list, &operator, 1, "in the clear; use https, or say --admin-in-clear"),
        ("127.0.0.1:9090", list, &operator, 2, "--admin is no URL of a keyward: write it as https://host:port"),
        ("https://paul:hunter2@keyward.internal", list, &operator, 2, "without a user, a query or a fragment"),
        (&here, "account list --store sqlite://k.db", &operator, 2, "cannot be used with"),
    ] {
        let output = ask(url, line, &[("KEYWARD_OPERATOR_KEY", key)]);
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{url} {line}: {said}");
        assert!(said.contains(fragment), "{url} {line}: {said}");
        for secret in [operator.as_str(), &wrong, &weak, "hunter2"] {
            assert!(!said.contains(secret), "{url} {line}: {said}");
        }
    }
    // The file is read before the environment, and a flag before either.
    let output = ask(&here, &of_file, &[("KEYWARD_OPERATOR_KEY", &wrong), ("KEYWARD_ADMIN_URL", "http://127.0.0.1:1")]);
    assert!(output.status.success(), "{}", said(&output));
    // With --store it is that store's, whatever the environment says.
    let store = format!("sqlite://{}", keyward.database().display());
    let listed =
        binary().args(["account", "list", "--store", &store]).env("KEYWARD_ADMIN_URL", "nonsense").output().unwrap();
    assert!(listed.status.success(), "{}", said(&listed));
}

#[test]
fn the_page_of_the_command_line_does_what_it_shows() {
    let (keyward, operator) = served(keyward());
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md")).unwrap();
    let block = blocks(&text).into_iter().find(|block| block.kind == "console tested").unwrap();
    let here = block.text.replace("127.0.0.1:9090", &keyward.admin().to_string()).replace("$OPERATOR", &operator);
    assert!(here.contains(&operator));
    run(&here, keyward.folder());
}

#[test]
fn over_tls_the_keyward_is_who_its_certificate_says() {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let of = |path: &Path| path.display().to_string();
    let admin = format!("[admin]\nchain_file = {:?}\nkey_file = {:?}\n", of(&files.chain), of(&files.key));
    let (keyward, operator) = served(setup.config(admin));
    let port = keyward.admin_tls_address().port();
    let key = [("KEYWARD_OPERATOR_KEY", operator.as_str())];
    let trusting = format!("account create 101 --admin-ca {}", of(&root.file));
    let made = ask(&format!("https://localhost:{port}"), &trusting, &key);
    assert!(made.status.success(), "{}", said(&made));
    for (host, line, fragment) in [
        ("localhost", "account list", "UnknownIssuer"),
        ("127.0.0.1", trusting.as_str(), "not valid for name"),
        ("localhost", "account list --admin-ca nowhere", "nowhere: no certificates can be read from it"),
    ] {
        let output = ask(&format!("https://{host}:{port}"), line, &key);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(fragment), "{host} {line}: {}", said(&output));
    }
    // Spoken to in the clear, it is no keyward that anything can be asked of.
    let output = ask(&format!("http://127.0.0.1:{port}"), "account list", &key);
    assert!(!output.status.success() && said(&output).contains("it gives no HTTP answer"), "{}", said(&output));
}

#[test]
fn a_replica_that_runs_in_a_folder_is_not_asked_about_another_database() {
    let (here, there) = (Server::shared().database(), Server::shared().database());
    let setup = keyward();
    let own = setup.folder().join("own");
    std::fs::create_dir(&own).unwrap();
    let config = format!("[store]\nurl = \"{}\"\nfolder = \"{}\"\n", here.url(), own.display());
    let running = setup.store(here.url()).config(config).upstream("echo").start();
    let settings = file(&running, "keyward.toml");
    let there = there.url();
    let done = |line: &str, more: &[&str]| {
        let output = binary().args(line.split(' ')).args(["--config", &settings]).args(more).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    done("account create of-here", &[]);
    done("account create of-there", &["--store", &there]);
    let (of_here, of_there) = (done("account list", &[]), done("account list", &["--store", &there]));
    assert!(of_here.contains("of-here") && !of_here.contains("of-there"), "{of_here}");
    assert!(of_there.contains("of-there") && !of_there.contains("of-here"), "{of_there}");
    // The same database by the flag is whose replica runs there.
    let ended = binary()
        .args(["account", "suspend", "of-here", "--config", &settings, "--store", &here.url()])
        .output()
        .unwrap();
    assert!(
        said(&ended).contains("in force on 1 of 1 replicas") && !said(&ended).contains("directly"),
        "{}",
        said(&ended)
    );
}

//! Settings, as an operator meets them: every mistake at once, and the same from a flag, a file or a variable.

use std::process::Output;

use crate::support::keyward::binary;
use crate::support::pki::Root;
use crate::support::{Origin, keyward};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn ten_mistakes_of_ten_kinds_are_all_named_with_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path());
    let (one, two) = (root.certificate(folder.path(), &["one.test"]), root.certificate(folder.path(), &["two.test"]));
    let file = folder.path().join("keyward.toml");
    let text = format!(
        r#"[server]
lisen = ["127.0.0.1:8080"]
workers = "many"
listen = ["127.0.0.1:18080"]
tls_listen = ["127.0.0.1:18080"]
[server.timeouts]
idle = "soon"
[[server.certificates]]
chain_file = "/no/such/chain.pem"
key_file = {:?}
[[server.certificates]]
chain_file = {:?}
key_file = {:?}
[admin]
listen = "0.0.0.0:19090"
[services.api]
url = "http://127.0.0.1:3000"
[services.other]
[[routes]]
path = "/**"
service = "api"
[[routes]]
path = "/a"
service = "api"
[[routes]]
path = "/b"
hosts = ["b.test"]
service = "nobody"
"#,
        one.key, one.chain, two.key
    );
    std::fs::write(&file, &text).unwrap();
    let line_of = |text_of_line: &str| text.lines().position(|line| line.contains(text_of_line)).unwrap() + 1;
    for verb in ["validate", "serve"] {
        let output = binary().arg(verb).arg("--config").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{verb}: {}", said(&output));
        let said = said(&output);
        for (line, key, told) in [
            ("lisen", "server.lisen", "did you mean `listen`?"),
            ("workers", "server.workers", "many"),
            ("idle", "server.timeouts.idle", "duration"),
            ("[services.other]", "services.other.url", "needs a url"),
            ("tls_listen", "server.tls_listen", "18080"),
            ("/no/such/chain.pem", "server.certificates.0.chain_file", "/no/such/chain.pem"),
            (&two.key.display().to_string(), "server.certificates.1.key_file", "match"),
            ("nobody", "routes.2.service", "nobody"),
            ("path = \"/a\"", "routes.1.path", "never be reached"),
            ("0.0.0.0:19090", "admin.listen", "open_bind_without_tls"),
        ] {
            let place = format!("{}:{}:", file.display(), line_of(line));
            let found = said.lines().any(|said| said.contains(&place) && said.contains(key) && said.contains(told));
            assert!(found, "{verb} does not name {key} at {place} with {told:?}:\n{said}");
        }
        assert_eq!(said.lines().filter(|line| line.contains("keyward.toml:")).count(), 10, "{said}");
    }
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    for verb in ["serve", "validate"] {
        let output = binary().args([verb, "--config", "/no/such/keyward.toml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(said(&output).contains("/no/such/keyward.toml"), "{}", said(&output));
    }
}

#[test]
fn flags_file_and_environment_set_the_same_things() {
    let origin = Origin::plain();
    let file = format!(
        "[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
        origin.url()
    );
    let by_file = keyward().config(file).start();
    assert_eq!(by_file.wire().ask("GET", "/", &[]).status, 200);
    let by_variable = keyward().variable("KEYWARD__SERVICES__UPSTREAM__URL", &origin.url()).start();
    assert_eq!(by_variable.wire().ask("GET", "/", &[]).status, 401);
    // The flag comes over the variable, and the variable over the file.
    let told = keyward()
        .config("[gateway]\nrealm = \"file\"\n")
        .variable("KEYWARD__GATEWAY__REALM", "variable")
        .variable("KEYWARD__SERVICES__UPSTREAM__URL", "http://127.0.0.1:1")
        .upstream(origin.url())
        .start();
    let refused = told.wire().ask("GET", "/", &[]);
    assert!(refused.all("www-authenticate")[0].contains("realm=\"variable\""));
    told.account("101");
    assert_eq!(told.get("/", &told.service_key("101", &[]).secret).status, 200);
}

#[test]
fn an_address_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = binary()
        .args(["serve", "--upstream", "echo", "--admin", "127.0.0.1:0", "--listen", &address])
        .args(["--store", &format!("sqlite://{}", tempfile::tempdir().unwrap().path().join("k.db").display())])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&address) && said(&output).contains("server.listen.0"), "{}", said(&output));
}

#[test]
fn the_first_start_over_an_empty_store_prints_one_operator_key_once() {
    let origin = Origin::plain();
    let mut first = keyward().upstream(origin.url()).start();
    let shown = |lines: Vec<String>| lines.into_iter().filter(|line| line.starts_with("kw_live_")).collect::<Vec<_>>();
    assert_eq!(shown(first.stderr.all()).len(), 1);
    assert!(shown(first.stdout.all()).is_empty());
    let keys = first.json(&["key", "list"]);
    assert_eq!((keys["keys"].as_array().unwrap().len(), keys["keys"][0]["kind"].as_str()), (1, Some("operator")));
    assert!(first.stop().success());
    let second = keyward().upstream(origin.url()).over(&first).start();
    assert!(shown(second.stderr.all()).is_empty());
    let reset = second.json(&["operator", "reset"]);
    assert!(reset["secret"].as_str().unwrap().starts_with("kw_live_"));
    let states: Vec<_> =
        second.json(&["key", "list"])["keys"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["revoked", "active"]);
}

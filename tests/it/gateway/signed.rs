//! An origin can tell a request that came through keyward from any other, in three languages and with a library.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::origin::value;
use crate::support::python::python;
use crate::support::{Keyward, Minted, Origin, keyward};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/signed-identity");

struct Signing {
    keyward: Keyward,
    origin: Origin,
    key: Minted,
}

impl Signing {
    /// With these lines in the service's table, and a key that is `2026-11`.
    fn started(more: &str) -> Self {
        Self::before(Origin::plain(), more)
    }

    fn before(origin: Origin, more: &str) -> Self {
        let setup = keyward();
        let file = setup.folder().join("signing.key");
        std::fs::write(&file, KEY).unwrap();
        let keyward = setup
            .config(format!(
                "[origin]\nsigning_key_file = {:?}\nsigning_key_id = \"2026-11\"\n[services.api]\nurl = \"{}\"\n{more}\n\
                 [[routes]]\npath = \"/open/**\"\nservice = \"api\"\nopen = true\n\
                 [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
                file.display().to_string(),
                origin.url()
            ))
            .start();
        keyward.account("101");
        let key = keyward.service_key("101", &["--permission", "jobs:run", "--permission", "users:*"]);
        Self { keyward, origin, key }
    }

    /// What the origin got of a request.
    fn passed(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let answer = self.keyward.wire().ask(method, target, headers);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        self.origin.last()
    }

    fn passed_with_key(&self, method: &str, target: &str) -> String {
        self.passed(method, target, &[("Authorization", &format!("Token {}", self.key.secret))])
    }

    /// What the library for the standard takes a head's signature to cover, or what it says against it.
    fn verified(&self, head: &str) -> Result<Value, String> {
        let mut command = python();
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/verify_signature.py"));
        let output = run(command, &[&named("2026-11", &self.file())], head);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(said) }
    }

    fn file(&self) -> PathBuf {
        self.keyward.folder().join("signing.key")
    }

    fn identity(&self) -> Value {
        json!({
            "x-keyward-account": "101",
            "x-keyward-key": self.key.id,
            "x-keyward-kind": "service",
            "x-keyward-permissions": "jobs:run,users:*",
        })
    }
}

/// How one of the page's programs is called.
type Program = fn() -> Command;

/// All three.
const LANGUAGES: [(&str, Program); 3] = [("Python", by_python), ("JavaScript", by_node), ("Go", by_go)];

fn by_python() -> Command {
    let mut command = python();
    command.arg(format!("{DOCS}/verify.py"));
    command
}

fn by_node() -> Command {
    let mut command = Command::new("node");
    command.arg(format!("{DOCS}/verify.mjs"));
    command
}

fn by_go() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify-go");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(format!("{DOCS}/verify.go"));
        let built = build.status().expect("go is not there: run .ci/packages");
        assert!(built.success());
        program
    });
    Command::new(program)
}

fn run(mut command: Command, arguments: &[&str], head: &str) -> Output {
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: run .ci/packages"));
    child.stdin.take().unwrap().write_all(head.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a program says of a head: whom it is from, or why it is nobody's that keyward sent.
fn judged(program: Program, key: &str, at: Option<i64>, head: &str) -> Result<Value, String> {
    let at = at.map(|at| at.to_string());
    let arguments: Vec<&str> = [Some(key), at.as_deref()].into_iter().flatten().collect();
    let output = run(program(), &arguments, head);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(1) if said.starts_with("rejected: ") => Err(said),
        code => panic!("{code:?}: {said}"),
    }
}

fn named(id: &str, file: &Path) -> String {
    format!("{id}={}", file.display())
}

/// The head with another line, after its request line.
fn with(head: &str, line: &str) -> String {
    head.replacen("\r\n", &format!("\r\n{line}\r\n"), 1)
}

/// The head without the line of this header.
fn without(head: &str, name: &str) -> String {
    let is_it = |line: &str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
    head.split("\r\n").filter(|line| !is_it(line)).collect::<Vec<_>>().join("\r\n")
}

/// A parameter of the signature, such as `created`.
fn moment(head: &str, name: &str) -> i64 {
    let input = value(head, "signature-input").unwrap();
    input.split_once(&format!(";{name}=")).unwrap().1.split(';').next().unwrap().parse().unwrap()
}

/// Unix time in seconds.
#[allow(clippy::disallowed_methods, reason = "what a signature says is compared with the real time")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

#[test]
fn what_passed_keyward_is_accepted_in_three_languages() {
    for (more, host) in [("", "api.test"), ("preserve_host = false", "127.0.0.1")] {
        let begun = now();
        let signing = Signing::started(more);
        let key = named("2026-11", &signing.file());
        let open = signing.passed("POST", "/open/a", &[("X-Keyward-Account", "101"), ("Content-Length", "0")]);
        let heads = [
            (signing.passed_with_key("GET", "/a/%E2%82%AC?b=c%20d&e=?"), signing.identity()),
            (signing.passed_with_key("DELETE", "/%61"), signing.identity()),
            (signing.passed_with_key("OPTIONS", "/a?"), signing.identity()),
            (open, json!({})),
        ];
        for (head, told) in &heads {
            assert!(value(head, "host").unwrap().starts_with(host), "{head}");
            let created = moment(head, "created");
            assert!((begun..=now()).contains(&created) && moment(head, "expires") == created + 60, "{head}");
            for (language, program) in LANGUAGES {
                assert_eq!(judged(program, &key, Some(created), head).as_ref(), Ok(told), "{language}: {head}");
            }
        }
    }
}

#[test]
fn a_request_that_is_repeated_keeps_its_id_and_is_signed_again() {
    // Each connection answers one request and reads the next one without an answer.
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.request();
    });
    let signing = Signing::before(origin, "");
    // One connection is one worker, which keeps connections of its own.
    let mut wire = signing.keyward.wire();
    for path in ["/first", "/repeated"] {
        assert_eq!(wire.get(path, &signing.key.secret).status, 200);
    }
    let heads: Vec<_> = signing.origin.seen().heads.into_iter().filter(|head| head.contains("/repeated")).collect();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert_eq!(value(&heads[0], "x-request-id"), value(&heads[1], "x-request-id"));
    let key = named("2026-11", &signing.file());
    for head in &heads {
        assert_eq!(judged(by_python, &key, Some(moment(head, "created")), head), Ok(signing.identity()), "{head}");
    }
}

#[test]
fn what_was_changed_behind_keyward_is_rejected_in_three_languages() {
    let signing = Signing::started("");
    let key = named("2026-11", &signing.file());
    let head = signing.passed_with_key("GET", "/a?b=c");
    let open = signing.passed("GET", "/open/a", &[]);
    let created = moment(&head, "created");
    let in_time = |head: String| (head, created);
    let cases = [
        ("the method", in_time(head.replacen("GET", "PUT", 1))),
        ("the path", in_time(head.replacen("/a?", "/b?", 1))),
        ("the path's escapes", in_time(head.replacen("/a?", "/%61?", 1))),
        ("the query", in_time(head.replacen("?b=c", "?b=d", 1))),
        ("path and query", in_time(head.replacen("/a?b=c", "/a%3Fb=c", 1))),
        ("the host", in_time(head.replacen("\r\nhost: api.test", "\r\nhost: evil.test", 1))),
        ("the account", in_time(head.replacen("x-keyward-account: 101", "x-keyward-account: 102", 1))),
        ("an account taken away", in_time(without(&head, "x-keyward-account"))),
        ("a second account", in_time(with(&head, "x-keyward-account: 102"))),
        ("a second account's spelling", in_time(with(&head, "X_Keyward_Account: 102"))),
        ("a user added", in_time(with(&head, "X-Keyward-User: 7"))),
        ("an account on an open route", in_time(with(&open, "X-Keyward-Account: 101"))),
        ("a permission", in_time(head.replacen("jobs:run,users:*", "jobs:run,*", 1))),
        ("permissions in two lines", {
            let split = with(&without(&head, "x-keyward-permissions"), "x-keyward-permissions: jobs:run");
            in_time(with(&split, "x-keyward-permissions: users:*"))
        }),
        ("the request's id", in_time(with(&without(&head, "x-request-id"), "x-request-id: 0"))),
        ("no request id", in_time(without(&head, "x-request-id"))),
        ("its end", in_time(head.replacen(";expires=1", ";expires=2", 1))),
        ("its list", in_time(head.replacen(" \"x-keyward-kind\"", "", 1))),
        ("its list to nothing", in_time(head.replacen("keyward=(\"@method\"", "keyward=();x=(\"@method\"", 1))),
        ("its algorithm", in_time(head.replacen("hmac-sha256", "ed25519", 1))),
        ("its key", in_time(head.replacen("2026-11", "2026-12", 1))),
        ("no signature", in_time(without(&head, "signature"))),
        ("no list", in_time(without(&head, "signature-input"))),
        ("neither", in_time(without(&without(&head, "signature"), "signature-input"))),
        ("another request's", {
            let theirs = format!("signature: {}", value(&open, "signature").unwrap());
            in_time(with(&without(&head, "signature"), &theirs))
        }),
        ("too late", (head.clone(), created + 61)),
        ("too early", (head.clone(), created - 6)),
    ];
    for (language, program) in LANGUAGES {
        for at in [created - 5, created, created + 60] {
            assert_eq!(judged(program, &key, Some(at), &head), Ok(signing.identity()), "{language}, {at}");
        }
        for (what, (changed, at)) in &cases {
            assert!(*changed != head || !(0..=60).contains(&(at - created)), "{what}: nothing is changed in {head}");
            let verdict = judged(program, &key, Some(*at), changed);
            assert!(verdict.is_err(), "{language}, {what}: {verdict:?} of {changed}");
        }
    }
}

#[test]
fn by_the_machines_own_clock_three_languages_and_a_library_for_the_standard_accept_it() {
    // Longer than this test takes on the slowest machine.
    let signing = Signing::started("signature_lifetime = \"1h\"");
    for (head, path, query) in [
        (signing.passed_with_key("GET", "/a/%E2%82%AC?b=c%20d&e=?"), "/a/%E2%82%AC", "?b=c%20d&e=?"),
        (signing.passed_with_key("GET", "/a"), "/a", "?"),
    ] {
        for (language, program) in LANGUAGES {
            let verdict = judged(program, &named("2026-11", &signing.file()), None, &head);
            assert_eq!(verdict, Ok(signing.identity()), "{language}: {head}");
        }
        let covered = signing.verified(&head).unwrap();
        for (name, told) in
            [("@path", path), ("@query", query), ("@authority", "api.test"), ("x-keyward-account", "101")]
        {
            assert_eq!(covered[name], told, "{covered}");
        }
    }
    let changed = signing.passed_with_key("GET", "/a").replacen("account: 101", "account: 102", 1);
    let said = signing.verified(&changed).unwrap_err();
    assert!(said.contains("InvalidSignature"), "{said}");
}

#[test]
fn the_authority_that_is_signed_is_the_host_as_it_is_sent_without_the_port_of_the_clients_scheme() {
    // A proxy that is believed says which scheme that was.
    let signing = Signing::started("signature_lifetime = \"1h\"\n[server]\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let key = named("2026-11", &signing.file());
    for (scheme, sent, authority) in [
        ("http", "API.test:80", "api.test"),
        ("http", "api.test:443", "api.test:443"),
        ("https", "API.test:443", "api.test"),
        ("https", "api.test:80", "api.test:80"),
    ] {
        let head = signing.passed("GET", "/open/a", &[("Host", sent), ("X-Forwarded-Proto", scheme)]);
        let told = ["x-forwarded-proto", "x-forwarded-host", "host"].map(|name| value(&head, name).unwrap());
        assert_eq!(told, [scheme, authority, authority], "{sent}");
        assert_eq!(signing.verified(&head).unwrap()["@authority"], authority, "{scheme} {sent}");
        for (language, program) in LANGUAGES {
            assert_eq!(judged(program, &key, None, &head), Ok(json!({})), "{language}: {head}");
        }
    }
}

#[test]
fn a_clients_own_signature_is_removed_where_ours_is_set() {
    let signing = Signing::started("");
    for name in ["Signature", "signature-input", "SIGNATURE", "Signature_Input", "Signature.Input", "Signature!Input"] {
        for path in ["/a", "/open/a"] {
            let token = format!("Token {}", signing.key.secret);
            let headers = [("Authorization", token.as_str()), (name, "spoofed"), (name, "keyward=:spoofed:")];
            let head = signing.passed("GET", path, &headers);
            assert!(!head.contains("spoofed"), "{path} {name}: {head}");
            assert_eq!(head.to_lowercase().matches("\r\nsignature").count(), 2, "{path} {name}: {head}");
        }
    }
    let named = signing.keyward.wire().ask("GET", "/open/a", &[("Connection", "Signature-Input")]);
    assert_eq!((named.status, named.code().as_str()), (400, "REQUEST_MALFORMED"));
}

#[test]
fn without_a_key_nothing_is_signed_and_a_clients_own_signature_passes() {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    assert_eq!(keyward.get("/a", &key.secret).status, 200);
    assert!(!origin.last().to_lowercase().contains("\r\nsignature"), "{}", origin.last());
    let token = format!("Token {}", key.secret);
    assert_eq!(keyward.wire().ask("GET", "/a", &[("Authorization", &token), ("Signature", "own=:AA==:")]).status, 200);
    assert_eq!(value(&origin.last(), "signature"), Some("own=:AA==:"));
}

#[test]
fn each_service_has_a_key_of_its_own_where_settings_say_so_and_none_is_told_to_anybody() {
    let (one, two) = (Origin::plain(), Origin::plain());
    let setup = keyward();
    let file = |name: &str, text: &str| {
        let path = setup.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (common, own) = (file("common.key", KEY), file("own.key", "another key, of one of the services alone"));
    let config = format!(
        "[services.one]\nurl = \"{}\"\n[services.two]\nurl = \"{}\"\nsigning_key_file = {:?}\nsigning_key_id = \"two\"\n\
         signature_lifetime = \"5s\"\n[[routes]]\npath = \"/one\"\nservice = \"one\"\nopen = true\n\
         [[routes]]\npath = \"/two\"\nservice = \"two\"\nopen = true\n",
        one.url(),
        two.url(),
        own.display().to_string()
    );
    let variable = "KEYWARD__ORIGIN__SIGNING_KEY_FILE";
    let keyward = setup.config(config).variable(variable, &common.display().to_string()).start();
    for path in ["/one", "/two"] {
        assert_eq!(keyward.wire().ask("GET", path, &[]).status, 200);
    }
    let judge =
        |id: &str, file: &Path, head: &str| judged(by_python, &named(id, file), Some(moment(head, "created")), head);
    assert_eq!(judge("keyward", &common, &one.last()), Ok(json!({})));
    assert_eq!(judge("two", &own, &two.last()), Ok(json!({})));
    assert!(judge("keyward", &own, &one.last()).is_err());
    assert!(judge("two", &common, &two.last()).is_err());
    assert!(judge("keyward", &common, &two.last()).is_err());
    assert_eq!(moment(&two.last(), "expires"), moment(&two.last(), "created") + 5);
    let said = [keyward.stdout.all(), keyward.stderr.all()].concat().join("\n");
    assert!(!said.contains(KEY) && !said.contains("another key"), "{said}");
}

#[test]
fn another_key_signs_from_a_reload_on_and_a_bad_one_changes_nothing() {
    let origin = Origin::plain();
    let setup = keyward();
    let file = |name: &str, text: &str| {
        let path = setup.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (old, new) = (file("old.key", KEY), file("new.key", "the key that comes after the old one"));
    let (bad, settings) = (file("bad.key", "too short"), setup.folder().join("keyward.toml"));
    let config = |id: &str, file: &Path| {
        format!(
            "[reload]\nwatch = false\n[origin]\nsigning_key_file = {file:?}\nsigning_key_id = \"{id}\"\n[services.api]\n\
             url = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
            origin.url()
        )
    };
    let keyward = setup.config(config("old", &old)).start();
    let assert_signed = |id: &str, file: &Path| {
        assert_eq!(keyward.wire().ask("GET", "/a", &[]).status, 200);
        let head = origin.last();
        let created = moment(&head, "created");
        assert_eq!(judged(by_python, &named(id, file), Some(created), &head), Ok(json!({})), "{head}");
    };
    assert_signed("old", &old);
    for (id, file, outcome) in [("bad", &bad, "signing_key_file"), ("new", &new, "the settings were reloaded")] {
        std::fs::write(&settings, config(id, file)).unwrap();
        keyward.signal("HUP");
        keyward.stderr.expect(outcome);
        let (id, file) = if id == "bad" { ("old", &old) } else { (id, file) };
        assert_signed(id, file);
    }
}

#[test]
fn the_page_shows_the_programs_as_they_are_and_an_example_that_verifies() {
    let page = std::fs::read_to_string(format!("{DOCS}.md")).unwrap();
    for (name, kind) in [("verify.py", "python"), ("verify.mjs", "js"), ("verify.go", "go")] {
        let program = std::fs::read_to_string(format!("{DOCS}/{name}")).unwrap();
        assert!(page.contains(&format!("\n```{kind}\n{program}```\n")), "{name} is not as the page shows it");
    }
    let block = |start: &str| {
        let text = &page[page.find(&format!("```text\n{start}")).unwrap() + "```text\n".len()..];
        text[..text.find("```").unwrap()].replace("\n  ", " ")
    };
    let (headers, base) = (block("Signature-Input: "), block("\"@method\""));
    let said = |name: &str| {
        let line = base.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\": ")));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let mut head = format!("{} {}{} HTTP/1.1\r\n", said("@method"), said("@path"), said("@query"));
    head.push_str(&format!("Host: {}\r\n{}", said("@authority"), headers.replace('\n', "\r\n")));
    for name in ["x-request-id", "x-keyward-account", "x-keyward-key", "x-keyward-kind"] {
        head.push_str(&format!("{name}: {}\r\n", said(name)));
    }
    head.push_str("\r\n");
    assert!(page.contains(KEY) && headers.contains(&said("@signature-params")));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.key");
    std::fs::write(&file, KEY).unwrap();
    let told = json!({"x-keyward-account": "acme", "x-keyward-key": "key_2mVr8", "x-keyward-kind": "service"});
    for (language, program) in LANGUAGES {
        let verdict = judged(program, &named("2026-11", &file), Some(1_732_531_200), &head);
        assert_eq!(verdict.as_ref(), Ok(&told), "{language}: {head}");
    }
}

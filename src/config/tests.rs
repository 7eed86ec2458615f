//! Settings from files, variables and flags, all given as data: the tests run side by side.

use std::path::Path;

use super::*;

/// A folder with a settings file, and what else is said.
struct Case {
    folder: tempfile::TempDir,
    said: Said,
}

impl Case {
    fn file(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.toml");
        std::fs::write(&path, text).unwrap();
        Self { folder, said: Said { file: Some(path), ..Said::default() } }
    }

    fn nothing() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), said: Said::default() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.said.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, name: &'static str, key: &'static str, value: &str) -> Self {
        self.said.flags.push(Flag { name, key, values: vec![value.to_owned()] });
        self
    }

    fn read(self) -> (tempfile::TempDir, Read) {
        (self.folder, read(self.said).unwrap())
    }

    fn settings(self) -> Settings {
        let (_folder, read) = self.read();
        assert_eq!(read.problems, []);
        read.settings
    }

    /// Every problem as `place key: message`, the file by its name alone.
    fn problems(self) -> Vec<String> {
        let (folder, read) = self.read();
        let prefix = format!("{}/", folder.path().display());
        let problems = read.resolve().err().map_or_else(Vec::new, |problems| problems.0);
        problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }
}

/// Each expected problem is there, and no other.
fn assert_told(problems: &[String], expected: &[(&str, &str)]) {
    for (begin, fragment) in expected {
        let found = problems.iter().any(|told| told.starts_with(begin) && told.contains(fragment));
        assert!(found, "no {begin:?} with {fragment:?} among {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

const SERVICE: &str = "[services.api]\nurl = \"http://127.0.0.1:3000\"\n";

#[test]
fn the_reference_gives_every_setting_a_value() {
    let settings = Case::nothing().settings();
    // What is left out where settings are written back is optional; everything else has to stand in the reference.
    let written = serde_json::to_value(&settings).unwrap();
    let default: toml_edit::DocumentMut = read::DEFAULT.parse().unwrap();
    for (table, values) in written.as_object().unwrap() {
        let Some(values) = values.as_object().filter(|_| table != "services") else { continue };
        for (name, value) in values {
            let said = default[table.as_str()].get(name).is_some();
            assert!(said || value.is_null() || name == "certificates", "{table}.{name} is not in the reference");
        }
    }
}

#[test]
fn every_example_in_the_reference_is_known() {
    // A commented line that looks like a setting or a header is one.
    let uncommented: String = read::DEFAULT
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (_folder, read) = Case::file(&uncommented).read();
    assert_eq!(read.problems, []);
    assert_eq!(read.settings.routes[0].open, Some(true));
    assert!(read.settings.keys.pepper_file.is_some());
    assert!(read.settings.admin.chain_file.is_some());
    assert_eq!(read.settings.server.certificates.len(), 1);
}

#[test]
fn a_later_layer_wins() {
    let file = "[server]\nworkers = 2\n[store]\nurl = \"sqlite://file.db\"\n[log]\nlevel = \"warn\"\n";
    let settings = Case::file(file)
        .variable("KEYWARD__STORE__URL", "sqlite://variable.db")
        .variable("KEYWARD__LOG__LEVEL", "error")
        .flag("--store", "store.url", "sqlite://flag.db")
        .settings();
    assert_eq!(settings.server.workers, 2);
    assert_eq!(settings.log.level, crate::telemetry::config::Level::Error);
    assert_eq!(settings.store.url, "sqlite://flag.db");
}

#[test]
fn variables_take_lists_tables_and_bare_values() {
    let listen = |text: &str| Case::nothing().variable("KEYWARD__SERVER__LISTEN", text).settings().server.listen;
    let one: Vec<std::net::SocketAddr> = vec!["0.0.0.0:8080".parse().unwrap()];
    assert_eq!(listen("0.0.0.0:8080"), one);
    assert_eq!(listen("[\"0.0.0.0:8080\"]"), one);
    assert_eq!(listen("0.0.0.0:8080, [::1]:8081").len(), 2);
    assert_eq!(listen("[::1]:8081").len(), 1);
    assert_eq!(listen("[]"), []);

    let settings = Case::nothing()
        .variable("KEYWARD__GATEWAY__REALM", "42")
        .variable("KEYWARD__SERVICES__API__URL", "http://127.0.0.1:3000")
        .variable("KEYWARD__ROUTES", "[{path=\"/**\", service=\"api\", open=true}]")
        .variable("KEYWARD_PORT", "tcp://10.0.0.1:80")
        .settings();
    assert_eq!(settings.gateway.realm, "42");
    assert_eq!(settings.routes[0].open, Some(true));
}

#[test]
fn without_routes_the_only_service_gets_everything_and_nothing_unasked() {
    let settings = Case::nothing().flag("--upstream", "services.upstream.url", "echo").settings();
    assert_eq!(settings.routes.len(), 1);
    assert_eq!(settings.routes[0].service.as_deref(), Some("upstream"));
    assert_eq!(settings.routes[0].open, None);
    let two = format!("{SERVICE}[services.other]\nurl = \"echo\"\n");
    assert!(Case::file(&two).settings().routes.is_empty());
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let mut case = Case::nothing();
    case.said.usual_file = Some("/nowhere/keyward.toml".into());
    let (_folder, read) = case.read();
    assert_eq!(read.problems, []);

    let mut case = Case::nothing();
    case.said.file = Some("/nowhere/keyward.toml".into());
    let (_folder, read) = case.read();
    assert_eq!(read.problems[0].place, Place::File(Path::new("/nowhere/keyward.toml").into()));
    assert!(read.problems[0].message.contains("No such file"), "{}", read.problems[0]);
}

#[test]
fn a_file_that_is_not_toml_is_told_by_line_and_not_shown() {
    let problems = Case::file("[keys]\nprefix = kw_live hunter2\n").variable("KEYWARD__LOG__LEVEL", "loud").problems();
    assert!(problems[0].starts_with("keyward.toml:2:"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
    assert!(problems[1].starts_with("KEYWARD__LOG__LEVEL: log.level: \"loud\" is none of error"), "{problems:?}");
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let file = "\
[server]
lisen = [\"127.0.0.1:1\"]
workers = \"many\"
trusted_proxies = [\"10.0.0.0/8\", \"ten\", \"192.0.2.0/24\", \"eleven\"]

[server.timeouts]
idle = \"soon\"
header = 10

[server.limits]
header_bytes = \"lots\"
streams = -1

[gateway]
account_mismatch = \"notfound\"
listen = \"x\"

[keys]
prefix = \"KW-\"

[servr]
x = 1

[services.api]
ulr = \"http://127.0.0.1:3000\"
connect = \"fast\"

[[routes]]
path = \"/a\"
service = \"api\"

[[routes]]
path = \"/b\"
service = \"api\"
account = { pth = \"account\" }
permission = \"no spaces\"
";
    let problems =
        Case::file(file).variable("KEYWARD__STORE__READERS", "few").flag("--admin", "admin.listen", "nine").problems();
    assert_told(
        &problems,
        &[
            ("keyward.toml:2:1: server.lisen: ", "did you mean `listen`?"),
            ("keyward.toml:3:1: server.workers: ", "expected a number from 0, found \"many\""),
            ("keyward.toml:4:34: server.trusted_proxies.1: ", "\"ten\" is not a network"),
            ("keyward.toml:4:57: server.trusted_proxies.3: ", "\"eleven\" is not a network"),
            ("keyward.toml:7:1: server.timeouts.idle: ", "\"soon\" is not a duration: write a number and a unit"),
            ("keyward.toml:8:1: server.timeouts.header: ", "expected text in quotes, such as \"10s\", found 10"),
            ("keyward.toml:11:1: server.limits.header_bytes: ", "\"lots\" is not a size"),
            ("keyward.toml:12:1: server.limits.streams: ", "expected a number from 0, found -1"),
            ("keyward.toml:15:1: gateway.account_mismatch: ", "did you mean \"not_found\"?"),
            ("keyward.toml:16:1: gateway.listen: ", "`listen` is a setting of [admin]"),
            ("keyward.toml:19:1: keys.prefix: ", "a prefix is lower-case"),
            ("keyward.toml:21:2: servr: ", "did you mean `server`?"),
            ("keyward.toml:25:1: services.api.ulr: ", "did you mean `url`?"),
            ("keyward.toml:26:1: services.api.connect: ", "\"fast\" is not a duration"),
            ("keyward.toml:35:13: routes.1.account.pth: ", "did you mean \"path\"?"),
            ("keyward.toml:36:1: routes.1.permission: ", "ids and permissions are"),
            ("KEYWARD__STORE__READERS: store.readers: ", "expected a number from 0, found \"few\""),
            ("--admin: admin.listen: ", "\"nine\" is not an address"),
        ],
    );
}

#[test]
fn ten_mistakes_of_ten_kinds_are_told_at_once() {
    let certificate = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (one, other) = (certificate("one.example"), certificate("other.example"));
    let file = "\
[server]
lisen = [\"127.0.0.1:8080\"]
workers = \"many\"
tls_listen = [\"127.0.0.1:8443\", \"127.0.0.1:8080\"]

[[server.certificates]]
chain_file = \"FOLDER/nowhere.pem\"
key_file = \"FOLDER/one.key\"

[[server.certificates]]
chain_file = \"FOLDER/one.pem\"
key_file = \"FOLDER/other.key\"

[[server.certificates]]
chain_file = \"FOLDER/one.pem\"

[server.timeouts]
idle = \"soon\"

[admin]
listen = \"0.0.0.0:9090\"

[services.api]
url = \"http://127.0.0.1:3000\"

[[routes]]
path = \"/jobs/**\"
service = \"apu\"

[[routes]]
path = \"/**\"
service = \"api\"

[[routes]]
path = \"/never\"
service = \"api\"
";
    let mut case = Case::file("");
    let folder = case.folder.path().to_owned();
    std::fs::write(folder.join("one.pem"), one.cert.pem()).unwrap();
    std::fs::write(folder.join("one.key"), one.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("other.key"), other.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("keyward.toml"), file.replace("FOLDER", &folder.display().to_string())).unwrap();
    case.said.file = Some(folder.join("keyward.toml"));
    assert_told(
        &case.problems(),
        &[
            ("keyward.toml:2:1: server.lisen: ", "did you mean `listen`?"),
            ("keyward.toml:3:1: server.workers: ", "expected a number"),
            ("keyward.toml:4:33: server.tls_listen.1: ", "used twice"),
            ("keyward.toml:7:1: server.certificates.0.chain_file: ", "cannot be read"),
            ("keyward.toml:12:1: server.certificates.1.key_file: ", "does not belong to the certificate"),
            ("keyward.toml:14:1: server.certificates.2.key_file: ", "is missing"),
            ("keyward.toml:18:1: server.timeouts.idle: ", "not a duration"),
            ("keyward.toml:21:1: admin.listen: ", "open to the network without TLS"),
            ("keyward.toml:28:1: routes.0.service: ", "there is no service \"apu\""),
            ("keyward.toml:35:1: routes.2.path: ", "can never be reached"),
        ],
    );
}

#[test]
fn store_and_pepper_are_checked_and_passwords_not_shown() {
    let file =
        format!("{SERVICE}[store]\nurl = \"mysql://paul:hunter2@db/keys\"\n[keys]\npepper_file = \"/nowhere\"\n");
    let problems = Case::file(&file).problems();
    assert_told(
        &problems,
        &[
            ("keyward.toml:4:1: store.url: ", "\"mysql://[redacted]@db/keys\" is no store"),
            ("keyward.toml:6:1: keys.pepper_file: ", "/nowhere: cannot be read"),
        ],
    );

    let problems = Case::file("services.api.url = \"echo\"\nlog.level = \"http://paul:hunter2@log\"\n").problems();
    assert_told(&problems, &[("keyward.toml:2:5: log.level: ", "\"http://[redacted]@log\" is none of error")]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pepper");
    std::fs::write(&path, "hunter2").unwrap();
    let file = format!("{SERVICE}[keys]\npepper_file = {:?}\n", path.display().to_string());
    let problems = Case::file(&file).problems();
    assert!(problems[0].contains("7 bytes are too few"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn what_is_wrong_with_a_shared_store_is_told_where_it_was_said() {
    let told = |lines: &str, expected: (&str, &str)| {
        let file = format!("{SERVICE}[store]\nurl = \"postgres://keyward@127.0.0.1/keyward\"\n{lines}\n");
        assert_told(&Case::file(&file).problems(), &[expected]);
    };
    let range = "one second at least, and an hour at most";
    told("fence = \"1ms\"\noutage = { stale_unsafe = \"5m\" }", ("keyward.toml:5:1: store.fence: ", range));
    told("fence = \"1ms\"", ("keyward.toml:5:1: store.fence: ", range));
    told("outage = { bridge = \"2h\" }", ("keyward.toml:5:1: store.outage: ", range));
    told("password_file = \"/nowhere\"", ("keyward.toml:5:1: store.password_file: ", "/nowhere: cannot be read"));
    for outage in ["\"bridge\"", "{ bridge = \"20s\", stale_unsafe = \"5m\" }", "{ bridge = \"soon\" }", "{}"] {
        told(&format!("outage = {outage}"), ("keyward.toml:5:1: store.outage: ", "not one of \"fail_closed\""));
    }
}

#[test]
fn a_signing_key_that_is_none_is_told_where_it_was_said() {
    let file = format!("{SERVICE}signing_key_id = \"a b\"\n[origin]\nsigning_key_file = \"/nowhere\"\n");
    assert_told(
        &Case::file(&file).problems(),
        &[
            ("keyward.toml:3:1: services.api.signing_key_id: ", "\"a b\" is no key id"),
            ("keyward.toml:5:1: origin.signing_key_file: ", "/nowhere: cannot be read"),
        ],
    );
}

#[test]
fn what_a_route_says_of_accounts_beyond_its_path_and_of_its_end_is_told_where_it_was_said() {
    let route = "[[routes]]\nservice = \"api\"\n";
    let file = format!(
        "{SERVICE}{route}path = \"/a/{{account}}\"\n\
         agree = [{{ query = \"x\" }}, {{ header = \"Host\" }}, {{ body = \"account\" }}]\n\
         filter = [\n{{ items = \"/data\" }},\n{{ own = \"/b\", counts = [] }},\n]\n\
         {route}path = \"/b\"\ndeprecated = \"2027-01-01T00:00:00Z\"\nsunset = \"2026-01-01T00:00:00Z\"\nsuccessor = \"b\"\n\
         {route}path = \"/c/{{account}}\"\nopen = true\nagree = [{{ query = \"x\" }}]\n\
         {route}path = \"/d/{{account}}\"\nreport = {{ account = {{ path = \"account\" }} }}\nagree = [{{ body = \"/x\" }}]\n"
    );
    assert_told(
        &Case::file(&file).problems(),
        &[
            ("keyward.toml:6:27: routes.0.agree.1: ", "\"Host\" is no header"),
            ("keyward.toml:6:48: routes.0.agree.2: ", "is no JSON pointer"),
            ("keyward.toml:8:1: routes.0.filter.0.account: ", "where in an item"),
            ("keyward.toml:9:15: routes.0.filter.1.counts: ", "belongs to `items`"),
            ("keyward.toml:15:1: routes.1.sunset: ", "before `deprecated`"),
            ("keyward.toml:16:1: routes.1.successor: ", "no path and no http"),
            ("keyward.toml:20:1: routes.2.open: ", "no account to `agree` with"),
            ("keyward.toml:26:1: routes.3.agree: ", "only reported"),
        ],
    );
    let file = format!("{SERVICE}{route}path = \"/a\"\ndeprecated = \"soon\"\n");
    assert_told(
        &Case::file(&file).problems(),
        &[("keyward.toml:6:1: routes.0.deprecated: ", "\"soon\" is not a moment in RFC 3339 form")],
    );
    let gone = Case::file("[[routes]]\npath = \"/old/**\"\ngone = true\n").settings();
    assert_eq!((gone.routes[0].gone, gone.services.len()), (Some(true), 0));
}

#[test]
fn where_nothing_is_to_be_forwarded_to_it_is_told() {
    assert_told(&Case::nothing().problems(), &[("default: services: ", "--upstream URL")]);
    let (_folder, read) = Case::nothing().read();
    assert!(read.resolve_store().is_ok());
}

#[test]
fn what_is_shown_is_toml_says_where_it_came_from_and_hides_passwords() {
    let file = "[services.\"a b\"]\nurl = \"http://paul:hunter2@127.0.0.1:3000\"\n";
    let (_folder, read) = Case::file(file).variable("KEYWARD__LOG__LEVEL", "debug").read();
    let text = read.to_toml();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("http://[redacted]@127.0.0.1:3000"), "{text}");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("level = ").ends_with("# KEYWARD__LOG__LEVEL"), "{text}");
    assert!(line("url = \"http").ends_with("keyward.toml:2:1"), "{text}");
    assert!(line("path = \"/**\"").ends_with("# implied"), "{text}");
    // It can be read again, and says the same.
    assert_eq!(Case::file(&text).settings().routes.len(), 1);

    let json = read.to_json();
    assert_eq!(json["settings"]["log"]["level"], "debug");
    assert_eq!(json["sources"]["log.level"], "KEYWARD__LOG__LEVEL");
    assert!(!json.to_string().contains("hunter2"));
}

#[test]
fn what_follows_from_a_wrong_member_of_a_list_is_not_told_as_well() {
    let problems =
        Case::file("[server]\nlisten = [\"localhost:80\"]\n[[routes]]\npath = \"/\"\nservice = \"api\"\n").problems();
    assert_told(
        &problems,
        &[
            ("keyward.toml:2:11: server.listen.0: ", "is not an address"),
            ("keyward.toml:5:1: routes.0.service: ", "no service \"api\": write [services.api] with a `url`"),
        ],
    );
}

#[test]
fn a_zero_that_would_let_nothing_through_is_a_mistake() {
    let text =
        "services.api.url = \"echo\"\nserver.limits.header_bytes = \"0\"\norigin.response_header_bytes = \"0\"\n";
    let problems = Case::file(text).problems();
    assert_told(
        &problems,
        &[
            ("keyward.toml:2:15: server.limits.header_bytes: ", "give at least 1"),
            ("keyward.toml:3:8: origin.response_header_bytes: ", "give at least 1"),
        ],
    );
}

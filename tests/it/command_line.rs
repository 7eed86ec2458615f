//! The binary as a person or a script uses it: what it prints, where, and with which exit code.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::keyward;

/// A folder with a store, and the command line over it; or with none, and the command line asks a keyward elsewhere.
struct Machine {
    folder: tempfile::TempDir,
    /// The admin listener's URL, and the operator key.
    elsewhere: Option<(String, RefCell<String>)>,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), elsewhere: None }
    }

    fn asking(url: String, operator: &str) -> Self {
        Self { elsewhere: Some((url, RefCell::new(operator.to_owned()))), ..Self::new() }
    }

    /// An operator key took the place of the one before.
    fn operator(&self, secret: &str) {
        if let Some((_, operator)) = &self.elsewhere {
            operator.replace(secret.to_owned());
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("keyward.db")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env_clear();
        match &self.elsewhere {
            None => command.env("KEYWARD__STORE__URL", format!("sqlite://{}", self.store().display())),
            Some((url, operator)) => {
                command.env("KEYWARD_ADMIN_URL", url).env("KEYWARD_OPERATOR_KEY", operator.borrow().as_str())
            }
        };
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What `line` prints; it has to succeed.
    fn says(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{line} --json"))).unwrap()
    }

    /// Exit code and message of `line`, which has to fail and print nothing else.
    fn fails(&self, line: &str) -> (Option<i32>, String) {
        let output = self.run(line);
        assert!(!output.status.success() && output.stdout.is_empty(), "{line}");
        (output.status.code(), stderr(&output))
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What has to work alike beside a running server, without one, and asking one elsewhere.
fn whole_life_of_a_key(machine: &Machine) {
    machine.says("account create 101");
    let minted = machine.run("key mint --account 101 --name ci --permission jobs:run --expires-in 30d");
    let secret = String::from_utf8(minted.stdout.clone()).unwrap();
    assert!(secret.starts_with("kw_live_") && secret.len() == 8 + 50 + 1 && secret.ends_with('\n'), "{minted:?}");
    assert!(stderr(&minted).contains("shown only now") && !stderr(&minted).contains(secret.trim()));

    let listed = machine.json("key list --account 101");
    let key = &listed["keys"][0];
    assert_eq!((text(&key["account"]), text(&key["kind"]), text(&key["state"])), ("101", "service", "active"));
    let id = text(&key["id"]).to_owned();
    let rotated = machine.json(&format!("key rotate {id}"));
    assert_eq!((text(&rotated["id"]), text(&rotated["account"])), (id.as_str(), "101"));
    assert!(text(&rotated["secret"]).starts_with("kw_live_") && text(&rotated["secret"]) != secret.trim());
    assert!(machine.json(&format!("key show {id}")).get("secret").is_none());

    assert_eq!(machine.json(&format!("key suspend {id}"))["state"], "suspended");
    assert_eq!(machine.json(&format!("key resume {id}"))["state"], "active");
    assert_eq!(machine.json("account suspend 101")["state"], "suspended");
    assert_eq!(machine.json("account resume 101")["state"], "active");
    assert_eq!(machine.json(&format!("key revoke {id}"))["state"], "revoked");
    let (code, said) = machine.fails(&format!("key rotate {id}"));
    assert_eq!(code, Some(1), "{said}");

    let personal = "key mint --account 101 --kind personal --user paul";
    let (code, said) = machine.fails(personal);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    machine.says("user create paul");
    machine.says("member add --account 101 --user paul --permission jobs:*");
    assert_eq!(machine.json("member list --account 101")["members"][0]["permissions"][0], "jobs:*");
    let minted = machine.json(&format!("{personal} --prefix uspl"));
    assert!(text(&minted["secret"]).starts_with("uspl_") && minted["kind"] == "personal");
    machine.says("member remove --account 101 --user paul");
    assert_eq!(machine.json("user list")["users"][0]["id"], "paul");

    machine.file("keys.csv", "account,secret,name\n101,a-key-of-old-times-1,one\n102,a-key-of-old-times-2,two\n");
    let imported = machine.json("import keys.csv");
    assert_eq!((&imported["keys"], &imported["accounts"]), (&2.into(), &1.into()));
    assert_eq!(machine.json("import keys.csv")["already"], 2);
    assert_eq!(machine.json("account list")["accounts"].as_array().unwrap().len(), 2);

    bringing_along(machine);

    let first = machine.json("operator reset");
    machine.operator(text(&first["secret"]));
    let second = machine.says("operator reset");
    machine.operator(second.trim());
    assert_eq!(machine.json(&format!("key show {}", text(&first["id"])))["state"], "revoked");
}

/// What an import would do is what it does; and what it did is not done again.
fn bringing_along(machine: &Machine) {
    machine.file("more.jsonl", "{\"secret\":\"a-key-of-old-times-1\",\"account\":\"101\"}\n{\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"account\":\"103\"}\n");
    machine.file("mixed.csv", "secret,account\na-key-of-old-times-1,102\nshort,101\na-key-of-old-times-3,101\n");
    let before = machine.says("export --format jsonl");

    let told = machine.json("import more.jsonl --dry-run");
    assert_eq!((&told["would_adopt"], &told["already"], &told["refused"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!((&told["accounts"], text(&told["entries"][0]["fate"])), (&1.into(), "already"));
    let output = machine.run("import mixed.csv --dry-run --json");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let fates: Vec<_> = told["entries"].as_array().unwrap().iter().map(|entry| text(&entry["fate"])).collect();
    assert_eq!(fates, ["refused", "refused", "adopt"], "{told}");
    assert!(text(&told["entries"][0]["why"][0]).contains("another owner's"), "{told}");
    assert!(text(&told["entries"][1]["why"][0]).contains("secret is not 16"), "{told}");
    assert!(!told.to_string().contains("old-times"), "{told}");
    assert_eq!(machine.says("export --format jsonl"), before, "a dry run changes nothing");

    assert_eq!(machine.json("import more.jsonl")["keys"], 1);
    let after = machine.says("export --format jsonl");
    assert_eq!(machine.json("import more.jsonl")["already"], 2);
    assert_eq!(machine.says("export --format jsonl"), after, "a second import changes nothing");
}

#[test]
fn a_key_lives_its_whole_life_without_a_server() {
    let machine = Machine::new();
    whole_life_of_a_key(&machine);
    assert!(!std::fs::exists(machine.folder.path().join("keyward.db.sock")).unwrap());
}

#[test]
fn a_key_lives_its_whole_life_beside_a_server() {
    let machine = Machine::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let store = machine.store();
    let (up, is_up) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || serve(&store, &up, stopped));
    is_up.recv().unwrap();
    whole_life_of_a_key(&machine);
    stop.send(()).unwrap();
    server.join().unwrap();
}

#[test]
fn a_key_lives_its_whole_life_at_a_keyward_elsewhere() {
    let keyward = keyward().upstream("echo").start();
    let operator = keyward.stderr.expect("kw_live_");
    let machine = Machine::asking(format!("http://{}", keyward.admin()), operator.trim());
    whole_life_of_a_key(&machine);
    machine.says("load --keys 2500 --accounts 7 --out loaded.csv");
    assert_eq!(machine.json("import loaded.csv")["already"], 2500);
    assert_eq!(machine.says("rehearsal --json"), "{\n  \"rows\": [],\n  \"more\": 0\n}\n");
    assert_eq!(machine.json("migrate report")["keys"].as_array().unwrap().len(), 0);
    assert!(!machine.store().exists(), "nothing is kept on the machine that asks");
    // What was done is in the audit log there, and as an operator's.
    let entries = machine.json("audit --action key.rotate --outcome done")["entries"].clone();
    assert_eq!((text(&entries[0]["who"]["type"]), text(&entries[0]["address"])), ("operator", "127.0.0.1"));
    for line in keyward.stderr.all().iter().filter(|line| line.contains("INFO") || line.contains("WARN")) {
        assert!(!line.contains("kw_live_"), "{line}");
    }
}

/// The part of a server that commands reach: the keyring, and the socket beside its store.
fn serve(store: &Path, up: &std::sync::mpsc::Sender<()>, stopped: tokio::sync::oneshot::Receiver<()>) {
    use ::keyward::{
        clock::Clock, config, key::Digester, keyring::Keyring, manage::socket, store::Access, store::Store,
    };

    let flag =
        config::Flag { name: "--store", key: "store.url", values: vec![format!("sqlite://{}", store.display())] };
    let settings = config::read(config::Said { flags: vec![flag], ..config::Said::default() }).unwrap().settings;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Store::open(&settings.store, Digester::default().mark(), Access::Create).unwrap();
        let handle = tokio::runtime::Handle::current();
        let keyring = Keyring::open(&settings.keyring, 1, opened, Digester::default(), Clock::System, handle);
        let keyring = std::sync::Arc::new(keyring.await.unwrap());
        let listener = socket::Listener::bind(&socket::path_beside(store)).unwrap();
        up.send(()).unwrap();
        let operator = std::sync::Arc::clone(&keyring);
        let operate = move |by, command, patience| {
            let keyring = std::sync::Arc::clone(&operator);
            async move { keyring.operate_within(&by, command, patience).await }
        };
        listener.serve(operate, async { drop(stopped.await) }).await;
        keyring.shutdown().await;
    });
}

#[test]
fn commands_at_the_same_time_wait_for_each_other() {
    let machine = Machine::new();
    machine.says("account create first");
    let running: Vec<_> = (0..8).map(|at| machine.command(&format!("account create {at}")).spawn().unwrap()).collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(machine.json("account list")["accounts"].as_array().unwrap().len(), 9);
}

#[test]
fn load_fills_a_store_and_writes_what_it_made_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;

    let machine = Machine::new();
    machine.says("load --keys 2500 --accounts 7 --out keys.csv");
    let path = machine.folder.path().join("keys.csv");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = std::fs::read_to_string(&path).unwrap();
    assert!(lines.starts_with("secret,account\nkw_live_"));
    assert_eq!(lines.lines().count(), 2501);
    assert_eq!(machine.json("account list")["accounts"].as_array().unwrap().len(), 7);
    assert_eq!(machine.json("import keys.csv")["already"], 2500);
    assert_eq!(machine.fails("load --keys 1 --accounts 1 --out keys.csv").0, Some(1));
}

#[test]
fn what_went_wrong_is_told_by_exit_code_and_sentence() {
    let machine = Machine::new();
    machine.file("wrong.toml", "[server]\nlisen = []\n[log]\nlevel = \"loud\"\n");
    machine.file("bad.csv", "secret,account\nshort,101\na-key-of-old-times-1,1/2\n");
    for (line, code, fragment) in [
        ("key frobnicate", 2, "unrecognized subcommand"),
        ("key mint --expires-in soon", 2, "not a duration"),
        ("serve --config nowhere.toml", 78, "nowhere.toml: cannot be read"),
        ("key list --config wrong.toml", 78, "2 problems"),
        ("key list --store mysql://paul:hunter2@db", 78, "[redacted]"),
        ("key list --store postgres://paul:hunter2@127.0.0.1:1/x", 1, "127.0.0.1:1/x cannot be reached"),
        ("key list --store postgres://paul:hunter2@db/x?sslmode=prefer", 78, "say require or disable"),
        ("key list", 1, "no store at"),
        ("account create a/b", 2, "ids and permissions are"),
        ("import bad.csv", 1, "line 2: secret is not"),
        ("import bad.csv", 1, "line 3: account is wrong"),
        ("health --admin 127.0.0.1:1", 1, "not ready"),
        ("health --admin nowhere", 78, "not an address"),
    ] {
        let (found, said) = machine.fails(line);
        assert_eq!(found, Some(code), "{line}: {said}");
        assert!(said.contains(fragment) && !said.contains("hunter2"), "{line}: {said}");
        assert!(!said.to_lowercase().contains("backtrace"), "{line}: {said}");
    }
}

#[test]
fn a_row_that_the_store_refuses_is_told_with_its_file() {
    let machine = Machine::new();
    machine.file("ours.csv", "secret,account\na-key-of-old-times-1,101\n");
    machine.file("theirs.csv", "secret,account\na-key-of-old-times-1,102\n");
    machine.says("import ours.csv");
    let (code, said) = machine.fails("import theirs.csv");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("theirs.csv: nothing was imported: line 2: the same secret is another"), "{said}");
    assert_eq!(machine.json("account list")["accounts"].as_array().unwrap().len(), 1);
}

#[test]
fn keys_of_kong_and_apisix_are_brought_along() {
    let machine = Machine::new();
    machine.file("kong.json", r#"{"consumers":[{"id":"1","username":"alice","custom_id":"101"}],"keyauth_credentials":[{"key":"a-key-of-old-times-1","consumer":"1","ttl":null}]}"#);
    machine.file(
        "apisix.yaml",
        "consumers:\n- username: jack\n  plugins:\n    key-auth:\n      key: a-key-of-old-times-2\n#END\n",
    );
    let told = machine.says("import apisix.yaml --dry-run");
    assert!(told.starts_with("consumers[0]: would be adopted, service key of account jack\n1 keys would be"), "{told}");
    assert!(!machine.store().exists(), "a dry run makes no store");
    assert_eq!(machine.json("import apisix.yaml")["keys"], 1);
    assert_eq!(machine.json("import kong.json --account-from custom_id")["keys"], 1);
    assert_eq!(machine.json("import kong.json --account-from custom_id")["already"], 1);
    let (code, said) = machine.fails("import kong.json");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keyauth_credentials[0]: the same secret is another owner's"), "{said}");
    let accounts: Vec<_> = machine.json("account list")["accounts"].as_array().unwrap().clone();
    assert_eq!(accounts.iter().map(|account| text(&account["id"])).collect::<Vec<_>>(), ["101", "jack"]);

    machine.file("keys.json", "{}");
    for (line, fragment) in [
        ("import keys.json", "give --format csv, jsonl, kong or apisix"),
        ("import keys.csv --account-from id", "--account-from is for kong and apisix"),
        ("import kong.json --account-from tag:", "give one of username"),
    ] {
        let (code, said) = machine.fails(line);
        assert_eq!(code, Some(2), "{line}: {said}");
        assert!(said.contains(fragment), "{line}: {said}");
    }
    let (code, said) = machine.fails("import kong.json --format apisix");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no key of the plugin key-auth"), "{said}");
}

#[test]
fn an_export_with_its_secrets_added_is_an_import() {
    let machine = Machine::new();
    machine.says("user create paul");
    machine.says("account create 101");
    machine.says("member add --account 101 --user paul --permission jobs:*");
    let minted = machine.json("key mint --account 101 --name ci,nightly --permission jobs:run --permission jobs:read --allow-ip 10.0.0.0/8 --expires-in 30d");
    let personal = machine.json("key mint --account 101 --kind personal --user paul");
    for what in ["keys", "accounts", "users", "members"] {
        for format in ["csv", "jsonl"] {
            let written = machine.says(&format!("export --what {what} --format {format}"));
            for key in [&minted, &personal] {
                assert!(!written.contains(text(&key["secret"])), "{written}");
            }
            assert!(written.contains("101") != (what == "users"), "{written}");
        }
    }

    let table = machine.says("export");
    let secrets = ["secret", text(&minted["secret"]), text(&personal["secret"])];
    let with = table.lines().zip(secrets).map(|(line, secret)| format!("{secret},{line}\n")).collect::<String>();
    let lines = machine.says("export --format jsonl");
    let other = Machine::new();
    other.file("keys.csv", &with);
    assert_eq!(other.json("import keys.csv")["keys"], 2);
    let again = other.says("export --format jsonl");
    let kept = |lines: &str| -> Vec<Value> {
        let read = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let all = read.map(|mut key| {
            for anew in ["id", "created_at"] {
                assert!(key.as_object_mut().unwrap().remove(anew).is_some(), "{anew}");
            }
            key
        });
        all.collect()
    };
    assert_eq!(kept(&again), kept(&lines));

    machine.says(&format!("key suspend {}", text(&minted["id"])));
    let table = machine.says("export");
    let with = table.lines().zip(secrets).map(|(line, secret)| format!("{secret},{line}\n")).collect::<String>();
    other.file("keys.csv", &with);
    let (_, said) = other.fails("import keys.csv");
    assert!(said.contains("line 2: state is not active"), "{said}");
}

#[test]
fn a_store_that_cannot_be_looked_at_is_not_called_missing() {
    let machine = Machine::new();
    std::os::unix::fs::symlink("loop", machine.folder.path().join("loop")).unwrap();
    for url in ["sqlite://loop", "sqlite://loop/keyward.db"] {
        let (code, said) = machine.fails(&format!("key list --store {url}"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("loop cannot be opened: see that the user"), "{said}");
    }
}

#[test]
fn a_span_beyond_all_time_is_as_long_as_there_is_time() {
    let machine = Machine::new();
    machine.says("account create 101");
    machine.says("key mint --account 101 --expires-in 9999999999d");
    assert_eq!(machine.json("key list")["keys"][0]["expires_at"], "9999-12-30T22:00:00.000Z");
    for setting in ["KEYWARD__STORE__BUSY_TIMEOUT", "KEYWARD__KEYRING__UNKNOWN_FOR"] {
        let output = machine.command("account list").env(setting, "10000000y").output().unwrap();
        assert!(output.status.success(), "{setting}: {}", stderr(&output));
    }
}

#[test]
fn a_standard_error_that_takes_nothing_changes_no_outcome() {
    let machine = Machine::new();
    machine.says("account create 101");
    for (line, code) in [("key mint --account 101", 0), ("user list", 0), ("key show key_1", 1), ("serve", 78)] {
        let full = std::fs::File::create("/dev/full").unwrap();
        assert_eq!(machine.command(line).stderr(full).output().unwrap().status.code(), Some(code), "{line}");
    }
}

#[test]
fn validate_shows_what_would_be_used_or_everything_that_is_wrong() {
    let machine = Machine::new();
    machine.file("right.toml", "[services.api]\nurl = \"http://127.0.0.1:3000\"\n");
    machine.file("leaky.toml", "[services.api]\nurl = \"http://paul:hunter2@127.0.0.1:3000\"\n");
    machine.file("wrong.toml", "[services.api]\nulr = \"http://127.0.0.1:3000\"\n[log]\nlevel = \"loud\"\n");
    let shown = machine.says("validate --config right.toml");
    assert!(shown.contains("# right.toml:2:1") && shown.contains("# KEYWARD__STORE__URL"), "{shown}");
    let (_, said) = machine.fails("validate --config leaky.toml");
    assert!(said.contains("leaky.toml:2:1: services.api.url:") && !said.contains("hunter2"), "{said}");
    assert_eq!(machine.json("validate --config right.toml")["sources"]["services.api.url"], "right.toml:2:1");

    let (code, said) = machine.fails("validate --config wrong.toml");
    assert_eq!(code, Some(78));
    assert!(said.contains("  1. wrong.toml:2:1: services.api.ulr: no such setting; did you mean `url`?"), "{said}");
    assert!(said.contains("  2. wrong.toml:4:1: log.level: \"loud\" is none of"), "{said}");
    let output = machine.run("validate --config wrong.toml --json");
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems["problems"][1]["key"], "log.level");
}

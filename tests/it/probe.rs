//! `keyward probe staleness`, beside keywards that keep their promise and before a proxy that breaks it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::keyward::{Lines, binary};
use crate::support::page::{blocks, run};
use crate::support::postgres::Server;
use crate::support::{Keyward, Origin, Wire, eventually, keyward};

/// A keyward with an operator key, and the probe that asks it.
struct Scene {
    keyward: Keyward,
    operator: String,
}

impl Scene {
    fn new(config: &str) -> Self {
        let keyward = keyward().upstream("echo").config(config).start();
        let operator = keyward.stderr.expect("kw_live_").trim().to_owned();
        Self { keyward, operator }
    }

    fn probe(&self, replicas: &[&str], more: &[&str]) -> Command {
        let mut command = binary();
        command.args(["probe", "staleness", "--json", "--admin", &format!("http://{}", self.keyward.admin())]);
        command.args(replicas.iter().flat_map(|replica| ["--replica", replica]));
        command.args(more).env("KEYWARD_OPERATOR_KEY", &self.operator);
        command
    }

    fn url(&self) -> String {
        format!("http://{}", self.keyward.address())
    }

    /// The keys of probes, which are all dead.
    fn keys(&self) -> usize {
        let keys =
            self.keyward.json(&["key", "list", "--account", "keyward-probe"])["keys"].as_array().unwrap().clone();
        for key in &keys {
            assert_eq!(key["state"], "revoked", "{key}");
            assert!(key["name"].as_str().unwrap().starts_with("probe ") && key["expires_at"].is_string(), "{key}");
        }
        keys.len()
    }
}

/// Its exit code, and what it printed.
fn told(output: &Output) -> (Option<i32>, Value) {
    let value = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), value.unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// A proxy that remembers for so long which keys were good, as naive ones do.
#[allow(clippy::disallowed_methods, reason = "what is naive of it is how long it trusts its memory")]
fn naive(keyward: SocketAddr, memory: Duration) -> Origin {
    let good: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    Origin::scripted(move |line| {
        while let Some(head) = line.head() {
            let name = |line: &&str| line.to_ascii_lowercase().starts_with("authorization:");
            let key = head.lines().find(name).map(str::to_owned).unwrap_or_default();
            let age = |good: &HashMap<String, Instant>| good.get(&key).map(Instant::elapsed);
            // It asks now and then, and believes what it was told before.
            let known = age(&good.lock().unwrap());
            if known.is_none_or(|age| age > Duration::from_millis(50)) {
                let asked = Instant::now();
                let mut wire = Wire::connect(keyward);
                wire.send(&head);
                let answer = wire.answer("GET");
                if answer.status == 200 {
                    good.lock().unwrap().insert(key.clone(), asked);
                } else if known.is_none_or(|age| age > memory) {
                    let length = answer.body.len();
                    line.send(format!(
                        "HTTP/1.1 {} No\r\ncontent-length: {length}\r\n\r\n{}",
                        answer.status,
                        answer.text()
                    ));
                    continue;
                }
            }
            line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn a_keyward_that_keeps_its_promise_is_fresh_and_nothing_is_left_of_the_probe() {
    let scene = Scene::new("");
    let output = scene.probe(&[&scene.url()], &["--settle", "300ms"]).output().unwrap();
    let (code, run) = told(&output);
    let replica = &run["replicas"][0];
    assert_eq!((code, &run["result"], &replica["verdict"]), (Some(0), &"fresh".into(), &"fresh".into()), "{run}");
    assert!(run["receipt"]["complete"] == true && run["receipt_seconds"].as_f64().unwrap() > 0.0, "{run}");
    // Over each connection it was good more than once, and then no more.
    assert!(replica["accepted"].as_u64() >= Some(8) && replica["refused"].as_u64() >= Some(3), "{run}");
    assert!(replica["last_accepted_after_answer_seconds"].as_f64().unwrap() <= 0.0, "{run}");
    assert_eq!(scene.keys(), 1);
    // Where people read it.
    let mut plain = binary();
    plain.args([
        "probe",
        "staleness",
        "--admin",
        &format!("http://{}", scene.keyward.admin()),
        "--replica",
        &scene.url(),
    ]);
    // A span beyond all time is as long as there is time.
    plain.args(["--settle", "300ms", "--at-most", "9999999999d"]);
    let plain = plain.env("KEYWARD_OPERATOR_KEY", &scene.operator).output().unwrap();
    let (table, said) = (String::from_utf8_lossy(&plain.stdout), String::from_utf8_lossy(&plain.stderr));
    assert!(
        plain.status.success() && table.starts_with("REPLICA ") && table.contains("refused at once"),
        "{table}{said}"
    );
    assert!(said.contains("was revoked; the answer came after"), "{said}");
}

#[test]
fn a_proxy_that_remembers_for_two_seconds_is_found_out_with_its_figure() {
    let scene = Scene::new("");
    let proxy = naive(scene.keyward.address(), Duration::from_secs(2));
    let output = scene.probe(&[&scene.url(), &proxy.url()], &["--settle", "1s"]).output().unwrap();
    let (code, run) = told(&output);
    assert_eq!((code, &run["result"]), (Some(1), &"stale".into()), "{run}");
    let (honest, naive) = (&run["replicas"][0], &run["replicas"][1]);
    assert_eq!((&honest["verdict"], &honest["stale_seconds"]), (&"fresh".into(), &0.0.into()), "{run}");
    let stale = naive["stale_seconds"].as_f64().unwrap();
    // It can have learned nothing good after the answer, and believes it for two seconds.
    assert!(naive["verdict"] == "stale" && naive["ended"] == true && stale <= 2.0 && stale > 0.8, "{run}");
    assert!(naive["last_accepted_after_request_seconds"].as_f64().unwrap() > stale, "{run}");
    assert_eq!(scene.keys(), 1);
}

#[test]
fn replicas_on_one_postgresql_are_fresh_and_a_command_that_asks_none_of_them_says_so() {
    let database = Server::shared().database();
    let start = || {
        let fast = "[store]\nfence = \"1s\"\n";
        keyward().store(database.url()).upstream("echo").config(fast).start()
    };
    let first = start();
    let operator = first.stderr.expect("kw_live_").trim().to_owned();
    let (scene, second) = (Scene { keyward: first, operator }, start());
    let replicas = [scene.url(), format!("http://{}", second.address())];
    let output = scene.probe(&replicas.each_ref().map(String::as_str), &["--settle", "300ms"]).output().unwrap();
    let (code, run) = told(&output);
    assert_eq!((code, &run["result"]), (Some(0), &"fresh".into()), "{run}");
    assert_eq!(run["receipt"]["replicas"].as_array().unwrap().len(), 2, "{run}");
    // Every replica, from any machine, by any of them.
    let mut elsewhere = binary();
    elsewhere.args(["account", "suspend", "keyward-probe", "--admin", &format!("http://{}", second.admin())]);
    let asked = elsewhere.env("KEYWARD_OPERATOR_KEY", &scene.operator).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(
        asked.status.success() && said.contains("in force on 2 of 2 replicas") && !said.contains("directly"),
        "{said}"
    );
    let directly = second.run(&["account", "suspend", "keyward-probe"]);
    let said = String::from_utf8_lossy(&directly.stderr);
    assert!(
        said.starts_with("no running keyward was asked: committing directly; in force everywhere after at most "),
        "{said}"
    );
    assert!(directly.status.success() && said.contains(": in force on "), "{said}");
    // What only gives is waited for by nobody.
    let directly = second.run(&["account", "resume", "keyward-probe"]);
    assert!(directly.status.success() && directly.stderr.is_empty(), "{}", String::from_utf8_lossy(&directly.stderr));
}

#[test]
fn what_cannot_be_told_is_told_with_its_reason() {
    let scene = Scene::new("");
    let api = Origin::answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let here = scene.url();
    for (replicas, more, fragment) in [
        (vec!["http://127.0.0.1:1"], &[][..], "http://127.0.0.1:1: Connection refused"),
        (vec![&api.url()], &[], "401 Unauthorized in words that are not keyward's"),
        (vec![&here], &["--path", "//"], "who has no key is not refused there: give another --path"),
        (vec![&here], &["--account", "101"], "the probe's key could not be made: no account \"101\""),
        (
            vec![&here],
            &["--carrier", "header:X-Nobody-Reads"],
            "no replica accepted the key in 10s: refuses the key: API_KEY_REQUIRED",
        ),
    ] {
        let output = scene.probe(&replicas, more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{more:?}: {said}");
        assert!(said.starts_with("keyward: nothing was measured: ") && said.contains(fragment), "{more:?}: {said}");
    }
    // One that can be told of is, beside one that cannot.
    let (code, run) = told(&scene.probe(&["http://127.0.0.1:1", &here], &["--settle", "300ms"]).output().unwrap());
    assert_eq!((code, &run["result"]), (Some(2), &"unmeasured".into()), "{run}");
    let verdicts = [0, 1].map(|at| run["replicas"][at]["verdict"].as_str().unwrap().to_owned());
    assert_eq!(verdicts, ["unknown", "fresh"], "{run}");
    assert!(run["replicas"][0]["why"].as_str().unwrap().contains("Connection refused"), "{run}");
    assert_eq!(scene.keys(), 2);
}

#[test]
fn the_page_of_the_probe_does_what_it_shows() {
    let scene = Scene::new("");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/probe.md")).unwrap();
    let block = blocks(&text).into_iter().find(|block| block.kind == "console tested").unwrap();
    let (admin, clients) = (scene.keyward.admin().to_string(), scene.keyward.address().to_string());
    let proxy = naive(scene.keyward.address(), Duration::from_secs(2)).url();
    let places = [
        ("127.0.0.1:9090", admin.as_str()),
        ("127.0.0.1:8080", &clients),
        ("127.0.0.1:8000", proxy.trim_start_matches("http://")),
        ("$OPERATOR", &scene.operator),
    ];
    let here = places.iter().fold(block.text, |text, (shown, here)| {
        assert!(text.contains(shown), "the page does not say {shown}");
        text.replace(shown, here)
    });
    run(&here, scene.keyward.folder());
}

/// A probe that runs, and is gone when its test is.
struct Running(Child);

impl Running {
    fn stop(&mut self, signal: &str) -> Option<i32> {
        assert!(Command::new("kill").args(["-s", signal, &self.0.id().to_string()]).status().unwrap().success());
        let mut code = None;
        eventually("the probe ends", || {
            let ended = self.0.try_wait().unwrap();
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_probe_that_is_stopped_leaves_no_living_key() {
    let scene = Scene::new("");
    // A replica that takes the key and never lets it go; one that is never warm.
    let api = Origin::scripted(|line| {
        while let Some(head) = line.head() {
            let known = head.to_ascii_lowercase().contains("authorization: bearer");
            let body = "{\"type\":\"urn:keyward:problem:API_KEY_REQUIRED\",\"code\":\"API_KEY_REQUIRED\"}";
            let status = if known { "503 Service Unavailable" } else { "401 Unauthorized" };
            line.send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let forever = naive(scene.keyward.address(), Duration::from_secs(3600));
    for (replica, at) in [(api.url(), 1), (forever.url(), 2)] {
        let mut command = scene.probe(&[&replica], &[]);
        let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let listed = || scene.keyward.run(&["key", "list", "--account", "keyward-probe", "--json"]).stdout;
        let made = |keys: &Value| keys["keys"].as_array().is_some_and(|keys| keys.len() == at);
        let used =
            || scene.keyward.metric("keyward_http_requests_total{route=\"default\",method=\"GET\",code=\"200\"}") > 0;
        eventually("the probe's key is made", || serde_json::from_slice(&listed()).is_ok_and(|keys| made(&keys)));
        eventually("it is used", || at == 1 || used());
        assert_eq!(running.stop("INT"), Some(2));
        assert_eq!(scene.keys(), at);
    }
}

#[test]
fn a_probe_that_goes_on_serves_its_results_as_metrics_that_promtool_accepts() {
    let scene = Scene::new("");
    let more = ["--settle", "100ms", "--every", "1s", "--metrics", "127.0.0.1:0"];
    let mut command = scene.probe(&[&scene.url()], &more);
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let (stdout, stderr) = (Lines::of(running.0.stdout.take().unwrap()), Lines::of(running.0.stderr.take().unwrap()));
    let place = stderr.expect("Metrics are at http://");
    let address: SocketAddr =
        place.trim_start_matches("Metrics are at http://").trim_end_matches("/metrics").parse().unwrap();
    let scrape = || Wire::connect(address).ask("GET", "/metrics", &[]);
    let has = |line: &str| scrape().text().lines().any(|told| told == line);
    eventually("it has run twice", || has("keyward_probe_runs_total{result=\"fresh\"} 2"));
    let text = scrape().text();
    let stale = format!("keyward_probe_stale_seconds{{replica=\"{}\"}} 0.0", scene.url());
    assert!(has(&stale) && has("keyward_probe_runs_total{result=\"stale\"} 0"), "{text}");
    assert!(text.contains("keyward_probe_receipt_seconds_bucket{le=\"+Inf\"} "), "{text}");
    assert_eq!(Wire::connect(address).ask("GET", "/", &[]).status, 404);
    crate::admin::promtool_accepts(&text);
    assert_eq!(running.stop("TERM"), Some(0));
    let runs: Vec<Value> = stdout.all().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(runs.len() >= 2 && runs.iter().all(|run| run["result"] == "fresh"), "{runs:?}");
    assert!(scene.keys() >= 2);
}

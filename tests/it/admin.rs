//! The management face: probes, metrics, and that it has nothing to do with the clients' listeners.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::keyward::binary;
use crate::support::{Answer, Keyward, Wire, eventually, started};

fn ask(keyward: &Keyward, path: &str) -> Answer {
    Wire::connect(keyward.admin()).ask("GET", path, &[])
}

#[test]
fn it_is_alive_and_ready_and_says_why() {
    let (keyward, _origin, key) = started();
    assert_eq!(ask(&keyward, "/livez").status, 200);
    assert_eq!(ask(&keyward, "/readyz").status, 200);
    let verbose = ask(&keyward, "/readyz?verbose").text();
    assert!(verbose.contains("[+] store: ok") && verbose.contains("[+] serving: ok"), "{verbose}");
    assert_eq!(ask(&keyward, "/nothing").status, 404);
    // Not on the clients' listener: there it is a path like any other.
    assert_eq!(keyward.get("/readyz", &key.secret).text(), "ok");
    assert_eq!(keyward.wire().ask("GET", "/metrics", &[]).status, 401);
}

#[test]
fn health_asks_the_running_keyward() {
    let (mut keyward, _origin, _key) = started();
    let admin = keyward.admin().to_string();
    let healthy = binary().args(["health", "--admin", &admin]).output().unwrap();
    assert!(healthy.status.success(), "{healthy:?}");
    assert!(keyward.stop().success());
    let gone = binary().args(["health", "--admin", &admin]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

#[test]
fn metrics_tell_what_happened_in_names_that_promtool_accepts() {
    let (keyward, _origin, key) = started();
    eventually("all secrets are known", || keyward.metrics().contains("keyward_known_secrets_whole 1"));
    for _ in 0..3 {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    assert_eq!(keyward.get("/", "an-opaque-secret-that-nobody-has").status, 401);
    // A request is counted when its answer has left, a moment after the client has it.
    keyward.logged("/", 4);
    let metrics = keyward.metrics();
    for line in [
        "keyward_http_requests_total{route=\"default\",method=\"GET\",code=\"200\"} 3",
        "keyward_http_requests_total{route=\"default\",method=\"GET\",code=\"401\"} 1",
        "keyward_auth_decisions_total{result=\"allowed\",reason=\"permitted\"} 3",
        "keyward_auth_decisions_total{result=\"refused\",reason=\"key_unknown\"} 1",
        "keyward_origin_connections_total{service=\"upstream\",result=\"opened\"} ",
        "keyward_key_cache_requests_total{result=\"live\"} 2",
        "keyward_key_cache_requests_total{result=\"unknown\"} 1",
        "keyward_key_cache_requests_total{result=\"miss\"} 1",
        // The first operator's, and this one.
        "keyward_known_secrets 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains(&key.id) && !metrics.contains("\"101\""), "a key or an account is a label");
    promtool_accepts(&metrics);
}

/// Has promtool check them.
pub(crate) fn promtool_accepts(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: run .ci/packages");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

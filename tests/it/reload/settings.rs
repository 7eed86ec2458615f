//! What a reload takes over, and what waits for a restart.

use super::{APPLIED, ASKED, UNCHANGED, WATCHED, hang_up, number, to, told, write};
use crate::support::{Origin, keyward};

#[test]
fn a_request_goes_where_the_settings_in_use_say_on_a_connection_that_was_open_before() {
    let (old, new) = (Origin::plain(), Origin::plain());
    let keyward = keyward().config(format!("{ASKED}{}", to(&old))).start();
    let mut wire = keyward.wire();
    assert_eq!(wire.ask("GET", "/a", &[]).status, 200);
    let started = number(&keyward, "keyward_config_last_reload_success_timestamp_seconds");
    write(
        &keyward,
        &format!("gateway.realm = \"other\"\n{ASKED}{}", to(&new)).replace("open = true\n", "name = \"keyed\"\n"),
    );
    // Nobody asked for it yet.
    assert_eq!(wire.ask("GET", "/a", &[]).status, 200);
    hang_up(&keyward, APPLIED, 1);
    let refused = wire.ask("GET", "/a", &[]);
    assert_eq!((refused.status, refused.all("www-authenticate")[0].contains("realm=\"other\"")), (401, true));
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    assert_eq!(wire.get("/a", &key.secret).status, 200);
    assert_eq!((old.seen().heads.len(), new.seen().heads.len()), (2, 1));
    // Nobody uses the connection to the old one any more.
    old.expect_ended(1);
    // What was counted before is not lost, and what is new counts too.
    for (route, count) in [("/**", 2.0), ("keyed", 1.0)] {
        let series = format!(r#"keyward_http_requests_total{{route="{route}",method="GET",code="200"}}"#);
        assert_eq!(number(&keyward, &series), count, "{route}");
    }
    assert_eq!(number(&keyward, r#"keyward_config_reloads_total{result="applied"}"#), 1.0);
    assert_eq!(number(&keyward, "keyward_config_last_reload_successful"), 1.0);
    assert!(number(&keyward, "keyward_config_last_reload_success_timestamp_seconds") >= started);
    let line = keyward.stderr.expect(APPLIED);
    assert!(line.contains(r#"changed="gateway.realm, services.api, routes""#), "{line}");
}

#[test]
fn connections_to_a_service_that_did_not_change_are_kept() {
    let (same, other) = (Origin::plain(), Origin::plain());
    let config = |url: String| {
        format!(
            "{ASKED}[services.same]\nurl = \"{}\"\n[services.other]\nurl = \"{url}\"\n[[routes]]\npath = \"/same\"\n\
             service = \"same\"\nopen = true\n[[routes]]\npath = \"/other\"\nservice = \"other\"\nopen = true\n",
            same.url()
        )
    };
    // One worker, so that there is one connection to each.
    let keyward = keyward().variable("KEYWARD__SERVER__WORKERS", "1").config(config(other.url())).start();
    let mut wire = keyward.wire();
    assert_eq!((wire.ask("GET", "/same", &[]).status, wire.ask("GET", "/other", &[]).status), (200, 200));
    let new = Origin::plain();
    write(&keyward, &config(new.url()));
    hang_up(&keyward, APPLIED, 1);
    assert_eq!((wire.ask("GET", "/same", &[]).status, wire.ask("GET", "/other", &[]).status), (200, 200));
    other.expect_ended(1);
    let seen = same.seen();
    assert_eq!((seen.heads.len(), seen.connections, seen.ended), (2, 1, 0));
    assert_eq!(new.seen().heads.len(), 1);
}

#[test]
fn a_request_in_flight_ends_as_it_began() {
    let (go_on, asked) = std::sync::mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let origin = Origin::scripted(move |line| {
        while line.request().is_some() {
            asked.lock().unwrap().recv().unwrap();
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    let mut wire = keyward.wire();
    wire.send("GET /begun HTTP/1.1\r\nHost: a\r\n\r\n");
    crate::support::eventually("the origin has the request", || !origin.seen().heads.is_empty());
    let other = Origin::answering("HTTP/1.1 203 Other\r\nContent-Length: 0\r\n\r\n");
    write(&keyward, &format!("{ASKED}{}", to(&other).replace("/**", "/elsewhere")));
    hang_up(&keyward, APPLIED, 1);
    go_on.send(()).unwrap();
    assert_eq!(wire.answer("GET").text(), "ok");
    assert_eq!(wire.ask("GET", "/elsewhere", &[]).status, 203);
    assert_eq!(keyward.logged("/begun", 1)[0]["route"], "/**");
    // Its connection is of no use to anybody now.
    origin.expect_ended(1);
}

#[test]
fn where_nothing_changed_that_is_said() {
    let origin = Origin::plain();
    let config = format!("{ASKED}{}", to(&origin));
    let keyward = keyward().config(config.clone()).start();
    hang_up(&keyward, UNCHANGED, 1);
    write(&keyward, &format!("# No setting.\n{config}"));
    hang_up(&keyward, UNCHANGED, 2);
    assert_eq!(number(&keyward, r#"keyward_config_reloads_total{result="unchanged"}"#), 2.0);
    assert!(!keyward.stderr.all().iter().any(|line| line.contains(APPLIED)));
}

#[test]
fn what_waits_for_a_restart_is_named_and_the_rest_holds() {
    let origin = Origin::plain();
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    let waiting = "server.workers = 7\nstore.readers = 9\nkeyring.live = 10\nlog.format = \"json\"\n";
    let more = "access_log.enabled = false\nserver.trusted_proxies = [\"127.0.0.0/8\"]\n";
    write(&keyward, &format!("{waiting}{more}{ASKED}{}", to(&origin)));
    hang_up(&keyward, APPLIED, 1);
    for key in ["server.workers", "store.readers", "keyring.live", "log.format"] {
        keyward.stderr.expect(&format!(r#"this setting waits for a restart key="{key}""#));
    }
    let chain = keyward.wire().ask("GET", "/unlogged", &[("X-Forwarded-For", "203.0.113.9")]);
    assert_eq!(chain.status, 200);
    assert_eq!(crate::support::origin::value(&origin.last(), "x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    write(&keyward, &format!("{waiting}access_log.query = true\n{ASKED}{}", to(&origin)));
    hang_up(&keyward, APPLIED, 2);
    assert_eq!(keyward.wire().ask("GET", "/logged?a=b", &[]).status, 200);
    assert_eq!(keyward.logged("/logged", 1)[0]["query"], "a=b");
    assert!(!keyward.stdout.all().iter().any(|line| line.contains("/unlogged")));
}

#[test]
fn who_may_send_a_proxy_header_is_taken_over_at_once_and_where_one_has_to_come_is_not() {
    let origin = Origin::plain();
    let config = |listen: &str, trusted: &str| {
        let server = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{listen}trusted_proxies = [\"{trusted}\"]\n");
        format!("{server}{ASKED}{}", to(&origin))
    };
    let listen = "proxy_protocol = [\"127.0.0.1:0\"]\n";
    let keyward = keyward().config(config(listen, "192.0.2.0/24")).start();
    assert!(keyward.wire().is_ended());
    write(&keyward, &config("", "127.0.0.0/8"));
    hang_up(&keyward, APPLIED, 1);
    keyward.stderr.expect(r#"this setting waits for a restart key="server.proxy_protocol""#);
    let mut wire = keyward.wire();
    wire.send("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n");
    assert_eq!(wire.ask("GET", "/", &[]).status, 200);
    assert_eq!(crate::support::origin::value(&origin.last(), "x-forwarded-for"), Some("192.0.2.7"));
    let mut wire = keyward.wire();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.is_closed_unanswered());
}

#[test]
fn limits_and_time_outs_hold_for_who_comes_and_for_who_is_idle() {
    let origin = Origin::plain();
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    let large = ("X-Large", "x".repeat(80 * 1024));
    let ask = || keyward.wire().ask("GET", "/", &[(large.0, &large.1)]).status;
    assert_eq!(ask(), 431);
    let mut idle = keyward.wire();
    assert_eq!(idle.ask("GET", "/", &[]).status, 200);
    let limits =
        "[server.limits]\nheader_bytes = \"128KiB\"\n[server.timeouts]\nidle = \"200ms\"\nwrite_stall = \"7s\"\n";
    write(&keyward, &format!("{ASKED}{}{limits}", to(&origin)));
    hang_up(&keyward, APPLIED, 1);
    assert_eq!(ask(), 200);
    assert!(idle.is_ended());
}

#[test]
fn the_log_tells_more_or_less_at_once() {
    let origin = Origin::plain();
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    write(&keyward, &format!("log.level = \"error\"\n{ASKED}{}", to(&origin)));
    keyward.signal("HUP");
    let applied = r#"keyward_config_reloads_total{result="applied"}"#;
    crate::support::eventually("the settings are reloaded", || number(&keyward, applied) == 1.0);
    assert!(!keyward.stderr.all().iter().any(|line| line.contains(APPLIED)));
    write(&keyward, &format!("log.level = \"info\"\n{ASKED}{}", to(&origin)));
    hang_up(&keyward, APPLIED, 1);
}

#[test]
fn the_built_in_origin_starts_when_a_reload_names_it() {
    let origin = Origin::plain();
    let keyward = keyward().config(format!("{ASKED}{}", to(&origin))).start();
    write(&keyward, &format!("{ASKED}{}", to(&origin).replace(&origin.url(), "echo")));
    hang_up(&keyward, APPLIED, 1);
    assert_eq!(keyward.wire().ask("GET", "/?status=203", &[]).status, 203);
}

#[test]
fn a_file_that_changes_is_reason_enough() {
    let (old, new) = (Origin::plain(), Origin::plain());
    let keyward = keyward().config(format!("{WATCHED}{}", to(&old))).start();
    write(&keyward, &format!("{WATCHED}{}", to(&new)));
    told(&keyward, APPLIED, 1);
    assert_eq!(keyward.wire().ask("GET", "/", &[]).status, 200);
    assert_eq!((old.seen().heads.len(), new.seen().heads.len()), (0, 1));
    // And written in its place, as `cp` does.
    std::fs::write(keyward.folder().join("keyward.toml"), format!("{WATCHED}{}", to(&old))).unwrap();
    told(&keyward, APPLIED, 2);
}

#[test]
fn a_change_that_the_system_does_not_tell_of_is_found_in_time() {
    let (old, new) = (Origin::plain(), Origin::plain());
    let setup = keyward();
    let (here, away) = (setup.folder().join("here"), setup.folder().join("away"));
    let polled = "[reload]\npoll = \"200ms\"\n";
    for (folder, origin) in [(&here, &old), (&away, &new)] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("keyward.toml"), format!("{polled}{}", to(origin))).unwrap();
    }
    let keyward = setup.variable("KEYWARD_CONFIG", here.join("keyward.toml").to_str().unwrap()).start();
    // The folder goes, and another takes its name: no entry of the folder under watch has changed.
    std::fs::rename(&here, here.with_extension("old")).unwrap();
    std::fs::rename(&away, &here).unwrap();
    told(&keyward, APPLIED, 1);
    assert_eq!(keyward.wire().ask("GET", "/", &[]).status, 200);
    assert_eq!(new.seen().heads.len(), 1);
}

//! Tunnels, by clients that nobody here wrote.

use std::time::Duration;

use super::now;
use crate::support::{eventually, keyward};
use crate::upgrades::clients::{both, waiting};
use crate::upgrades::{agreeing, open};

#[test]
fn a_websocket_of_a_key_that_ended_is_closed_with_1008_within_a_second() {
    let (keyward, first, root, _sockets) = both(false, "");
    let (plain, secure) =
        (format!("ws://{}", keyward.address()), format!("wss://localhost:{}", keyward.tls_address().port()));
    let key = |more: &[&str]| keyward.service_key("101", more);
    let cases = [
        ("websockets", format!("{plain}/echo"), vec!["key", "revoke"]),
        ("websockets", format!("{secure}/push"), vec!["key", "rotate"]),
        ("websocket-client", format!("{plain}/push"), vec!["key", "suspend"]),
        ("websocket-client", format!("{secure}/echo"), vec!["key", "revoke"]),
    ];
    let bystander = waiting("websockets", &format!("{plain}/push"), &first, &root);
    bystander.1.expect("open");
    let mut fastest = Duration::MAX;
    for (client, url, command) in cases {
        let key = key(&[]);
        let (mut child, said) = waiting(client, &url, &key, &root);
        said.expect("open");
        keyward.cli(&[&command[..], &[&key.id]].concat());
        let ended = now();
        said.expect("closed 1008 the API key is no longer accepted");
        fastest = fastest.min(now().since(ended));
        child.wait().unwrap();
    }
    // Of all of them, for a machine may be busy with something else now and then.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert_eq!(keyward.metric("keyward_open_cut_total{part=\"tunnel\"}"), 4);
    eventually("all are counted", || keyward.metric("keyward_tunnels_ended_total{reason=\"key_ended\"}") == 4);
    let lines = keyward.logged("/push", 2);
    assert!(lines.iter().all(|line| line["ended"] == "key_ended" && line["reason"] == "permitted"), "{lines:?}");
    // Whoever's key did not end goes on, until its account does.
    assert_eq!(keyward.metric("keyward_tunnels_open"), 1);
    keyward.cli(&["account", "suspend", "101"]);
    let (mut child, said) = bystander;
    said.expect("closed 1008");
    child.wait().unwrap();
}

#[test]
fn a_route_may_let_a_tunnel_finish_and_another_protocol_just_ends() {
    let origin = agreeing(|line| {
        while let [byte] = line.some(1)[..] {
            line.send([byte]);
        }
    });
    let tunnels = |on_key_end: &str| {
        let route = "[[routes]]\npath = \"/**\"\nservice = \"api\"\nupgrade = [\"websocket\", \"tcp\"]\n";
        let config = format!("[services.api]\nurl = \"{}\"\n{route}{on_key_end}", origin.url());
        let keyward = keyward().config(config).start();
        keyward.account("101");
        let key = keyward.service_key("101", &[]);
        (keyward, key)
    };
    let (keyward, key) = tunnels("on_key_end = \"finish\"\n");
    let mut client = open(&keyward, &key, "/");
    keyward.cli(&["key", "revoke", &key.id]);
    assert_eq!(keyward.get("/", &key.secret).status, 401);
    assert_eq!(keyward.metric("keyward_open_watched"), 0);
    client.send("!");
    assert_eq!(client.take(1), b"!");

    let (keyward, key) = tunnels("on_key_end = \"1s\"\n");
    let mut client = open(&keyward, &key, "/");
    let revoked = now();
    keyward.cli(&["key", "revoke", &key.id]);
    let told = client.rest();
    assert_eq!((told[0], &told[2..4]), (0x88, &1008_u16.to_be_bytes()[..]));
    assert!(now().since(revoked) >= Duration::from_secs(1));
}

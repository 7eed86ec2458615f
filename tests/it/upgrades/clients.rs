//! Clients and origins that nobody here wrote.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::keyward::Lines;
use crate::support::pki::Root;
use crate::support::python::{Server, python};
use crate::support::{Keyward, Minted, keyward};

/// A keyward with a plain and a TLS listener before an origin of WebSockets, which speaks TLS or not.
pub(crate) fn both(secure_origin: bool, more: &str) -> (Keyward, Minted, Root, Server) {
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["localhost"]);
    let text = |path: &Path| path.display().to_string();
    let (chain, private) = (text(&files.chain), text(&files.key));
    let tls = [("CHAIN", chain.as_str()), ("KEY", private.as_str())];
    let sockets = Server::start("websocket_server.py", if secure_origin { &tls } else { &[] });
    let service = if secure_origin {
        format!("url = \"https://localhost:{}\"\nca_file = {:?}", sockets.address.port(), root.file)
    } else {
        format!("url = \"{}\"", sockets.url())
    };
    let keyward = setup
        .config(format!(
            "{more}\n[server]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n[[server.certificates]]\n\
             chain_file = {chain:?}\nkey_file = {private:?}\n[services.api]\n{service}\n\
             [[routes]]\npath = \"/**\"\nservice = \"api\"\nupgrade = [\"websocket\"]\n"
        ))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key, root, sockets)
}

#[test]
fn websockets_and_websocket_client_work_unchanged_with_and_without_tls_on_either_side() {
    for secure_origin in [false, true] {
        let (keyward, key, root, _sockets) = both(secure_origin, "");
        let output = python()
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/websocket_clients.py"))
            .env("PLAIN", format!("ws://{}", keyward.address()))
            .env("SECURE", format!("wss://localhost:{}", keyward.tls_address().port()))
            .env("ROOT", &root.file)
            .env("SECRET", &key.secret)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "websockets ok\nwebsocket-client ok\n", "{}", String::from_utf8_lossy(&output.stderr));
        let lines = keyward.logged("/echo", 6);
        let sizes = lines.iter().filter(|line| line["status"] == 101).map(|line| line["received"].as_u64().unwrap());
        assert!(sizes.clone().count() == 4 && sizes.min().unwrap() > 3 << 20, "{lines:?}");
    }
}

#[test]
fn clients_are_told_by_a_close_frame_that_keyward_stops() {
    let (mut keyward, key, root, _sockets) = both(false, "gateway.tunnels.drain = \"0s\"");
    let (plain, secure) =
        (format!("ws://{}", keyward.address()), format!("wss://localhost:{}", keyward.tls_address().port()));
    let clients: Vec<_> = [("websockets", &plain), ("websockets", &secure), ("websocket-client", &secure)]
        .into_iter()
        // Of `/push` a frame is nearly always on its way.
        .flat_map(|(client, base)| {
            ["/echo", "/push"].map(|path| waiting(client, &format!("{base}{path}"), &key, &root))
        })
        .collect();
    clients.iter().for_each(|(_, said)| drop(said.expect("open")));
    keyward.signal("TERM");
    for (mut client, said) in clients {
        said.expect("closed 1001 going away");
        client.wait().unwrap();
    }
    assert_eq!(keyward.ended().code(), Some(0));
    keyward.stderr.expect("stopped connections.cut=0");
}

/// A client that listens, and what it says.
pub(crate) fn waiting(client: &str, url: &str, key: &Minted, root: &Root) -> (Child, Lines) {
    let mut child = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/websocket_wait.py"))
        .envs([("URL", url), ("SECRET", &key.secret), ("CLIENT", client)])
        .env("ROOT", &root.file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::of(child.stdout.take().unwrap());
    (child, said)
}

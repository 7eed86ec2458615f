//! Connections that go on as another protocol.

pub(crate) mod clients;
mod limits;
mod tunnel;

use crate::support::http::head;
use crate::support::origin::Line;
use crate::support::{Keyward, Minted, Origin, Wire, keyward};

/// The key of RFC 6455, 1.3, and its proof.
const ASKED: [(&str, &str); 3] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")];
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A keyward before this origin, where anything may become a WebSocket or `tcp`, and a key of account 101.
fn before(url: &str, more: &str) -> (Keyward, Minted) {
    let config = format!(
        "server.workers = 1\n{more}\n[services.api]\nurl = \"{url}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n\
         upgrade = [\"websocket\", \"tcp\"]\n"
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

/// An origin that agrees to a WebSocket, and then does this.
pub(crate) fn agreeing(then: impl Fn(&mut Line) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |line| {
        if line.head().is_some() {
            line.send(AGREED);
            then(line);
        }
    })
}

/// Asks for a WebSocket.
fn ask(keyward: &Keyward, key: &Minted, path: &str) -> Wire {
    let mut wire = keyward.wire();
    let token = format!("Token {}", key.secret);
    wire.send(head("GET", path, &[&ASKED[..], &[("Authorization", &token)]].concat()));
    wire
}

/// Asks for a WebSocket, and gets it.
pub(crate) fn open(keyward: &Keyward, key: &Minted, path: &str) -> Wire {
    let mut wire = ask(keyward, key, path);
    assert_eq!(wire.head().0, 101);
    wire
}

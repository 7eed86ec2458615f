//! Many replicas: a key that ends at one ends for what is open at the others, and at one that is cut off from the store by and by.

use super::{breaks_off, cut, events, now, silent, two_streams, upload, watched};
use crate::support::postgres::Server;
use crate::support::postgres::relay::Relay;
use crate::support::{Keyward, Minted, Origin, eventually, keyward};

#[test]
fn what_is_open_at_one_replica_is_cut_when_its_key_ends_at_another() {
    let (origin, database) = (silent(), Server::shared().database());
    let relay = Relay::to(Server::shared().address());
    let config = "gateway.stream_grace = \"3s\"\nstore.fence = \"2s\"\n";
    let start = |store: String| keyward().config(config).store(store).upstream(origin.url()).start();
    let (here, there) = (start(database.url()), start(database.url_by(relay.address())));
    here.account("101");
    let keys = [(); 2].map(|()| here.service_key("101", &[]));
    let streams = keys.each_ref().map(|key| {
        known(&there, key);
        super::stream(&there, key)
    });
    watched(&there, 2);
    let [first, second] = streams;
    here.cli(&["key", "revoke", &keys[0].id]);
    assert!(breaks_off(first));
    assert_eq!((cut(&there, "answer"), cut(&here, "answer")), (1, 0));
    // It cannot learn of the next one, and keeps what is open for its grace and no longer.
    relay.refuse(true);
    relay.cut();
    let silent = now();
    here.cli(&["key", "revoke", &keys[1].id]);
    assert!(breaks_off(second));
    assert!(now().since(silent) >= std::time::Duration::from_secs(2));
    there.stderr.expect("gateway.stream_grace");
}

#[test]
fn so_is_a_stream_over_http_2_and_an_upload() {
    let origin = Origin::scripted(|line| match line.head() {
        Some(head) if head.starts_with("POST") => line.until_ended(),
        _ => events(line),
    });
    let database = Server::shared().database();
    let start = || {
        let config = "[server]\nlisten = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\n";
        keyward().config(config).store(database.url()).upstream(origin.url()).start()
    };
    let (here, there) = (start(), start());
    here.account("101");
    let [ends, stays, sends] = [(); 3].map(|()| here.service_key("101", &[]));
    for key in [&ends, &stays, &sends] {
        known(&there, key);
    }
    let (mut client, said) = two_streams(&there, &ends, &stays);
    let mut upload = upload(&there, &sends);
    eventually("all are watched", || {
        upload.send("1\r\n.\r\n");
        there.metric("keyward_open_watched") == 3
    });
    here.cli(&["key", "revoke", &ends.id]);
    assert!(said.expect("first ended").contains("StreamReset"));
    said.expect("goes on");
    assert!(client.wait().unwrap().success());
    here.cli(&["key", "revoke", &sends.id]);
    assert!(upload.is_closed_unanswered());
    assert_eq!((cut(&there, "answer"), cut(&there, "upload")), (1, 1));
}

/// Waits until a replica knows a key: one that was made a moment ago may not be known there yet, and a refusal is no stream.
fn known(replica: &Keyward, key: &Minted) {
    let token = format!("Token {}", key.secret);
    eventually("the key is known there", || {
        replica.wire().ask("HEAD", "/", &[("Authorization", &token)]).status == 200
    });
}

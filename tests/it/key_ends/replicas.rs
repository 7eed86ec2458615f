//! Many replicas: a key that ends at one ends for what is open at the others, and at one that is cut off from the store by and by.

use super::{breaks_off, cut, now, silent, watched};
use crate::support::postgres::Server;
use crate::support::postgres::relay::Relay;
use crate::support::{eventually, keyward};

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
        // A key that was made a moment ago may not be known there yet, and a refusal is no stream.
        eventually("the key is known there", || {
            let token = format!("Token {}", key.secret);
            there.wire().ask("HEAD", "/", &[("Authorization", &token)]).status == 200
        });
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

//! What the tests stand on: a real keyward process, scripted origins, and clients that send exactly what they are told.
//!
//! Everything listens on a free port of 127.0.0.1 and ends with the test that made it.

pub(crate) mod disk;
pub(crate) mod draw;
pub(crate) mod http;
pub(crate) mod keyward;
pub(crate) mod load;
pub(crate) mod named;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod pki;
#[allow(dead_code, reason = "the unit tests of the store include it too, and each needs a part")]
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod replica;
pub(crate) mod tls;

use std::time::{Duration, Instant};

pub(crate) use disk::Disk;
pub(crate) use http::{Answer, Wire};
pub(crate) use keyward::{Keyward, Minted, keyward};
pub(crate) use origin::Origin;
pub(crate) use replica::Replica;

/// How long a condition may take on a loaded machine before it counts as not met.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A keyward in front of a plain origin, with one key of account 101.
pub(crate) fn started() -> (Keyward, Origin, Minted) {
    let origin = Origin::plain();
    let keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, origin, key)
}

/// Waits until `met` says so, and panics with `what` where it does not within [`PATIENCE`].
#[allow(clippy::disallowed_methods, reason = "a test's patience is real time")]
pub(crate) fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

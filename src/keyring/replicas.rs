//! Who serves from the store: this process.

use crate::clock::{Clock, Timestamp};
use crate::store::replica::ReplicaId;

/// This process, as a replica.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Its name, and no other's.
    pub(super) id: ReplicaId,
    /// The machine it runs on.
    pub(super) node: String,
    /// Its keyward.
    pub(super) version: String,
    /// When it began.
    pub(super) began: Timestamp,
}

impl Own {
    /// This process from now on.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new(clock: &Clock) -> Result<Self, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        Ok(Self {
            id: ReplicaId::of(random),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: clock.now(),
        })
    }
}

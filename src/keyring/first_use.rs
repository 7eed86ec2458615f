//! The first use of a secret that a rotation made: it ends what the rotation left open, and the request that is it does not
//! wait for that.
//!
//! Until it is written the secret is accepted as it stands, and each use tells of it again; one write at a time for a secret.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};

use super::{Caller, Keyring, Shared};
use crate::key::{Digest, KeyId, Verified};
use crate::secret::Secret;
use crate::store::Along;
use crate::store::audit::{Action, By, Note};

/// First uses that are being written.
#[derive(Debug, Default)]
pub(super) struct FirstUses {
    digests: Mutex<HashSet<Digest, RandomState>>,
    /// Held by each while it is written.
    writing: Arc<RwLock<()>>,
}

impl FirstUses {
    /// Waits until all that began is written, and keeps others from beginning until what this returns is dropped.
    pub(super) async fn written(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().await
    }

    /// A place for one more, unless it is being written or none may begin now.
    fn begin(&self, digest: Digest) -> Option<OwnedRwLockReadGuard<()>> {
        let place = Arc::clone(&self.writing).try_read_owned().ok()?;
        let mut digests = self.digests();
        (digests.len() < MOST && digests.insert(digest)).then_some(place)
    }

    fn end(&self, digest: &Digest) {
        self.digests().remove(digest);
    }

    fn digests(&self) -> MutexGuard<'_, HashSet<Digest, RandomState>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many are written at a time; the others tell of themselves again.
const MOST: usize = 1024;

impl Keyring {
    /// Notes that a key was used when it was judged, with this secret and by whom. Cheap, and never waits.
    pub fn used(&self, verified: &Verified, secret: &Secret, caller: &Caller<'_>) {
        self.shared.uses.note(verified.standing().serial, verified.at());
        self.shared.callers.note(verified, caller);
        if verified.standing().secret.awaits_use() {
            self.shared.first_used(verified.key().clone(), self.shared.digester.digest(secret));
        }
    }
}

impl Shared {
    fn first_used(self: &Arc<Self>, key: KeyId, digest: Digest) {
        let Some(place) = self.first_uses.begin(digest) else { return };
        let shared = Arc::clone(self);
        self.control.spawn(async move {
            let now = shared.clock.now();
            let note = Note::new(By::KEYWARD, now, Action::KeyFirstUse);
            let note = Note { key: Some(key), ..note };
            let store = shared.store.along(Along { note: Some(note), kept: None });
            let written = store.first_used(digest, now).await;
            if let Err(problem) = shared.settle(written, &mut None).await {
                tracing::warn!(error = %problem, "a first use after a rotation could not be written; the next one tells of it again");
            }
            shared.first_uses.end(&digest);
            drop(place);
        });
    }
}

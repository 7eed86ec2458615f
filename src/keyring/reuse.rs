//! Uses of a secret that a rotation retired: somebody still has it who should not, or was not told (WIRE.md, section 8, rule 9).
//!
//! What a request pays for it is one more digest and a place in a short-locked map, and only one whose secret is dead pays. The
//! store finds out whose it was when they are written, by interval; an hour's uses of a key are one entry of the audit log,
//! and one warning.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio_util::sync::CancellationToken;

use super::command::{By, Command, Problem, Who};
use super::config::OnReuse;
use super::follow::slept;
use super::{Denied, Keyring, Shared, audit};
use crate::key::{Digest, Invalid, KeyState, Presented, Refusal};
use crate::secret::Secret;
use crate::store::{Along, Rejected, Reuse};
use crate::telemetry::chain;

/// Uses gathered and not yet written.
#[derive(Debug, Default)]
pub(super) struct Reuses {
    by_secret: Mutex<HashMap<Digest, Reuse, RandomState>>,
    seen: AtomicU64,
    dropped: AtomicU64,
}

/// Most secrets gathered between two writes; uses of further ones are only counted.
const MOST: usize = 10_000;
/// However short the interval is set, the loop must not spin.
const SHORTEST: Duration = Duration::from_millis(50);

impl Reuses {
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn note(&self, reuse: Reuse) {
        let mut all = self.by_secret();
        let room = all.len() < MOST;
        if let Some(known) = all.get_mut(&reuse.secret) {
            known.count += reuse.count;
            known.first = known.first.min(reuse.first);
            // What could not be written comes back, and is the older one then.
            if reuse.last >= known.last {
                known.last = reuse.last;
                known.address = reuse.address;
            }
        } else if room {
            all.insert(reuse.secret, reuse);
        } else {
            self.dropped.fetch_add(reuse.count, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Vec<Reuse> {
        std::mem::take(&mut *self.by_secret()).into_values().collect()
    }

    fn by_secret(&self) -> MutexGuard<'_, HashMap<Digest, Reuse, RandomState>> {
        self.by_secret.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denied {
    /// Whether a secret was presented that a rotation has retired.
    #[must_use]
    pub const fn is_reuse(&self) -> bool {
        matches!(self, Self::Refused(Refusal::KeyInvalid(Invalid::Rotated)))
    }
}

impl Keyring {
    /// Notes that a dead secret was presented, where [`Self::verify`] has just said so ([`Denied::is_reuse`]). Never waits.
    #[cold]
    pub fn reused(&self, secret: &Secret, address: Option<IpAddr>) {
        let shared = &self.shared;
        shared.reuses.seen.fetch_add(1, Ordering::Relaxed);
        if shared.watch.load().on_reuse == OnReuse::Ignore {
            return;
        }
        let now = shared.clock.now();
        let secret = shared.digester.digest(secret);
        shared.reuses.note(Reuse { secret, count: 1, first: now, last: now, address });
    }

    /// Notes that a dead secret was presented to rotate or manage something, which no honest holder does; where
    /// `keys.on_reuse` says `revoke_family`, its key is revoked, with every secret it has.
    ///
    /// # Errors
    /// The key could not be revoked.
    pub async fn reused_to_manage(&self, secret: &Secret, address: IpAddr, request_id: &str) -> Result<(), Problem> {
        self.reused(secret, Some(address));
        let shared = &self.shared;
        if shared.watch.load().on_reuse != OnReuse::RevokeFamily {
            return Ok(());
        }
        let presented = shared.store.load(shared.digester.digest(secret)).await?.standing;
        let Some(standing) = presented else { return Ok(()) };
        // A secret whose grace is over is dead too; one that is still good is not.
        let now = shared.clock.now();
        let dead = match standing.secret {
            Presented::Retired => true,
            Presented::Grace(end) => end <= now,
            Presented::Pending(_) | Presented::Current | Presented::Fresh => false,
        };
        if !dead || standing.state == KeyState::Revoked {
            return Ok(());
        }
        tracing::warn!(key = %standing.id, client.address = %address, "a dead secret was presented to manage keys: its key is revoked");
        let by = By { who: Who::Keyward, address: Some(address), request_id: Some(request_id.into()) };
        let revoke = Command::SetKeyState(standing.id, KeyState::Revoked, None);
        let note = audit::note(&by, now, &revoke).map(|note| note.saying("because", "key.reuse"));
        self.carry_out(revoke, Along { note, kept: None }, now, &mut None).await.map(drop)
    }
}

impl Shared {
    /// Writes what was gathered, and warns of each key once an hour. What could not be written is gathered again.
    pub(super) async fn flush_reuses(&self) -> Result<(), Rejected> {
        let reuses = self.reuses.take();
        if reuses.is_empty() {
            return Ok(());
        }
        let written = self.store.note_reuses(reuses.clone()).await;
        let new = match written {
            Ok(new) => new,
            Err(error) => {
                reuses.into_iter().for_each(|reuse| self.reuses.note(reuse));
                return Err(error);
            }
        };
        for (key, address) in new {
            let address = address.map(tracing::field::display);
            tracing::warn!(%key, client.address = address, "a secret that was rotated away is still presented");
        }
        Ok(())
    }
}

/// Writes what was gathered every interval, until told to end.
pub(super) async fn flush(shared: Arc<Shared>, interval: Duration, end: CancellationToken) {
    while !slept(interval.max(SHORTEST), &end).await {
        if let Err(error) = shared.flush_reuses().await {
            tracing::warn!(error = chain(&error), "uses of dead secrets could not be written; kept for later");
        }
    }
}

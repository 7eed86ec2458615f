//! A request that may come again, because its answer was lost: the second time it is answered with what the first one made.
//!
//! ```text
//!  (credential, Idempotency-Key) --HKDF--> name     what the answer is found under
//!                                     '--> request  what was asked, so that another request is told apart
//!                                     '--> seal     the key that the answer is sealed under (AES-256-GCM)
//! ```
//!
//! All three are made of both, so whoever reads the store can neither open an answer nor tell whose it is, and no other
//! caller finds it. The sealed answer is committed with the change that it answers for: there is none without the other,
//! whatever stops in between.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::command::{By, Clash, Command, Problem};
use super::derive::{expand, root};
use super::receipt::Committed;
use super::{Keyring, Shared};
use crate::clock::Timestamp;
use crate::key::{KeyId, KeyState};
use crate::secret::Secret;
use crate::store::Kept;

/// A request under an `Idempotency-Key`, by whoever presented a credential.
pub struct Once {
    name: [u8; 32],
    request: [u8; 32],
    seal: Zeroizing<[u8; 32]>,
}

/// What a request made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key that was made or changed.
    pub key: KeyId,
    /// Its new secret, where it got one.
    pub secret: Option<Secret>,
    /// What was made in its place, with their secrets.
    pub instead: Vec<(KeyId, Secret)>,
    /// The log's position with it, once that is known.
    pub revision: Option<u64>,
}

impl Made {
    /// A key, with its new secret where it got one.
    #[must_use]
    pub const fn one(key: KeyId, secret: Option<Secret>) -> Self {
        Self { key, secret, instead: Vec::new(), revision: None }
    }
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// The request comes for the first time.
    First(Running),
    /// It was carried out before, and made this.
    Again(Made),
}

/// A request that is being carried out. Until this is dropped, the same one is told so.
pub struct Running {
    once: Once,
    shared: Arc<Shared>,
}

/// Names of requests that are being carried out.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashSet<[u8; 32]>>);

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

impl Once {
    /// The request whose parts (method, path, body) are these, by who presents `credential`, under the header's `key`.
    #[must_use]
    pub fn of(credential: &Secret, key: &str, request: &[&[u8]]) -> Self {
        let prk = root(b"keyward idempotency-key 1", &joined(&[credential.expose(), key.as_bytes()]));
        let (mut name, mut asked, mut seal) = ([0; 32], [0; 32], Zeroizing::new([0; 32]));
        expand(&prk, &[b"name"], &mut name);
        expand(&prk, &[b"request", &joined(request)], &mut asked);
        expand(&prk, &[b"seal"], &mut seal);
        Self { name, request: asked, seal }
    }

    fn key(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.seal).ok()
    }

    /// What is kept of an answer; none where the system gives no random bytes.
    fn sealed(&self, made: &Made, until: Timestamp) -> Option<Kept> {
        let secret = made.secret.as_ref().map_or(&[][..], Secret::expose);
        let instead = made.instead.iter().flat_map(|(key, secret)| [key.as_str().as_bytes(), secret.expose()]);
        let plain = joined(&[made.key.as_str().as_bytes(), secret].into_iter().chain(instead).collect::<Vec<_>>());
        // The room is taken at once, since a buffer that grows leaves copies behind.
        let mut text = Vec::with_capacity(plain.len() + NONCE_LEN + AES_256_GCM.tag_len());
        text.extend_from_slice(&plain);
        let nonce = self.key()?.seal_in_place_append_tag(Aad::from(self.name), &mut text).ok()?;
        text.extend_from_slice(nonce.as_ref());
        Some(Kept { name: self.name, request: self.request, sealed: text, until })
    }

    /// What a kept answer says; none where it was sealed by others.
    fn opened(&self, kept: &Kept) -> Option<Made> {
        let at = kept.sealed.len().checked_sub(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(&kept.sealed[at..]).ok()?;
        let mut text = Zeroizing::new(kept.sealed[..at].to_vec());
        let plain = self.key()?.open_in_place(nonce, Aad::from(self.name), &mut text).ok()?;
        let (key, secret, mut rest) = pair(plain)?;
        let mut made = Made::one(key, (!secret.is_empty()).then(|| Secret::new(secret)));
        while !rest.is_empty() {
            let (key, secret, left) = pair(rest)?;
            made.instead.push((key, Secret::new(secret)));
            rest = left;
        }
        Some(made)
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[once]")
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[running]")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.runs.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.once.name);
    }
}

impl Keyring {
    /// Whether a request comes for the first time.
    ///
    /// # Errors
    /// The same key came with another request, or with this one and that is still being carried out; or the store could not
    /// tell.
    pub async fn begin(&self, once: Once) -> Result<Turn, Problem> {
        // First the place, then the look: whoever ran before has committed by then.
        let free = self.shared.runs.0.lock().unwrap_or_else(PoisonError::into_inner).insert(once.name);
        if !free {
            return Err(Problem::Conflict(Clash::Running, "the request is still being carried out".to_owned()));
        }
        let running = Running { once, shared: Arc::clone(&self.shared) };
        match self.shared.answered(&running.once).await? {
            Some(made) => Ok(Turn::Again(made)),
            None => Ok(Turn::First(running)),
        }
    }

    /// Carries out a command, as [`Self::commit`] does; where it is done, whoever asks again is answered with `made`.
    ///
    /// # Errors
    /// As there.
    pub async fn commit_once(
        &self,
        by: &By,
        command: Command,
        running: Running,
        made: &Made,
    ) -> Result<Committed, Problem> {
        let until = self.shared.clock.now().plus(KEPT_FOR);
        let kept = running.once.sealed(made, until);
        let kept = kept.ok_or_else(|| Problem::Unavailable("the system gives no random bytes".to_owned()))?;
        self.commit_along(by, command, Some(kept)).await
    }

    /// What the holder's own rotation made that is asked for once more with the secret that it retired: the single case in which
    /// a dead secret is accepted (WIRE.md, section 8, rule 8). For `POST /v1/keys/self/rotate` alone, where
    /// [`Self::verify`] refused the secret as rotated away or it is superseded, and before [`Self::reused_to_manage`] is told.
    ///
    /// # Errors
    /// The key came with another request, or the store could not tell.
    pub async fn rotated_by(&self, secret: &Secret, once: &Once, client: IpAddr) -> Result<Option<Made>, Problem> {
        let shared = &self.shared;
        let Some(made) = shared.answered(once).await? else { return Ok(None) };
        let presented = shared.store.load(shared.digester.digest(secret)).await?.standing;
        // Of that very key, from where it may be used, and while it lives: what is revoked stays so to everybody.
        let own = presented.is_some_and(|key| {
            let from_there = key.allowed_ips.is_empty() || key.allowed_ips.iter().any(|net| net.contains(&client));
            key.id == made.key && key.state != KeyState::Revoked && from_there
        });
        Ok(Some(made).filter(|made| own && made.secret.is_some()))
    }
}

impl Shared {
    async fn answered(&self, once: &Once) -> Result<Option<Made>, Problem> {
        let Some((kept, revision)) = self.store.kept(once.name, self.clock.now()).await? else { return Ok(None) };
        if kept.request != once.request {
            let why = "this Idempotency-Key came with another request before".to_owned();
            return Err(Problem::Conflict(Clash::Reused, why));
        }
        let made = once.opened(&kept).map(|made| Made { revision: Some(revision), ..made });
        made.map(Some).ok_or_else(|| Problem::Unavailable("a kept answer cannot be opened".to_owned()))
    }
}

/// The parts, each behind its length, so that no two lists give the same bytes.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum()));
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

/// A key and a secret, the first two parts of what [`joined`] made, and the rest.
fn pair(bytes: &[u8]) -> Option<(KeyId, &[u8], &[u8])> {
    let (key, rest) = split(bytes)?;
    let (secret, rest) = split(rest)?;
    Some((std::str::from_utf8(key).ok()?.parse().ok()?, secret, rest))
}

/// The first part of what [`joined`] made, and the rest.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}

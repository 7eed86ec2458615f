//! Is the key behind this look-up alive now? The one place that mints [`Verified`].

use std::sync::Arc;
use std::time::Duration;

use super::digest::Digest;
use super::id::KeyId;
use super::record::{AccountState, KeyState, Kind, Presented, Standing};
use super::refusal::{Invalid, Refusal};
use crate::clock::Timestamp;

/// Proof that a key was alive when it was judged.
#[derive(Clone, Debug)]
pub struct Verified {
    standing: Arc<Standing>,
    digest: Digest,
    at: Timestamp,
    /// Of how many seconds ago what was judged is, where that is longer than it may be believed.
    stale: Option<u32>,
}

impl Verified {
    /// Names the key, for logs and the origin.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.standing.id
    }

    /// What was judged.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The same, to be judged again.
    #[must_use]
    pub fn shared_standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// What its secret is stored under, to be looked up again.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Until when the secret is good, where it was rotated away and is in grace.
    #[must_use]
    pub fn superseded_until(&self) -> Option<Timestamp> {
        match self.standing.secret {
            Presented::Grace(end) => Some(end),
            Presented::Current | Presented::Fresh | Presented::Pending(_) | Presented::Retired => None,
        }
    }

    /// When it was judged.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The same, of something that nobody could ask about for `age`: it may have been revoked since.
    #[must_use]
    pub fn of_old(self, age: Duration) -> Self {
        Self { stale: Some(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)), ..self }
    }

    /// How many seconds ago the store last told anything, where what was judged should not be believed for so long.
    #[must_use]
    pub const fn stale(&self) -> Option<u32> {
        self.stale
    }
}

/// Judges a key, found under this digest, at `now`.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn judge(standing: &Arc<Standing>, digest: &Digest, now: Timestamp) -> Result<Verified, Refusal> {
    alive(standing, now)?;
    Ok(Verified { standing: Arc::clone(standing), digest: *digest, at: now, stale: None })
}

/// Whether a key is alive at `now`.
#[must_use]
pub fn is_alive(standing: &Standing, now: Timestamp) -> bool {
    alive(standing, now).is_ok()
}

/// The order is the error catalogue's: revoked or rotated beats not yet valid, which beats expired, which beats suspended,
/// which beats the account.
fn alive(standing: &Standing, now: Timestamp) -> Result<(), Refusal> {
    if standing.state == KeyState::Revoked {
        return Err(Refusal::KeyInvalid(Invalid::Revoked));
    }
    match standing.secret {
        Presented::Current | Presented::Fresh => {}
        Presented::Grace(end) | Presented::Pending(end) if now < end => {}
        Presented::Grace(_) | Presented::Pending(_) | Presented::Retired => {
            return Err(Refusal::KeyInvalid(Invalid::Rotated));
        }
    }
    if standing.not_before.is_some_and(|start| now < start) {
        return Err(Refusal::KeyNotYetValid);
    }
    if standing.expires_at.is_some_and(|end| now >= end) {
        return Err(Refusal::KeyExpired);
    }
    if standing.state == KeyState::Suspended {
        return Err(Refusal::KeyDisabled);
    }
    if standing.account.as_ref().is_some_and(|(_, state)| *state == AccountState::Suspended) {
        return Err(Refusal::AccountSuspended);
    }
    if standing.kind == Kind::Personal && standing.memberships.is_empty() || !standing.licensed {
        return Err(Refusal::KeyInvalid(Invalid::NotAMember));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::key::record::Standing;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// A live service key of account 101 without permissions.
    pub(in crate::key) fn standing() -> Standing {
        Standing {
            id: "key_1".parse().unwrap(),
            serial: 1,
            kind: Kind::Service,
            state: KeyState::Active,
            secret: Presented::Current,
            number: 1,
            not_before: None,
            expires_at: None,
            account: Some(("101".parse().unwrap(), AccountState::Active)),
            user: None,
            memberships: Vec::new(),
            licensed: true,
            permissions: crate::key::Permissions::default(),
            allowed_ips: Vec::new(),
        }
    }

    fn verdict(change: impl FnOnce(&mut Standing)) -> Result<(), Refusal> {
        let mut standing = standing();
        change(&mut standing);
        alive(&standing, NOW)
    }

    #[test]
    fn a_live_key_is_verified() {
        assert_eq!(verdict(|_| ()), Ok(()));
    }

    #[test]
    fn expiry_begins_at_its_very_moment() {
        assert_eq!(verdict(|key| key.expires_at = Some(NOW)), Err(Refusal::KeyExpired));
        assert_eq!(verdict(|key| key.expires_at = Some(NOW.plus(Duration::from_millis(1)))), Ok(()));
        assert_eq!(verdict(|key| key.not_before = Some(NOW)), Ok(()));
        assert_eq!(
            verdict(|key| key.not_before = Some(NOW.plus(Duration::from_millis(1)))),
            Err(Refusal::KeyNotYetValid)
        );
    }

    #[test]
    fn the_first_reason_of_the_catalogue_wins() {
        // Everything is wrong at once; each step mends the reason just given.
        let mut key = standing();
        key.state = KeyState::Revoked;
        key.secret = Presented::Retired;
        key.not_before = Some(NOW.plus(Duration::from_secs(1)));
        key.expires_at = Some(NOW);
        key.account = Some(("101".parse().unwrap(), AccountState::Suspended));
        let refused = |key: &Standing| alive(key, NOW).unwrap_err();
        assert_eq!(refused(&key), Refusal::KeyInvalid(Invalid::Revoked));
        key.state = KeyState::Suspended;
        assert_eq!(refused(&key), Refusal::KeyInvalid(Invalid::Rotated));
        key.secret = Presented::Current;
        assert_eq!(refused(&key), Refusal::KeyNotYetValid);
        key.not_before = None;
        assert_eq!(refused(&key), Refusal::KeyExpired);
        key.expires_at = None;
        assert_eq!(refused(&key), Refusal::KeyDisabled);
        key.state = KeyState::Active;
        assert_eq!(refused(&key), Refusal::AccountSuspended);
    }

    #[test]
    fn rule_12_grace_and_patience_end_at_their_very_moment() {
        let next = NOW.plus(Duration::from_millis(1));
        for second in [Presented::Grace, Presented::Pending] {
            assert_eq!(verdict(|key| key.secret = second(next)), Ok(()));
            assert_eq!(verdict(|key| key.secret = second(NOW)), Err(Refusal::KeyInvalid(Invalid::Rotated)));
        }
    }

    #[test]
    fn a_personal_key_dies_with_its_membership() {
        assert_eq!(verdict(|key| key.kind = Kind::Personal), Err(Refusal::KeyInvalid(Invalid::NotAMember)));
    }

    #[test]
    fn a_user_without_the_licence_has_no_living_key() {
        assert_eq!(verdict(|key| key.licensed = false), Err(Refusal::KeyInvalid(Invalid::NotAMember)));
    }
}

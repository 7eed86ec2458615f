//! What is asked of keys on the wire: to be made, changed, rotated, judged.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::token::Prefix;
use crate::key::{AccountId, Edit, Imprint, KeyId, KeyState, Kind, Permission, Permissions, UserId};
use crate::keyring::command::{KeyChange, NewKey};
use crate::manage::caller::Caller;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mint {
    #[serde(default, deserialize_with = "given")]
    kind: Option<Kind>,
    #[serde(default, deserialize_with = "given")]
    account_id: Option<AccountId>,
    #[serde(default, deserialize_with = "given")]
    user_id: Option<UserId>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<Permission>,
    #[serde(default)]
    allowed_ips: Vec<IpNet>,
    #[serde(default, deserialize_with = "given")]
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    pub(super) prefix: Option<Prefix>,
}

impl Mint {
    /// The key, which begins at `now`. What a holder does not say is as their own is.
    pub(super) fn draft(self, id: KeyId, secret: Imprint, caller: &Caller, now: Timestamp) -> Result<NewKey, Problem> {
        let (usual, account, user) = match caller {
            Caller::Operator(_) => (Kind::Service, None, None),
            Caller::Holder(holder) if holder.user().is_none() => (Kind::Service, holder.account(), None),
            Caller::Holder(holder) => (Kind::Personal, holder.account(), holder.user()),
        };
        let kind = self.kind.unwrap_or(usual);
        let user = user.filter(|_| kind == Kind::Personal);
        let expires_at = expiry(self.expires_at.into(), self.expires_in, now)?.applied(None);
        Ok(NewKey {
            account: self.account_id.or_else(|| account.cloned()),
            user: self.user_id.or_else(|| user.cloned()),
            name: self.name,
            permissions: self.scopes.into(),
            allowed_ips: self.allowed_ips,
            not_before: self.not_before,
            expires_at,
            ..NewKey::bare(id, secret, kind)
        })
    }
}

/// Until when a key is accepted: a moment, null for ever, or so many seconds from `now`; nothing is said where both are left out.
fn expiry(at: Edit<Timestamp>, seconds: Option<u64>, now: Timestamp) -> Result<Edit<Timestamp>, Problem> {
    match (at, seconds) {
        (Edit::Set(_), Some(_)) => Err(Problem::member("/expires_in", "give this or expires_at")),
        (_, Some(seconds)) => Ok(Edit::Set(now.plus(Duration::from_secs(seconds)))),
        (at, None) => Ok(at),
    }
}

/// A member that is said: null takes it away.
pub(super) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Edit<T>, D::Error> {
    Option::deserialize(deserializer).map(Edit::from)
}

/// A member that is left out or says something: null would be read as either.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is to become of a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default, deserialize_with = "given")]
    status: Option<Switch>,
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    scopes: Option<Vec<Permission>>,
    #[serde(default, deserialize_with = "given")]
    allowed_ips: Option<Vec<IpNet>>,
    #[serde(default, deserialize_with = "said")]
    expires_at: Edit<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

impl Change {
    /// What it comes to at `now`.
    pub(super) fn change(self, now: Timestamp) -> Result<KeyChange, Problem> {
        let change = KeyChange {
            state: self.status.map(|status| match status {
                Switch::Active => KeyState::Active,
                Switch::Disabled => KeyState::Suspended,
            }),
            name: self.name,
            permissions: self.scopes.map(Permissions::from),
            allowed_ips: self.allowed_ips,
            expires_at: expiry(self.expires_at, self.expires_in, now)?,
        };
        if change == KeyChange::default() {
            return Err(Problem::detailed(Code::ValidationFailed, "Say what is to change."));
        }
        Ok(change)
    }
}

/// How to rotate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotate {
    #[serde(default)]
    mode: Way,
    #[serde(default, deserialize_with = "given")]
    grace_seconds: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    within_seconds: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    until_quiet_seconds: Option<u64>,
    #[serde(default)]
    supersede: bool,
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "said")]
    expires_at: Edit<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    pub(super) prefix: Option<Prefix>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    #[default]
    Immediate,
    Grace,
    FirstUse,
}

impl Rotate {
    /// Of a key that has had so many secrets, at `now`. An operator may say anything of its name and its end; a face for holders
    /// sees that they widen nothing before it comes here.
    pub(super) fn rotation(&self, generation: i64, now: Timestamp) -> Result<Rotation, Problem> {
        let grace = self.grace_seconds.map(Duration::from_secs);
        let mode = match (self.mode, grace, self.within_seconds) {
            (Way::Immediate, None, None) => Mode::Immediate,
            (Way::Grace, Some(grace), None) => Mode::Grace(grace),
            (Way::FirstUse, grace, within) => {
                let within = within.map_or(USUAL_PATIENCE, Duration::from_secs);
                Mode::FirstUse { within, grace: grace.unwrap_or_default() }
            }
            (Way::Grace, None, _) => return Err(Problem::member("/grace_seconds", "this mode needs it")),
            (Way::Immediate, Some(_), _) => return Err(Problem::member("/grace_seconds", "this mode has none")),
            (Way::Immediate | Way::Grace, _, Some(_)) => {
                return Err(Problem::member("/within_seconds", "only the mode first_use has it"));
            }
        };
        Ok(Rotation {
            mode,
            supersede: self.supersede,
            until_quiet: self.until_quiet_seconds.map(Duration::from_secs),
            generation: Some(generation),
            name: self.name.clone(),
            expires_at: expiry(self.expires_at, self.expires_in, now)?,
        })
    }
}

/// A new secret that is not used for so long is given up.
const USUAL_PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A secret to be judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    #[serde(deserialize_with = "secret")]
    pub(super) secret: Secret,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

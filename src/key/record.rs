//! The records: keys, the accounts and users they belong to, and what one look-up brings back of them.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::digest::sha256;
use super::id::{AccountId, KeyId, Permissions, UserId};
use super::line::Line;
use super::token::{Prefix, Shape, shape};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A closed set of words that stand in the store, on the wire and on the command line alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word of the set.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word, as stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::key::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::key::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::key::UnknownWord { what: $what, words: Self::WORDS }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

/// The text is none of a closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: give one of {}", words.join(", "))]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) words: &'static [&'static str],
}

words!(
    /// Whose key it is.
    Kind, "kind of key" {
        /// A user's legacy key: it reaches every account the user belongs to.
        User = "user",
        /// One user in one account; it may what the user may there, as of now.
        Personal = "personal",
        /// An account's own, with permissions of its own.
        Service = "service",
        /// Runs keyward; never forwarded to an origin.
        Operator = "operator",
    }
);

words!(
    /// What has been done to a key. Expiry is not among them: the clock decides it at every use.
    KeyState, "state of a key" {
        /// In use.
        Active = "active",
        /// Switched off; may be resumed.
        Suspended = "suspended",
        /// Ended for good.
        Revoked = "revoked",
    }
);

words!(
    /// What to say of a key at a moment: its [`KeyState`], and what the clock says.
    Status, "status of a key" {
        /// Accepted.
        Active = "active",
        /// Its time has not come.
        NotYetValid = "not_yet_valid",
        /// Switched off; may be resumed.
        Disabled = "disabled",
        /// Its time is over.
        Expired = "expired",
        /// Ended for good.
        Revoked = "revoked",
    }
);

words!(
    /// What one secret of a key is. At most two of them authenticate: the current one, and one that waits or is in grace.
    SecretState, "state of a secret" {
        /// Authenticates, and becomes the current one when it is first used.
        Pending = "pending",
        /// Authenticates.
        Current = "current",
        /// Rotated away, and still authenticates until a moment.
        Grace = "grace",
        /// Rotated away: known, and refused.
        Retired = "retired",
    }
);

words!(
    /// Whether an account is served.
    AccountState, "state of an account" {
        /// Served.
        Active = "active",
        /// Its keys are refused until it is resumed.
        Suspended = "suspended",
    }
);

/// An account: the boundary keys are held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The text the origin uses.
    pub id: AccountId,
    /// The same as a number, for dialects that speak in integers.
    pub serial: i64,
    /// What people call it.
    pub name: Option<Line>,
    /// Whether it is served.
    pub state: AccountState,
    /// When keyward met it.
    pub created_at: Timestamp,
}

/// A user, who may be a member of several accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The text the origin uses.
    pub id: UserId,
    /// The same as a number, for dialects that speak in integers.
    pub serial: i64,
    /// What people call them.
    pub name: Option<Line>,
    /// Where mail reaches them.
    pub email: Option<Line>,
    /// When keyward met them.
    pub created_at: Timestamp,
}

/// A user's place in an account, and what they may do there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Where.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// What they may do there; their personal keys inherit it live.
    pub permissions: Permissions,
    /// The licence they have there; the setting `keys.developer_licences` may ask for some.
    pub licence: Option<Line>,
}

/// A key's record, without its secret. Its id, account and permissions outlive every rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Names the record in commands, logs and headers.
    pub id: KeyId,
    /// The same as a number, for dialects that speak in integers.
    pub serial: i64,
    /// Whose key it is.
    pub kind: Kind,
    /// What has been done to it.
    pub state: KeyState,
    /// The account it is held to; none for user and operator keys.
    pub account: Option<AccountId>,
    /// The user behind a user or personal key.
    pub user: Option<UserId>,
    /// What its owner calls it; may be empty.
    pub name: String,
    /// The prefix of its current secret, where that has one.
    pub prefix: Option<Prefix>,
    /// The public twelve characters inside its current secret, where we minted it.
    pub kid: Option<String>,
    /// The last four characters of its current secret.
    pub hint: String,
    /// A service key's permissions; for user and personal keys an upper bound where not empty.
    pub permissions: Permissions,
    /// Client networks it may be used from; any where empty.
    pub allowed_ips: Vec<IpNet>,
    /// Not accepted before this moment.
    pub not_before: Option<Timestamp>,
    /// Not accepted from this moment on.
    pub expires_at: Option<Timestamp>,
    /// When it was minted or adopted.
    pub created_at: Timestamp,
    /// When its secret was last rotated.
    pub rotated_at: Option<Timestamp>,
    /// When it was last used, as far as flushed.
    pub last_used_at: Option<Timestamp>,
    /// How many secrets it has had.
    pub generation: i64,
    /// How often it was changed, and its secrets were.
    pub version: i64,
    /// The rotation that was begun last, unless it is over; see [`Key::rotation_at`].
    pub rotation: Option<Rotating>,
}

/// Enough of a key to tell later whether it was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its number.
    pub serial: i64,
    /// How often it had been changed.
    pub version: i64,
    /// What was to be said of it then; the clock alone may change that.
    pub status: Status,
    /// Whether a rotation ran; the clock alone may end it.
    pub rotating: bool,
}

/// A rotation that is not over: a second secret authenticates beside the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotating {
    /// What the second secret is: [`SecretState::Grace`], the old one, or [`SecretState::Pending`], the new one.
    pub state: SecretState,
    /// Its last four characters.
    pub hint: String,
    /// From then on it no longer authenticates.
    pub valid_until: Timestamp,
    /// When it was last used, as far as its callers are written.
    pub last_used_at: Option<Timestamp>,
    /// The old one ends sooner, once nobody has used it for so many seconds.
    pub until_quiet_seconds: Option<u64>,
}

impl Key {
    /// What to say of it at `now`: what was done to the key, or that its time is over.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> Status {
        match self.state {
            KeyState::Revoked => Status::Revoked,
            _ if self.expires_at.is_some_and(|end| now >= end) => Status::Expired,
            KeyState::Suspended => Status::Disabled,
            KeyState::Active if self.not_before.is_some_and(|start| now < start) => Status::NotYetValid,
            KeyState::Active => Status::Active,
        }
    }

    /// The state a person should read at `now`: [`Key::status_at`] in the command line's words.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> &'static str {
        match self.status_at(now) {
            Status::NotYetValid => "not yet valid",
            Status::Disabled => KeyState::Suspended.as_str(),
            status => status.as_str(),
        }
    }

    /// What whoever sees it at `now` has seen.
    #[must_use]
    pub fn seen_at(&self, now: Timestamp) -> Seen {
        let (status, rotating) = (self.status_at(now), self.rotation_at(now).is_some());
        Seen { serial: self.serial, version: self.version, status, rotating }
    }

    /// The rotation that is not over at `now`.
    #[must_use]
    pub fn rotation_at(&self, now: Timestamp) -> Option<&Rotating> {
        self.rotation.as_ref().filter(|rotation| self.state != KeyState::Revoked && now < rotation.valid_until)
    }
}

/// All that may be kept of a secret. The plain text cannot be had from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imprint {
    /// SHA-256 of the plain text; the store's digest is made from it.
    pub sha256: [u8; 32],
    /// What stands before the body of a secret of our shape.
    pub prefix: Option<Prefix>,
    /// The public twelve characters of a secret of our shape.
    pub kid: Option<String>,
    /// The last four characters.
    pub hint: String,
    /// Whether it has our shape but not our checksum, so that its prefix must be looked up from now on.
    pub foreign_checksum: bool,
}

impl Imprint {
    /// The imprint of `secret`, minted or foreign.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let text = String::from_utf8_lossy(secret.expose());
        let (prefix, kid, intact) = match shape(secret.expose()) {
            Shape::Ours { prefix, kid, intact } => (prefix.parse().ok(), Some(kid.to_owned()), intact),
            Shape::Foreign => (None, None, true),
        };
        let from_end = text.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        Self { sha256: sha256(secret), prefix, kid, hint: text[from_end..].to_owned(), foreign_checksum: !intact }
    }
}

impl fmt::Debug for Imprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imprint({:?}, …{})", self.prefix, self.hint)
    }
}

/// Everything the judge looks at, read in one snapshot of the store by one look-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The key's id.
    pub id: KeyId,
    /// The key's number in the store.
    pub serial: i64,
    /// Whose key it is.
    pub kind: Kind,
    /// What has been done to the key.
    pub state: KeyState,
    /// What the presented secret is to the key.
    pub secret: Presented,
    /// Which of the key's secrets that is, counted from 1.
    pub number: i64,
    /// Not accepted before.
    pub not_before: Option<Timestamp>,
    /// Not accepted from then on.
    pub expires_at: Option<Timestamp>,
    /// The account it is held to, and whether that is served.
    pub account: Option<(AccountId, AccountState)>,
    /// The user behind it.
    pub user: Option<UserId>,
    /// Where that user belongs: for a personal key at most the one account, for a user key all of them.
    pub memberships: Vec<(AccountId, AccountState, Permissions)>,
    /// Whether its user may hold keys: false where a licence is asked for and they have it nowhere.
    pub licensed: bool,
    /// The key's own permissions.
    pub permissions: Permissions,
    /// Client networks it may be used from; any where empty.
    pub allowed_ips: Vec<IpNet>,
}

/// What a presented secret is to its key: a [`SecretState`] and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presented {
    /// The one it has.
    Current,
    /// The one it has, which a rotation gave it and nobody has used yet.
    Fresh,
    /// The one it had, good until then.
    Grace(Timestamp),
    /// The one it gets when this is first used, if that is before then.
    Pending(Timestamp),
    /// Rotated away.
    Retired,
}

impl Presented {
    /// What it is at `now`.
    #[must_use]
    pub fn state_at(self, now: Timestamp) -> SecretState {
        match self {
            Self::Current | Self::Fresh => SecretState::Current,
            Self::Grace(until) if now < until => SecretState::Grace,
            Self::Pending(until) if now < until => SecretState::Pending,
            Self::Grace(_) | Self::Pending(_) | Self::Retired => SecretState::Retired,
        }
    }

    /// Whether its first accepted use is to be told: it ends what [`super::rotation`] leaves open until then.
    #[must_use]
    pub const fn awaits_use(self) -> bool {
        matches!(self, Self::Fresh | Self::Pending(_))
    }
}

//! Who uses which secret of a key: the words in which it is written and read, and the verbs that do so and act upon it.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::audit::Details;
use super::sql::{Db, callers, legacy, note, rotate};
use super::{Changed, Rejected, SecretDraft, Store, StoreError};
use crate::clock::Timestamp;
use crate::key::{AccountId, Key, KeyId, Kind, Permission, Permissions, SecretState};

/// What was seen of one kind of use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The key's number.
    pub key: i64,
    /// Which of its secrets was used, counted from 1.
    pub secret: i64,
    /// What is told of it.
    pub what: What,
}

/// What a use tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Who it was.
    Caller {
        /// The client's address.
        address: IpAddr,
        /// What it called itself; empty where it did not.
        agent: Box<str>,
        /// The route, by its name.
        route: Box<str>,
    },
    /// One more than there are places for.
    Others,
    /// In which account a user's key was used.
    Account(AccountId),
}

/// How often something was seen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// When first.
    pub first_seen: Timestamp,
    /// When last.
    pub last_seen: Timestamp,
}

impl Tally {
    /// Seen once, now.
    #[must_use]
    pub const fn once(now: Timestamp) -> Self {
        Self { count: 1, first_seen: now, last_seen: now }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first_seen: self.first_seen.min(other.first_seen),
            last_seen: self.last_seen.max(other.last_seen),
        }
    }
}

/// One secret that authenticates, and who uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Which of the key's secrets, counted from 1.
    pub number: i64,
    /// What it is to its key.
    pub state: SecretState,
    /// Its last four characters.
    pub hint: String,
    /// From then on it no longer authenticates, where it is pending or in grace.
    pub valid_until: Option<Timestamp>,
    /// Its callers, last seen first.
    pub callers: Vec<Caller>,
    /// Those for whom there was no place.
    pub more: Option<Tally>,
}

/// A rotation that was completed, and who had not left the old secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The key as it is now.
    pub key: Key,
    /// Who used the old secret while the rotation ran and not the new one since, last seen first.
    pub left: Vec<Caller>,
    /// Those of the old secret for whom there was no place.
    pub more: Option<Tally>,
}

/// A client that uses a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its address.
    pub address: IpAddr,
    /// What it called itself; empty where it did not.
    pub user_agent: String,
    /// The route, by its name.
    pub route: String,
    /// How often, and when.
    #[serde(flatten)]
    pub seen: Tally,
}

/// What was seen of one key of a user, whatever its state.
#[derive(Clone, Debug)]
pub struct LegacyUse {
    /// The key.
    pub key: Key,
    /// Who uses which of its secrets.
    pub secrets: Vec<SecretUse>,
    /// The accounts it was used in, last seen first.
    pub reached: Vec<(AccountId, Tally)>,
    /// The accounts its user is a member of.
    pub memberships: Vec<AccountId>,
}

/// What takes the place of a user's key: a key in each of these accounts. `S` is what is known of their secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replacement<S = SecretDraft> {
    /// The key that is replaced.
    pub key: KeyId,
    /// Personal or service.
    pub kind: Kind,
    /// Where, under which ids, and with which secrets.
    pub keys: Vec<(AccountId, KeyId, S)>,
    /// What they are called; as the old one is where left out.
    pub name: Option<String>,
    /// What they may do; the least that is known to do where left out.
    pub permissions: Option<Permissions>,
    /// From then on they are not accepted.
    pub expires_at: Option<Timestamp>,
    /// What becomes of the old one.
    pub old: Old,
}

/// What becomes of a key that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Old {
    /// It stays as it is.
    Stays,
    /// It expires then, if not sooner.
    Expires(Timestamp),
    /// It is revoked.
    Revoked,
}

/// A user's key, and what took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The new ones, in the order they were asked for.
    pub keys: Vec<Key>,
    /// The old one as it is now.
    pub old: Key,
}

impl Replaced {
    /// As the audit log says it.
    pub(super) fn details(&self) -> Details {
        let made: Vec<_> = self.keys.iter().map(|key| key.id.as_str()).collect();
        [("made".to_owned(), made.into())].into_iter().collect()
    }
}

impl Store {
    /// Notes who used which secret, at most `most` of each; all of it or nothing.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn record_callers(&self, seen: Vec<(Trace, Tally)>, most: usize) -> Result<(), Rejected> {
        self.backend.write_apart(move |db| callers::record(db, &seen, most)).await
    }

    /// The secrets of a key that authenticate at `now`, and at most `most` callers of each; none where there is no such key.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn callers(&self, id: KeyId, most: usize, now: Timestamp) -> Result<Option<Vec<SecretUse>>, StoreError> {
        self.backend.read(move |db| callers::of_key(db, &id, most, now)).await
    }

    /// What was seen of the keys of users that can still be used, with serials above `after`; at most `many`, oldest first, and
    /// at most `most` callers of a secret.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn legacy_uses(
        &self,
        after: i64,
        many: u32,
        most: usize,
        now: Timestamp,
    ) -> Result<Vec<LegacyUse>, StoreError> {
        self.backend.read(move |db| legacy::uses(db, after, many, most, now)).await
    }

    /// What was seen of one key; none where there is no such key.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn legacy_use(&self, id: KeyId, most: usize, now: Timestamp) -> Result<Option<LegacyUse>, StoreError> {
        self.backend.read(move |db| legacy::use_of(db, &id, most, now)).await
    }

    /// Mints what takes the place of a user's key, and ends that one as is asked for, all or nothing. `asked` is what the routes
    /// that it was seen on ask for, where that is known.
    ///
    /// # Errors
    /// There is no such key, it is no user's, it is revoked, it may do less, its user is no member of an account, or the store
    /// could not write.
    pub async fn replace(
        &self,
        replacement: Replacement,
        asked: Option<Vec<Permission>>,
        now: Timestamp,
    ) -> Result<Changed<Replaced>, Rejected> {
        let policy = Arc::clone(&self.policy);
        self.backend
            .change_telling(self.along.clone(), Replaced::details, move |db| {
                legacy::replace(db, &policy, replacement, asked.as_deref(), now)
            })
            .await
    }

    /// Forgets who used what.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn forget_callers(&self) -> Result<(), Rejected> {
        if self.backend.read(callers::any).await? {
            self.backend.write_apart(callers::forget).await?;
        }
        Ok(())
    }

    /// Retires every superseded secret that was quiet for as long as was asked for, as far as is known: up to `through`, and
    /// nothing before `known`. Whose secrets these were; none, without a change, where there is no such secret.
    ///
    /// # Errors
    /// The store could not tell or could not write.
    pub async fn retire_quiet(
        &self,
        known: Timestamp,
        through: Timestamp,
    ) -> Result<Option<Changed<Vec<KeyId>>>, Rejected> {
        if self.backend.read(move |db| rotate::quiet(db, known, through)).await?.is_empty() {
            return Ok(None);
        }
        let retire = move |db: &Db<'_>| {
            let keys = rotate::retire_quiet(db, known, through)?;
            note::retired(db, &keys, through)?;
            Ok(keys)
        };
        self.backend.write(retire).await.map(Some)
    }
}

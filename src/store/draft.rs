//! What goes into the store and what comes back: the words of the verbs.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::audit::{Details, Note};
use super::replica::Instance;
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{
    AccountId, AccountState, Digest, Edit, KeyId, KeyState, Kind, Line, Membership, Permissions, Standing, Status,
    UserId,
};

/// Whether a missing store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Make it.
    Create,
    /// Say that it is missing.
    Existing,
}

/// What one look-up brought back.
#[derive(Debug)]
pub struct Loaded {
    /// The log's position in the snapshot the look-up read: what committed up to here is in it, what came later is not.
    pub as_of: u64,
    /// The key behind the digest; none where no key has it.
    pub standing: Option<Standing>,
}

/// Where a chunk of keys begins: see [`Store::living`](super::Store::living).
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Of these keys,
    pub which: Which,
    /// those with a lower serial.
    pub below: i64,
}

/// Keys by their last use, as far as written.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// Used at this moment or later.
    UsedSince(Timestamp),
    /// All others.
    NotUsedSince(Timestamp),
}

impl Which {
    /// Where the first chunk of them begins.
    #[must_use]
    pub const fn first(self) -> Place {
        Place { which: self, below: i64::MAX }
    }
}

/// Keys read without being asked for.
#[derive(Debug)]
pub struct Chunk {
    /// The log's position in the snapshot they were read in.
    pub as_of: u64,
    /// Their current secrets' digests, and what a look-up would say of them.
    pub keys: Vec<(Digest, Standing)>,
    /// Where the next chunk begins; none where this is the last.
    pub next: Option<Place>,
}

/// A change that is committed.
#[derive(Debug)]
pub struct Changed<T> {
    /// The record as it is now.
    pub record: T,
    /// The log's position with this change in it.
    pub head: u64,
    /// Which database gave it out.
    pub instance: Instance,
}

/// What is written in the transaction of a change, beside the change itself.
#[derive(Clone, Debug, Default)]
pub struct Along {
    /// What the audit log says of it.
    pub note: Option<Note>,
    /// The answer for whoever asks for it again.
    pub kept: Option<Kept>,
}

/// An answer for whoever asks again. The store can read none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is found under.
    pub name: [u8; 32],
    /// What was asked.
    pub request: [u8; 32],
    /// What was answered.
    pub sealed: Vec<u8>,
    /// When it is forgotten.
    pub until: Timestamp,
}

/// Uses of a dead secret since the last were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// The secret, by its digest.
    pub secret: Digest,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// From where last, where that is known.
    pub address: Option<IpAddr>,
}

/// A key to be made: everything but its number in the store. `S` is what is known of its secret; the store gets the digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Draft<S = SecretDraft> {
    /// Names the record; random, made by who mints.
    pub id: KeyId,
    /// What is known of its secret.
    pub secret: S,
    /// Whose key it is.
    pub kind: Kind,
    /// The account it is held to. An adopted user key is held to none: its user becomes a member here.
    pub account: Option<AccountId>,
    /// The user behind it.
    pub user: Option<UserId>,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub permissions: Permissions,
    /// Client networks it may be used from.
    pub allowed_ips: Vec<IpNet>,
    /// Not accepted before.
    pub not_before: Option<Timestamp>,
    /// Not accepted from then on.
    pub expires_at: Option<Timestamp>,
    /// The licence of the membership that an import makes for it.
    pub licence: Option<Line>,
}

impl<S> Draft<S> {
    /// A key of which nothing else is said: no owner, name, permissions or bounds.
    #[must_use]
    pub fn bare(id: KeyId, secret: S, kind: Kind) -> Self {
        Self {
            id,
            secret,
            kind,
            account: None,
            user: None,
            name: String::new(),
            permissions: Permissions::default(),
            allowed_ips: Vec::new(),
            not_before: None,
            expires_at: None,
            licence: None,
        }
    }

    /// The same key, with `known` of its secret.
    #[must_use]
    pub fn knowing<T>(self, known: impl FnOnce(S) -> T) -> Draft<T> {
        let Self { id, secret, kind, account, user, name, permissions, allowed_ips, not_before, expires_at, licence } =
            self;
        let secret = known(secret);
        Draft { id, secret, kind, account, user, name, permissions, allowed_ips, not_before, expires_at, licence }
    }
}

/// What is kept of a secret.
#[derive(Clone, Debug)]
pub struct SecretDraft {
    /// What it is found under.
    pub digest: Digest,
    /// What stands before its body.
    pub prefix: Option<Prefix>,
    /// The public characters that name it.
    pub kid: Option<String>,
    /// Its last characters.
    pub hint: String,
    /// Whether its prefix must be looked up from now on, because its checksum is not ours.
    pub foreign_checksum: bool,
}

/// What is to become of a key; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// What is done to it.
    pub state: Option<KeyState>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it may do.
    pub permissions: Option<Permissions>,
    /// Client networks it may be used from.
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Not accepted from then on.
    pub expires_at: Edit<Timestamp>,
}

impl KeyChange {
    /// Only the state.
    #[must_use]
    pub fn state(state: KeyState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }
}

/// What is to become of an account; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// What people call it.
    pub name: Edit<Line>,
    /// Whether it is served.
    pub state: Option<AccountState>,
}

/// What is to become of a user; what is left out stays as it is. Of a new one nothing is there to stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// What people call them.
    pub name: Edit<Line>,
    /// Where mail reaches them.
    pub email: Edit<Line>,
}

/// A membership as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Where.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// What they may do there.
    pub permissions: Permissions,
    /// The licence they have there. Left out it stays, because keys may end with it.
    pub licence: Edit<Line>,
}

impl From<Membership> for MemberChange {
    fn from(Membership { account, user, permissions, licence }: Membership) -> Self {
        Self { account, user, permissions, licence: licence.into() }
    }
}

/// Some of a sorted list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slice<T> {
    /// What comes behind this one.
    pub after: Option<T>,
    /// At most so many.
    pub most: Option<u32>,
}

impl<T> Slice<T> {
    /// The whole list.
    pub const ALL: Self = Self { after: None, most: None };
}

/// Which memberships to show; all that match every given member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemberFilter {
    /// In this account.
    pub account: Option<AccountId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of users behind this one; within one account, that is the next page.
    pub after: Option<UserId>,
    /// At most so many of them.
    pub most: Option<u32>,
}

/// Which keys to show; all that match every given member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeyFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// That a person would say this of.
    pub status: Option<Status>,
    /// That are not revoked.
    #[serde(default)]
    pub unrevoked: bool,
    /// With serials above this one.
    pub after: Option<i64>,
    /// At most so many of them.
    pub most: Option<u32>,
}

/// What an import made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Keys adopted.
    pub keys: usize,
    /// Keys that were there already, with the same secret and owner; nothing was changed about them.
    pub already: usize,
    /// Accounts made on the way.
    pub accounts: usize,
    /// Users made on the way.
    pub users: usize,
}

impl Imported {
    /// As the audit log says it.
    pub(super) fn details(&self) -> Details {
        let Self { keys, already, accounts, users } = *self;
        let all = [("keys", keys), ("already", already), ("accounts", accounts), ("users", users)];
        all.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    }
}

/// What an import would do, as far as its rows tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What would become of each row, in their order.
    pub fates: Vec<Fate>,
    /// Accounts it would make on the way.
    pub accounts: usize,
    /// Users it would make on the way.
    pub users: usize,
}

/// What would become of one row of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It would be adopted.
    Adopted,
    /// Its key is there, with the same secret and owner.
    Already,
    /// It would be refused, and with it the whole import.
    Refused(String),
}

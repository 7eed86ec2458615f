//! What goes into the store and what comes back: the words of the verbs.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{AccountId, Digest, KeyId, Kind, Permissions, Standing, UserId};

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

/// A change that is committed.
#[derive(Debug)]
pub struct Changed<T> {
    /// The record as it is now.
    pub record: T,
    /// The log's position with this change in it.
    pub head: u64,
}

/// A key to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Names the record.
    pub id: KeyId,
    /// What is kept of its secret.
    pub secret: SecretDraft,
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

/// Which keys to show; all that match every given member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeyFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this kind.
    pub kind: Option<Kind>,
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

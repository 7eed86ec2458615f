//! What can be asked of the keyring, and what it answers. The command line, its socket and every dialect speak this.
//!
//! Randomness comes in with the command: who mints makes the secret, keeps its text, and hands over only the
//! [`Imprint`]. So no plain text passes through here, nor over the socket.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::key::rotation::Rotation;
use crate::key::{
    Account, AccountId, AccountState, Imprint, Key, KeyId, KeyState, Line, Membership, SecretState, Seen, User, UserId,
};

pub use super::migration::{Advice, Legacy, Seen as Used, SeenRoute};
pub use super::replicas::{Listed, Roster};
use crate::store::Draft;
pub use crate::store::audit::{AuditFilter, By, Entry, Who};
use crate::store::replica::ReplicaId;
pub use crate::store::{
    AccountChange, Caller, Clash, Completed, Fate, Imported, KeyChange, KeyFilter, MemberChange, MemberFilter, Old,
    Replaced, Replacement, SecretUse, Slice, Tally, Trial, UserChange,
};
use crate::telemetry::label::Rehearsed;

/// One thing to do or to show.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Makes an account under the text the origin uses for it.
    CreateAccount(AccountId, Option<Line>),
    /// Shows accounts.
    ListAccounts(Slice<AccountId>),
    /// Shows one account.
    ShowAccount(AccountId),
    /// Changes what an account is called, and whether it is served.
    ChangeAccount(AccountId, AccountChange),
    /// Suspends or resumes an account, and with it every key in it.
    SetAccountState(AccountId, AccountState),
    /// Makes a user.
    CreateUser(UserId, UserChange),
    /// Shows users.
    ListUsers(Slice<UserId>),
    /// Shows one user.
    ShowUser(UserId),
    /// Changes what a user is called, and where mail reaches them.
    ChangeUser(UserId, UserChange),
    /// Makes a user a member of an account, or changes what they may do there.
    AddMember(MemberChange),
    /// Shows memberships.
    ListMembers(MemberFilter),
    /// Ends a membership, and with it the user's personal keys there.
    RemoveMember(AccountId, UserId),
    /// Makes a key.
    MintKey(Box<NewKey>),
    /// Shows keys, without their secrets.
    ListKeys(KeyFilter),
    /// Shows one key.
    ShowKey(KeyId),
    /// Shows who uses which secret of a key.
    ShowCallers(KeyId),
    /// Gives a key another secret; what becomes of the one it had is in the rotation.
    RotateKey(KeyId, Imprint, Rotation),
    /// Ends a running rotation: the new secret is the only one from now on.
    CompleteRotation(KeyId),
    /// Takes a running rotation back, while nobody has used the new secret: the old one is the only one again.
    CancelRotation(KeyId),
    /// Suspends ([`KeyState::Suspended`]), resumes ([`KeyState::Active`]) or revokes a key; where something was seen of it, only
    /// while it is still one of these.
    SetKeyState(KeyId, KeyState, Option<Vec<Seen>>),
    /// Shows whose secret this is, whatever became of it.
    FindSecret(Imprint),
    /// Changes what else is said of a key, and its state with it; where something was seen of it, only while it is still one of
    /// these.
    ChangeKey(KeyId, Box<KeyChange>, Option<Vec<Seen>>),
    /// Adopts foreign keys, all or none, with accounts and users not met before.
    Import(Vec<NewKey>),
    /// Says what would become of every row of such an import, and changes nothing.
    TryImport(Vec<NewKey>),
    /// Shows the keys of users that can still be used, and what should take their place: those with serials above the first
    /// number, and at most as many as the second.
    ShowMigration(i64, u32),
    /// Mints what takes the place of a user's key, and ends that one as is asked for.
    ReplaceKey(Box<Replacement<Imprint>>),
    /// Revokes every operator key and makes this one, for who lost theirs.
    ResetOperator(Box<NewKey>),
    /// Shows who did what, the latest first.
    ListAudit(Box<AuditFilter>),
    /// Shows whom rules in report mode would have refused.
    ShowRehearsal,
    /// Shows it, and begins anew.
    ForgetRehearsal,
    /// Shows how far a position of the log has come, the last one where none is named, and waits for it as a change is waited for.
    ShowRevision(Option<u64>),
    /// Shows who serves from the store, and how far each has followed the log.
    ShowReplicas,
    /// Has nobody wait any longer for a replica that is dead.
    EvictReplica(ReplicaId),
}

/// A key to be made. Of its secret only the imprint is handed over.
pub type NewKey = Draft<Imprint>;

/// What a command brought about, or what it shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The account as it is now.
    Account(Account),
    /// Accounts, by id.
    Accounts(Vec<Account>),
    /// The user as they are now.
    User(User),
    /// Users, by id.
    Users(Vec<User>),
    /// The membership as it is now, or as it was before it ended.
    Member(Membership),
    /// Memberships, by account, then user.
    Members(Vec<Membership>),
    /// The key as it is now.
    Key(Box<Key>),
    /// Keys, oldest first.
    Keys(Vec<Key>),
    /// Whose the secret is; none where it is nobody's.
    Found(Option<Box<Found>>),
    /// The secrets of a key that authenticate, the newest first, and who uses them.
    Callers(Vec<SecretUse>),
    /// The key whose rotation was completed, and who had not left the old secret.
    Completed(Box<Completed>),
    /// Keys of users, oldest first.
    Migration(Vec<Legacy>),
    /// A user's key, and what took its place.
    Replaced(Box<Replaced>),
    /// What an import made.
    Imported(Imported),
    /// What an import would make.
    Tried(Trial),
    /// Who did what, the latest first.
    Audit(Vec<Entry>),
    /// Whom rules in report mode would have refused.
    Rehearsal(Rehearsal),
    /// A position that the log has reached.
    Revision(u64),
    /// Who serves from the store.
    Replicas(Roster),
    /// The replica that nobody waits for any longer, as it was.
    Evicted(Box<Listed>),
}

/// A secret that somebody has, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The key as it is now.
    pub key: Key,
    /// What the secret is to it.
    pub secret: SecretState,
}

impl Found {
    /// Whether somebody could use it, now or once the key is resumed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.key.state != KeyState::Revoked && self.secret != SecretState::Retired
    }
}

/// Whom rules in report mode would have refused, since keyward started or was told to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Who, last seen first.
    pub rows: Vec<WouldRefuse>,
    /// Requests of still others, for whom there was no row left.
    pub more: u64,
}

/// A key that a route would have refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldRefuse {
    /// The key.
    pub key: KeyId,
    /// The route, by its name.
    pub route: String,
    /// Why.
    pub reason: Rehearsed,
    /// How often.
    pub count: u64,
    /// When first.
    pub first_seen: Timestamp,
    /// When last.
    pub last_seen: Timestamp,
}

/// Why a command was not carried out. Nothing was changed, unless it says that this is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Nothing is called so.
    #[error("no {what} {id:?}")]
    NotFound {
        /// `account`, `user`, `member`, `key`, `revision` or `replica`.
        what: String,
        /// What was asked for.
        id: String,
    },
    /// Something is called so already.
    #[error("{what} {id:?} exists already")]
    Exists {
        /// `account`, `user` or `key`.
        what: String,
        /// What was to be made.
        id: String,
    },
    /// The command does not fit what is there, such as rotating a revoked key.
    #[error("{1}")]
    Conflict(Clash, String),
    /// The command does not make sense, such as a service key without an account.
    #[error("{0}")]
    Invalid(String),
    /// A span is longer than it may be: what is said of it, and how many seconds it may have.
    #[error("{0}")]
    TooLong(String, u64),
    /// A key would be accepted for longer than the policy allows: what is said of it, and how many seconds it may have.
    #[error("{0}")]
    ExpiryTooLong(String, u64),
    /// The holder has as many living keys as they may: what is said of it, and how many that is.
    #[error("{0}")]
    LimitReached(String, u32),
    /// We could not tell or could not write: our matter, not the caller's.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

impl Problem {
    /// A change is committed, and nobody can say that it is true everywhere: to who would take an answer for that.
    #[must_use]
    pub fn not_in_force() -> Self {
        Self::Unavailable("the change is committed, and not known to be in force everywhere".to_owned())
    }

    /// A change was committed, and the database that answers now does not have it.
    #[must_use]
    pub fn lost() -> Self {
        let why = "the database that answers now lost the change: look at what is there, and do it again";
        Self::Unavailable(why.to_owned())
    }
}

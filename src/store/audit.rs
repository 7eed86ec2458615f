//! The audit log: who did what to what, from where, when, and how it ended.
//!
//! ```text
//!  Command -> Note --(the change's own transaction)--> Entry
//! ```
//!
//! A change and its entry are committed together, or neither is. No secret is in an entry, no digest and no part of one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sql::{Db, answer, note};
use super::{Kept, Rejected, Reuse, Store, StoreError};
use crate::clock::Timestamp;
use crate::key::{AccountId, KeyId, UserId, words};

/// Who asks for a command, from where, and in which request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub who: Who,
    /// The address they ask from, where they ask over a network.
    pub address: Option<IpAddr>,
    /// The request they ask with, where it has a name.
    pub request_id: Option<Box<str>>,
}

/// Who asks for a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Who {
    /// keyward itself: what it does at its first start, and what follows from a use.
    Keyward,
    /// The command line on this machine.
    CommandLine {
        /// The user of the operating system, as the system tells it.
        uid: u32,
    },
    /// Whoever holds this operator key.
    Operator {
        /// The operator key.
        key: KeyId,
    },
    /// Whoever holds this key, about what is theirs.
    Holder {
        /// The key they presented.
        key: KeyId,
    },
    /// Whoever presented a secret that is dead.
    Stranger,
}

words! {
    /// What kind of caller.
    WhoKind, "kind of caller" {
        /// See [`Who::Keyward`].
        Keyward = "keyward",
        /// See [`Who::CommandLine`].
        CommandLine = "command_line",
        /// See [`Who::Operator`].
        Operator = "operator",
        /// See [`Who::Holder`].
        Holder = "holder",
        /// See [`Who::Stranger`].
        Stranger = "stranger",
    }
}

words! {
    /// What was done, or was to be done.
    Action, "action" {
        /// An account was made.
        AccountCreate = "account.create",
        /// An account was suspended, and with it every key in it.
        AccountSuspend = "account.suspend",
        /// An account was resumed.
        AccountResume = "account.resume",
        /// An account was changed in another way.
        AccountChange = "account.change",
        /// A user was made.
        UserCreate = "user.create",
        /// A user was changed.
        UserChange = "user.change",
        /// A user became a member of an account, or may do something else there.
        MemberPut = "member.put",
        /// A membership ended.
        MemberRemove = "member.remove",
        /// A key was made.
        KeyMint = "key.mint",
        /// A key got another secret.
        KeyRotate = "key.rotate",
        /// A secret that a rotation made was used for the first time.
        KeyFirstUse = "key.first_use",
        /// An old secret was retired because nobody had used it for as long as was asked for.
        KeyRetire = "key.retire",
        /// A rotation was completed.
        RotationComplete = "rotation.complete",
        /// A rotation was taken back.
        RotationCancel = "rotation.cancel",
        /// A key was suspended.
        KeySuspend = "key.suspend",
        /// A key was resumed.
        KeyResume = "key.resume",
        /// A key was changed in another way.
        KeyChange = "key.change",
        /// Keys were made that take the place of a user's key.
        KeyReplace = "key.replace",
        /// A key was revoked, by itself or with what it belonged to.
        KeyRevoke = "key.revoke",
        /// Keys were adopted.
        KeyImport = "key.import",
        /// Every operator key was revoked, and one made.
        OperatorReset = "operator.reset",
        /// A secret that is dead was presented.
        KeyReuse = "key.reuse",
        /// A secret was reported as found in the open.
        KeyLeak = "key.leak",
        /// A replica was told dead, so that nobody waits for it.
        ReplicaEvict = "replica.evict",
    }
}

words! {
    /// How it ended.
    Ending, "outcome" {
        /// It was done.
        Done = "done",
        /// It was refused, and nothing was changed.
        Refused = "refused",
    }
}

/// What else is to be said, by name.
pub type Details = Map<String, Value>;

/// What is to be noted of a change.
#[derive(Clone, Debug)]
pub struct Note {
    /// Who asks for it.
    pub by: By,
    /// When.
    pub at: Timestamp,
    /// What it is.
    pub action: Action,
    /// The key it is about. Where only this is given, the store adds whose the key is.
    pub key: Option<KeyId>,
    /// The account it is about.
    pub account: Option<AccountId>,
    /// The user it is about.
    pub user: Option<UserId>,
    /// What else is to be said.
    pub details: Details,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; it grows with time.
    pub seq: i64,
    /// When it happened, or happened first.
    pub at: Timestamp,
    /// When it happened last.
    pub last_at: Timestamp,
    /// How often, where what happens again and again has one line.
    pub count: u64,
    /// What was done, or was to be done.
    pub action: Action,
    /// How it ended.
    pub outcome: Ending,
    /// Who asked for it.
    #[serde(flatten)]
    pub by: By,
    /// The key it is about.
    pub key: Option<KeyId>,
    /// The account it is about, or that of its key.
    pub account: Option<AccountId>,
    /// The user it is about, or that of its key.
    pub user: Option<UserId>,
    /// What else is to be said.
    pub details: Details,
}

/// Which entries to show, the latest first; all that match every given member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditFilter {
    /// About this key.
    pub key: Option<KeyId>,
    /// About this account.
    pub account: Option<AccountId>,
    /// About this user.
    pub user: Option<UserId>,
    /// Of this action.
    pub action: Option<Action>,
    /// With this end.
    pub outcome: Option<Ending>,
    /// By this kind of caller.
    pub who: Option<WhoKind>,
    /// By who held this key.
    pub by_key: Option<KeyId>,
    /// At this moment or later.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// With a number below this one.
    pub before: Option<i64>,
    /// At most so many of them.
    pub most: Option<u32>,
}

impl By {
    /// keyward itself.
    pub const KEYWARD: Self = Self { who: Who::Keyward, address: None, request_id: None };

    /// The command line, run by this user of the operating system.
    #[must_use]
    pub const fn command_line(uid: u32) -> Self {
        Self { who: Who::CommandLine { uid }, address: None, request_id: None }
    }
}

impl Who {
    /// What kind of caller it is.
    #[must_use]
    pub const fn kind(&self) -> WhoKind {
        match self {
            Self::Keyward => WhoKind::Keyward,
            Self::CommandLine { .. } => WhoKind::CommandLine,
            Self::Operator { .. } => WhoKind::Operator,
            Self::Holder { .. } => WhoKind::Holder,
            Self::Stranger => WhoKind::Stranger,
        }
    }

    /// Whether it asks over HTTP.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Operator { .. } | Self::Holder { .. })
    }
}

impl Note {
    /// `by` does `action` now.
    #[must_use]
    pub fn new(by: By, at: Timestamp, action: Action) -> Self {
        Self { by, at, action, key: None, account: None, user: None, details: Details::new() }
    }

    /// With this to be said.
    #[must_use]
    pub fn saying(mut self, name: &str, value: impl Serialize) -> Self {
        // What is said is ours: texts, numbers and lists of them, which can all be written.
        self.details.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

impl Store {
    /// Notes a change that was refused.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn note_refused(&self, note: Note) -> Result<(), Rejected> {
        self.backend.write_apart(move |db| note::refused(db, &note)).await
    }

    /// Notes what somebody told; the same again within an hour only counts.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn note_told(&self, note: Note) -> Result<(), Rejected> {
        self.backend.write_apart(move |db| note::told(db, &note)).await
    }

    /// Notes that dead secrets were presented; of which keys that is the first time for an hour, and from where.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn note_reuses(&self, reuses: Vec<Reuse>) -> Result<Vec<(KeyId, Option<IpAddr>)>, Rejected> {
        self.backend.write_apart(move |db| note::reused(db, &reuses)).await
    }

    /// Entries of the audit log, the latest first.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<Entry>, StoreError> {
        self.backend.read(move |db| note::entries(db, &filter)).await
    }

    /// The answer kept under a name, where its time is not over.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn kept(&self, name: [u8; 32], now: Timestamp) -> Result<Option<(Kept, u64)>, StoreError> {
        self.backend.read(move |db| answer::kept(db, &name, now)).await
    }

    /// Trims the audit log of what ended before `until`, and forgets answers whose time is over; how many entries went.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn trim_audit(&self, until: Timestamp, now: Timestamp) -> Result<usize, Rejected> {
        let trim = move |db: &Db<'_>| {
            answer::forget(db, now)?;
            note::trim(db, until)
        };
        self.backend.write_apart(trim).await
    }
}

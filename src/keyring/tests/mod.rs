//! Every rule of the keyring, without a socket.

mod ahead;
mod audit;
mod bounds;
mod callers;
mod change;
mod holder;
mod invented;
mod migration;
mod once;
mod open;
mod operate;
mod quiet;
mod reuse;
mod rotation;
mod upkeep;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::command::{By, Command, MemberChange, NewKey, Outcome, Problem};
use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::key::rotation::Rotation;
use crate::key::token::mint;
use crate::key::{AccountState, Edit, Imprint, Invalid, Key, KeyState, Kind, Permissions, Refusal, Verified, judge};
use crate::secret::Secret;
use crate::store::{Access, Policy, tests};

/// A keyring over a new store with accounts 101 and 102, and paul, a member of both.
pub(super) struct Ring {
    pub(super) keyring: Arc<Keyring>,
    folder: TempDir,
}

pub(super) async fn ring_at(clock: Clock) -> Ring {
    ring_with(clock, |_, _| ()).await
}

async fn ring() -> Ring {
    ring_with(Clock::System, |_, _| ()).await
}

/// Room for little, and nothing read ahead.
pub(crate) fn small() -> Config {
    let second = "1s".parse().unwrap();
    Config {
        live: 100,
        refused: 100,
        unknown: 100,
        unknown_for: second,
        warm: false,
        known: 0,
        loads: 8,
        waiting: 200,
        usage_flush: second,
        callers: 4,
        rehearsal: 10,
    }
}

async fn ring_with(clock: Clock, change: impl FnOnce(&mut Config, &mut crate::store::Config)) -> Ring {
    ring_under(Policy::default(), clock, change).await
}

async fn ring_under(policy: Policy, clock: Clock, change: impl FnOnce(&mut Config, &mut crate::store::Config)) -> Ring {
    let folder = tempfile::tempdir().unwrap();
    let (mut config, mut store) = (small(), tests::config(&folder));
    change(&mut config, &mut store);
    let store = Store::open(&store, [0; 8], Access::Create).unwrap().under(policy);
    let keyring = Keyring::open(&config, 2, store, Digester::default(), clock, Handle::current()).await.unwrap();
    let ring = Ring { keyring: Arc::new(keyring), folder };
    for account in ["101", "102"] {
        ring.operate(Command::CreateAccount(account.parse().unwrap(), None)).await;
    }
    ring.operate(Command::CreateUser("paul".parse().unwrap(), Default::default())).await;
    for account in ["101", "102"] {
        ring.operate(Command::AddMember(member(account))).await;
    }
    ring
}

/// A caller of whom nothing is told.
fn nobody() -> Caller<'static> {
    Caller { address: [192, 0, 2, 7].into(), agent: b"", route: "any", account: None }
}

impl Ring {
    pub(super) async fn operate(&self, command: Command) -> Outcome {
        self.keyring.operate(&By::KEYWARD, command).await.unwrap()
    }

    async fn verify(&self, secret: &Secret) -> Result<Verified, Denied> {
        self.keyring.verify(secret).await
    }

    /// Why a secret is refused; none where it is not.
    async fn refusal(&self, secret: &Secret) -> Option<Refusal> {
        match self.verify(secret).await {
            Ok(_) => None,
            Err(Denied::Refused(refusal)) => Some(refusal),
            Err(Denied::Failed(failure)) => panic!("{failure:?}"),
        }
    }

    async fn mint(&self, new: NewKey) -> Key {
        match self.operate(Command::MintKey(Box::new(new))).await {
            Outcome::Key(key) => *key,
            other => panic!("{other:?}"),
        }
    }

    /// A living service key of account 101, verified once so that it is remembered.
    pub(super) async fn remembered(&self) -> (Secret, Key) {
        let (secret, new) = service();
        let key = self.mint(new).await;
        assert_eq!(self.refusal(&secret).await, None);
        (secret, key)
    }

    /// Edits the store as the sqlite3 shell would.
    fn by_hand(&self, sql: &str) {
        Connection::open(self.folder.path().join("keyward.db")).unwrap().execute_batch(sql).unwrap();
    }

    /// Waits until `done`, and fails the test where that never comes.
    pub(super) async fn until(&self, mut done: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }
}

/// What may be kept of a new secret.
pub(super) fn an_imprint() -> Imprint {
    fresh().1
}

fn fresh() -> (Secret, Imprint) {
    mint(&"kw_live".parse().unwrap(), getrandom::fill).unwrap()
}

fn new_key(kind: Kind, account: Option<&str>, user: Option<&str>, imprint: Imprint) -> NewKey {
    let id = format!("key_{}", imprint.kid.as_deref().unwrap_or(&imprint.hint)).parse().unwrap();
    NewKey {
        account: account.map(|id| id.parse().unwrap()),
        user: user.map(|id| id.parse().unwrap()),
        ..NewKey::bare(id, imprint, kind)
    }
}

fn service() -> (Secret, NewKey) {
    let (secret, imprint) = fresh();
    (secret, new_key(Kind::Service, Some("101"), None, imprint))
}

fn personal() -> (Secret, NewKey) {
    let (secret, imprint) = fresh();
    (secret, new_key(Kind::Personal, Some("101"), Some("paul"), imprint))
}

fn foreign(text: &str, kind: Kind, account: Option<&str>, user: Option<&str>) -> (Secret, NewKey) {
    let secret = Secret::new(text.as_bytes());
    let new = NewKey {
        id: format!("key_{}", text.len()).parse().unwrap(),
        ..new_key(kind, account, user, Imprint::of(&secret))
    };
    (secret, new)
}

fn member(account: &str) -> MemberChange {
    MemberChange {
        account: account.parse().unwrap(),
        user: "paul".parse().unwrap(),
        permissions: Permissions::default(),
        licence: Edit::Keep,
    }
}

const UNKNOWN: Refusal = Refusal::KeyInvalid(Invalid::Unknown);
const REVOKED: Refusal = Refusal::KeyInvalid(Invalid::Revoked);

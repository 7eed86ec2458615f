//! What every backend must do: one list of cases, run on each.

mod ahead;
mod cases;
mod commits;
#[allow(dead_code, reason = "shared with the integration tests, and each needs a part")]
#[path = "../../../tests/it/support/pki.rs"]
mod pki;
#[allow(dead_code, reason = "shared with the integration tests, and each needs a part")]
#[path = "../../../tests/it/support/postgres/mod.rs"]
pub(crate) mod server;
mod servers;
mod shared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

use super::audit::{Action, By, Note};
use super::log::{News, Subject};
use super::*;
use crate::key::rotation::Rotation;
use crate::key::{Edit, Imprint, Kind, Permissions, Presented, Standing, Status};
use crate::secret::Secret;

/// Runs every case on a backend. Another one joins by a line and a function that opens it, fresh and empty.
macro_rules! cases {
    ($($backend:ident),+ => $cases:tt) => { $(cases!(@ $backend $cases);)+ };
    (@ $backend:ident { $($group:ident: { $($case:ident,)+ })+ }) => {
        mod $backend {
            $($(#[tokio::test]
            async fn $case() {
                let (store, _folder) = super::$backend();
                super::$group::$case(&store).await;
            })+)+
        }
    };
}

cases!(sqlite, postgres => {
    cases: {
        an_unknown_digest_is_answered_with_the_logs_position,
        a_minted_key_is_found_as_it_was_written,
        every_change_is_told_by_the_log,
        the_position_of_a_change_is_the_position_it_is_seen_at,
        a_change_that_does_not_fit_changes_nothing,
        a_rotated_key_keeps_its_record_and_retires_its_secret,
        a_revoked_key_stays_revoked,
        a_personal_key_sees_its_own_membership_and_ends_with_it,
        a_user_key_sees_every_membership,
        a_suspended_account_is_seen_by_its_keys,
        an_import_is_all_or_nothing,
        an_import_makes_what_its_rows_need,
        a_tried_import_tells_every_rows_fate_and_changes_nothing,
        an_imported_secret_with_a_foreign_checksum_registers_its_prefix,
        a_large_import_is_one_entry_of_the_log,
        a_later_use_replaces_an_earlier_one_only,
        lists_show_what_matches,
        lists_come_by_pages_and_by_status,
        a_change_asked_for_what_was_seen_is_made_to_nothing_else,
        accounts_and_users_have_numbers_and_what_is_said_of_them,
        the_directory_comes_by_pages,
        a_lost_operator_key_is_replaced,
        a_trimmed_log_says_so,
        a_request_that_was_answered_meanwhile_changes_nothing,
    }
    ahead: {
        what_is_read_ahead_is_what_a_look_up_finds,
        only_living_keys_are_read_ahead_and_by_their_current_secret,
        keys_read_ahead_are_told_apart_by_their_last_use,
        each_chunk_knows_its_own_position,
        every_secrets_digest_is_read_whatever_became_of_it,
        below_the_first_key_there_is_none,
    }
});

fn sqlite() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&config(&folder), [0; 8], Access::Create).unwrap();
    (store, folder)
}

fn postgres() -> (Store, server::Database<'static>) {
    let database = server::Server::shared().database();
    let config = Config { url: database.url(), ..Config::example() };
    (Store::open(&config, [0; 8], Access::Create).unwrap(), database)
}

/// A store in `folder`.
pub(crate) fn config(folder: &TempDir) -> Config {
    Config { url: format!("sqlite://{}/keyward.db", folder.path().display()), ..Config::example() }
}

/// Holds back look-ups that have read but not yet answered, and fails tails, for tests of what happens meanwhile.
#[derive(Debug)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
    log_lost: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: watch::Sender::new(true), arrived: watch::Sender::new(0), log_lost: AtomicBool::new(false) }
    }
}

impl Gate {
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until `count` look-ups have come to the gate.
    pub(crate) async fn arrived(&self, count: usize) {
        let _ = self.arrived.subscribe().wait_for(|arrived| *arrived >= count).await;
    }

    /// Whether the log can be read from now on.
    pub(crate) fn lose_log(&self, lost: bool) {
        self.log_lost.store(lost, Ordering::SeqCst);
    }

    pub(super) fn tail(&self) -> Result<(), StoreError> {
        if self.log_lost.load(Ordering::SeqCst) { Err(StoreError::TimedOut) } else { Ok(()) }
    }

    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The digest of a secret, without a pepper.
fn digest(secret: &str) -> Digest {
    crate::key::Digester::default().digest(&Secret::new(secret.as_bytes()))
}

fn secret(text: &str) -> SecretDraft {
    let imprint = Imprint::of(&Secret::new(text.as_bytes()));
    SecretDraft {
        digest: Digest::from_bytes(imprint.sha256),
        prefix: imprint.prefix,
        kid: imprint.kid,
        hint: imprint.hint,
        foreign_checksum: imprint.foreign_checksum,
    }
}

/// A service key of account 101 called `id`, whose secret is `text`.
fn service(id: &str, text: &str) -> Draft {
    Draft { account: Some("101".parse().unwrap()), ..Draft::bare(id.parse().unwrap(), secret(text), Kind::Service) }
}

fn of_user(kind: Kind, account: Option<&str>, user: &str, id: &str, text: &str) -> Draft {
    let account = account.map(|account| account.parse().unwrap());
    Draft { kind, account, user: Some(user.parse().unwrap()), ..service(id, text) }
}

fn operator(id: &str, text: &str) -> Draft {
    Draft { kind: Kind::Operator, account: None, ..service(id, text) }
}

fn permissions(names: &[&str]) -> Permissions {
    names.iter().map(|name| name.parse::<crate::key::Permission>().unwrap()).collect()
}

fn member(account: &str, user: &str, names: &[&str]) -> Membership {
    Membership {
        account: account.parse().unwrap(),
        user: user.parse().unwrap(),
        permissions: permissions(names),
        licence: None,
    }
}

/// Accounts 101 and 102; paul, a member of both.
async fn furnish(store: &Store) {
    for account in ["101", "102"] {
        store.create_account(account.parse().unwrap(), None, NOW).await.unwrap();
    }
    store.create_user("paul".parse().unwrap(), Default::default(), NOW).await.unwrap();
    store.put_member(member("101", "paul", &["jobs:run"]).into()).await.unwrap();
    store.put_member(member("102", "paul", &["*"]).into()).await.unwrap();
}

async fn standing(store: &Store, text: &str) -> Option<Standing> {
    store.load(digest(text)).await.unwrap().standing
}

async fn head(store: &Store) -> u64 {
    store.tail(u64::MAX).await.unwrap().head
}

/// What the log tells of after a position.
async fn told(store: &Store, after: u64) -> Vec<Subject> {
    match store.tail(after).await.unwrap().news {
        News::Entries(entries) => entries.into_iter().map(|entry| entry.subject).collect(),
        other => panic!("{other:?}"),
    }
}

fn of_secret(text: &str) -> Subject {
    Subject::Secret(digest(text).as_bytes()[..16].try_into().unwrap())
}

const ONE: &str = "a-first-secret-of-a-client";
const TWO: &str = "a-second-secret-of-a-client";
const THREE: &str = "a-third-secret-of-a-client";

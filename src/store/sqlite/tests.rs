//! What holds for a file: its lock, its mode, its damage, and edits by hand.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::clock::Timestamp;
use crate::key::{AccountId, Imprint};
use crate::secret::Secret;
use crate::store::log::{News, Subject};
use crate::store::tests::config;
use crate::store::{Draft, SecretDraft, Store};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn open(folder: &TempDir, mark: [u8; 8]) -> Result<Store, StoreError> {
    Store::open(&config(folder), mark, Access::Create)
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("keyward.db")
}

/// As the sqlite3 shell would: another connection, foreign keys unchecked.
fn shell(folder: &TempDir) -> Connection {
    Connection::open(file(folder)).unwrap()
}

async fn mint(store: &Store) {
    let account: AccountId = "101".parse().unwrap();
    store.create_account(account.clone(), None, NOW).await.unwrap();
    let imprint = Imprint::of(&Secret::new(b"a-secret-of-a-client"));
    let secret = SecretDraft {
        digest: crate::key::Digest::from_bytes(imprint.sha256),
        prefix: None,
        kid: None,
        hint: imprint.hint,
        foreign_checksum: false,
    };
    let draft = Draft {
        id: "key_1".parse().unwrap(),
        secret,
        kind: crate::key::Kind::Service,
        account: Some(account),
        user: None,
        name: String::new(),
        permissions: crate::key::Permissions::default(),
        allowed_ips: Vec::new(),
        not_before: None,
        expires_at: None,
        licence: None,
    };
    store.mint(draft, NOW).await.unwrap();
}

#[test]
fn a_second_keyward_is_refused_and_told_who_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder, [0; 8]).unwrap();
    let refused = open(&folder, [0; 8]).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
    assert!(refused.to_string().contains("another keyward (process "), "{refused}");
    drop(first);
    open(&folder, [0; 8]).unwrap();
}

#[test]
fn the_files_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(&folder, [0; 8]).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    mint(&open(&folder, [0; 8]).unwrap()).await;
    let schema = |db: &Connection| -> (i64, i64, i64) {
        db.query_row(
            "SELECT (SELECT count(*) FROM sqlite_schema), (SELECT seq FROM head), (SELECT user_version FROM pragma_user_version)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap()
    };
    let before = schema(&shell(&folder));
    let store = open(&folder, [0; 8]).unwrap();
    assert!(store.key("key_1".parse().unwrap()).await.unwrap().is_some());
    drop(store);
    assert_eq!(schema(&shell(&folder)), before);
    let beside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(
        !beside.iter().any(|name| name.to_string_lossy().ends_with("-wal")),
        "the last close leaves one file: {beside:?}"
    );
}

#[test]
fn a_newer_schema_is_opened_only_where_it_says_that_we_can() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder, [0; 8]).unwrap());
    shell(&folder).execute_batch("PRAGMA user_version = 2").unwrap();
    drop(open(&folder, [0; 8]).unwrap());
    shell(&folder).execute_batch("UPDATE meta SET value = 2 WHERE name = 'oldest'").unwrap();
    assert!(matches!(open(&folder, [0; 8]), Err(StoreError::Newer { .. })));
}

#[tokio::test]
async fn another_pepper_is_refused_once_a_secret_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder, [0; 8]).unwrap());
    let store = open(&folder, [1; 8]).unwrap();
    mint(&store).await;
    drop(store);
    assert!(matches!(open(&folder, [0; 8]), Err(StoreError::Pepper { .. })));
    drop(open(&folder, [1; 8]).unwrap());
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let expect = |expected: &str| {
        let error = open(&folder, [0; 8]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    };
    let gone = Store::open(&config(&folder), [0; 8], Access::Existing).unwrap_err();
    assert!(matches!(gone, StoreError::Missing { .. }), "{gone}");
    std::fs::write(file(&folder), b"this is a letter, not a database; it is long enough to be looked at").unwrap();
    expect("is not a keyward store");
    std::fs::remove_file(file(&folder)).unwrap();
    shell(&folder).execute_batch("CREATE TABLE theirs (it INTEGER)").unwrap();
    expect("is not a keyward store");
    std::fs::remove_file(file(&folder)).unwrap();
    std::fs::create_dir(file(&folder)).unwrap();
    expect("cannot be opened");
    std::fs::remove_dir(file(&folder)).unwrap();
    mint(&open(&folder, [0; 8]).unwrap()).await;
    std::fs::File::options().write(true).open(file(&folder)).unwrap().set_len(8192).unwrap();
    expect("is damaged");
    let mut elsewhere = config(&folder);
    elsewhere.url = format!("sqlite://{}/not/there.db", folder.path().display());
    let error = Store::open(&elsewhere, [0; 8], Access::Create).unwrap_err();
    assert!(error.to_string().contains("not does not exist"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_in_the_log_alone_is_no_damage_and_what_is_nowhere_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, [0; 8]).unwrap();
    mint(&store).await;
    // The log holds every page: nothing has been folded in. Then it is, up to the first page and no further.
    let log = std::fs::read(folder.path().join("keyward.db-wal")).unwrap();
    drop(store);
    let whole = std::fs::read(file(&folder)).unwrap();
    let crash = |database: &[u8], log: &[u8]| {
        std::fs::write(file(&folder), database).unwrap();
        std::fs::write(folder.path().join("keyward.db-wal"), log).unwrap();
    };
    crash(&whole[..4096], &log);
    let store = open(&folder, [0; 8]).unwrap();
    assert!(store.key("key_1".parse().unwrap()).await.unwrap().is_some());
    drop(store);
    for log in [&[][..], &log[..32], &log[..log.len() / 2]] {
        crash(&whole[..4096], log);
        let error = open(&folder, [0; 8]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_commit_that_fails_is_an_error_and_the_next_one_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, [0; 8]).unwrap();
    let crate::store::Backend::Sqlite(db) = &store.backend else { panic!("not in a file") };
    let head = || async { store.tail(u64::MAX).await.unwrap().head };
    let before = head().await;
    let refused = db.write(|db| {
        // A key of nobody, which SQLite is told to find out about no sooner than at the commit.
        let orphan =
            "PRAGMA defer_foreign_keys = ON; INSERT INTO secret VALUES (zeroblob(32), 7, 'current', NULL, NULL, '', 1, 0, NULL, NULL, NULL)";
        Ok(db.execute_batch(orphan)?)
    });
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Rejected::Store(StoreError::Failed { .. })), "{refused}");
    assert_eq!(head().await, before);
    mint(&store).await;
    assert!(head().await > before);
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is_closed_and_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, [0; 8]).unwrap();
    mint(&store).await;
    store.close();
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    let refused = store.create_account("102".parse().unwrap(), None, NOW).await.unwrap_err();
    assert!(matches!(refused, Rejected::Store(StoreError::Closed)), "{refused}");
    assert!(!folder.path().join("keyward.db-wal").exists());
    assert!(matches!(open(&folder, [0; 8]), Err(StoreError::Locked { .. })), "until it is dropped");
}

#[tokio::test]
async fn an_edit_by_hand_is_told_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, [0; 8]).unwrap();
    mint(&store).await;
    store.create_user("paul".parse().unwrap(), Default::default(), NOW).await.unwrap();
    let hand = shell(&folder);
    let digest: Vec<u8> = hand.query_row("SELECT digest FROM secret", [], |row| row.get(0)).unwrap();
    let secret = Subject::Secret(digest[..16].try_into().unwrap());
    let edits = [
        ("UPDATE key SET state = 'suspended'", secret.clone()),
        ("UPDATE account SET state = 'suspended'", Subject::Account("101".into())),
        ("INSERT INTO membership (user, account) VALUES ('paul', '101')", Subject::User("paul".into())),
        ("UPDATE membership SET permissions = 'jobs:run'", Subject::User("paul".into())),
        ("DELETE FROM membership", Subject::User("paul".into())),
        ("INSERT INTO adopted_prefix VALUES ('dbtu')", Subject::Prefixes),
        ("UPDATE secret SET state = 'retired'", secret.clone()),
        ("UPDATE secret SET state = 'current'", secret.clone()),
        ("DELETE FROM key", secret),
    ];
    for (edit, expected) in edits {
        let before = store.tail(u64::MAX).await.unwrap().head;
        hand.execute_batch(edit).unwrap();
        match store.tail(before).await.unwrap().news {
            News::Entries(entries) => {
                assert_eq!(entries.first().map(|entry| &entry.subject), Some(&expected), "{edit}")
            }
            other => panic!("{edit}: {other:?}"),
        }
    }
    // The shell leaves a secret without its key: that is no key at all, not an error.
    let orphan = crate::key::Digest::from_bytes(digest.try_into().unwrap());
    assert_eq!(store.load(orphan).await.unwrap().standing, None);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_says_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, [0; 8]).unwrap();
    mint(&store).await;
    shell(&folder).execute_batch("UPDATE key SET permissions = 'with a blank'").unwrap();
    let error = store.keys(crate::store::KeyFilter::default(), Timestamp::from_millis(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Row { .. }), "{error}");
    assert!(!error.to_string().contains("with a blank"), "{error}");
}

#[tokio::test]
async fn a_lock_held_by_another_program_is_an_error_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut short = config(&folder);
    short.busy_timeout = "20ms".parse().unwrap();
    let store = Store::open(&short, [0; 8], Access::Create).unwrap();
    let hand = shell(&folder);
    hand.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.create_account("101".parse().unwrap(), None, NOW).await.unwrap_err();
    assert!(matches!(refused, Rejected::Store(StoreError::Held { .. })), "{refused}");
    hand.execute_batch("ROLLBACK").unwrap();
    assert!(store.accounts(crate::store::Slice::ALL).await.unwrap().is_empty());
    store.create_account("101".parse().unwrap(), None, NOW).await.unwrap();
}

#[tokio::test]
async fn a_question_that_waits_too_long_is_an_error_and_a_full_queue_one_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut short = config(&folder);
    (short.readers, short.load_timeout) = (1, "20ms".parse().unwrap());
    let store = Store::open(&short, [0; 8], Access::Create).unwrap();
    let crate::store::Backend::Sqlite(db) = &store.backend else { panic!("not in a file") };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut slow = std::pin::pin!(db.read(move |_| Ok(held.recv().is_ok())));
    assert!(futures_poll(slow.as_mut()).is_none());
    assert!(matches!(store.ping().await, Err(StoreError::TimedOut)));
    let mut waiting: Vec<_> = (0..2000).map(|_| Box::pin(db.read(|_| Ok(())))).collect();
    let refused = waiting.iter_mut().filter_map(|ask| futures_poll(ask.as_mut())).collect::<Vec<_>>();
    assert!(!refused.is_empty() && refused.iter().all(|answer| matches!(answer, Err(StoreError::Busy))));
    release.send(()).unwrap();
    assert!(slow.await.unwrap());
}

/// Polls once, without a runtime's budget in the way.
fn futures_poll<F: Future>(ask: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match ask.poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}

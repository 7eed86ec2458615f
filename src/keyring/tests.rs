//! Every rule of the keyring, without a socket.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::command::{Command, NewKey, Outcome, Problem};
use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::key::token::mint;
use crate::key::{
    AccountState, Imprint, Invalid, Key, KeyState, Kind, Membership, Permissions, Refusal, Verified, judge,
};
use crate::secret::Secret;
use crate::store::{Access, tests};

/// A keyring over a new store with accounts 101 and 102, and paul, a member of both.
struct Ring {
    keyring: Arc<Keyring>,
    folder: TempDir,
}

async fn ring() -> Ring {
    ring_with(Clock::System, |_, _| ()).await
}

async fn ring_with(clock: Clock, change: impl FnOnce(&mut Config, &mut crate::store::Config)) -> Ring {
    let folder = tempfile::tempdir().unwrap();
    let second = "1s".parse().unwrap();
    let mut store = tests::config(&folder);
    let mut config = Config {
        live: 100,
        refused: 100,
        unknown: 100,
        unknown_for: second,
        loads: 8,
        waiting: 200,
        usage_flush: second,
    };
    change(&mut config, &mut store);
    let store = Store::open(&store, [0; 8], Access::Create).unwrap();
    let keyring = Keyring::open(&config, 2, store, Digester::default(), clock, Handle::current()).await.unwrap();
    let ring = Ring { keyring: Arc::new(keyring), folder };
    for account in ["101", "102"] {
        ring.operate(Command::CreateAccount(account.parse().unwrap())).await;
    }
    ring.operate(Command::CreateUser("paul".parse().unwrap())).await;
    for account in ["101", "102"] {
        ring.operate(Command::AddMember(member(account))).await;
    }
    ring
}

impl Ring {
    async fn operate(&self, command: Command) -> Outcome {
        self.keyring.operate(command).await.unwrap()
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
    async fn remembered(&self) -> (Secret, Key) {
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
    async fn until(&self, mut done: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }
}

fn fresh() -> (Secret, Imprint) {
    mint(&"kw_live".parse().unwrap(), getrandom::fill).unwrap()
}

fn new_key(kind: Kind, account: Option<&str>, user: Option<&str>, imprint: Imprint) -> NewKey {
    NewKey {
        id: format!("key_{}", imprint.kid.as_deref().unwrap_or(&imprint.hint)).parse().unwrap(),
        imprint,
        kind,
        account: account.map(|id| id.parse().unwrap()),
        user: user.map(|id| id.parse().unwrap()),
        name: String::new(),
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
        not_before: None,
        expires_at: None,
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

fn member(account: &str) -> Membership {
    Membership { account: account.parse().unwrap(), user: "paul".parse().unwrap(), permissions: Permissions::default() }
}

const UNKNOWN: Refusal = Refusal::KeyInvalid(Invalid::Unknown);
const REVOKED: Refusal = Refusal::KeyInvalid(Invalid::Revoked);

#[tokio::test]
async fn a_key_is_looked_up_once_and_then_remembered() {
    let ring = ring().await;
    let (secret, new) = service();
    let key = ring.mint(new).await;
    for _ in 0..3 {
        assert_eq!(ring.verify(&secret).await.unwrap().key(), &key.id);
    }
    let unknown = fresh().0;
    for _ in 0..3 {
        assert_eq!(ring.refusal(&unknown).await, Some(UNKNOWN));
    }
    let stats = ring.keyring.stats();
    assert_eq!((stats.hits, stats.unknown, stats.misses, stats.loads), (2, 2, 2, 2));
}

/// Each way to end a key, on one that is remembered as alive: it holds when the command returns.
#[tokio::test]
async fn whatever_ends_a_key_ends_it_at_once() {
    let ring = ring().await;
    let account = || "101".parse().unwrap();
    type End = Box<dyn Fn(&Key) -> Command>;
    let ends: [(&str, End, Refusal); 4] = [
        ("revoke", Box::new(|key| Command::RevokeKey(key.id.clone())), REVOKED),
        (
            "rotate",
            Box::new(|key| Command::RotateKey(key.id.clone(), fresh().1)),
            Refusal::KeyInvalid(Invalid::Rotated),
        ),
        ("suspend", Box::new(|key| Command::SetKeyState(key.id.clone(), KeyState::Suspended)), Refusal::KeyDisabled),
        (
            "suspend the account",
            Box::new(move |_| Command::SetAccountState(account(), AccountState::Suspended)),
            Refusal::AccountSuspended,
        ),
    ];
    for (how, end, expected) in ends {
        let (secret, key) = ring.remembered().await;
        ring.operate(end(&key)).await;
        for _ in 0..2 {
            assert_eq!(ring.refusal(&secret).await.as_ref(), Some(&expected), "{how}");
        }
    }
}

#[tokio::test]
async fn a_rotated_key_goes_on_under_its_new_secret() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    let (new, imprint) = fresh();
    assert_eq!(ring.refusal(&new).await, Some(UNKNOWN), "remembered as unknown, and then made");
    ring.operate(Command::RotateKey(key.id.clone(), imprint)).await;
    assert_eq!(ring.verify(&new).await.unwrap().key(), &key.id);
    assert_eq!(ring.refusal(&old).await, Some(Refusal::KeyInvalid(Invalid::Rotated)));
}

#[tokio::test]
async fn what_was_switched_off_can_be_switched_on_again() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    let account = "101".parse::<crate::key::AccountId>().unwrap();
    for (off, on) in [
        (
            Command::SetKeyState(key.id.clone(), KeyState::Suspended),
            Command::SetKeyState(key.id.clone(), KeyState::Active),
        ),
        (
            Command::SetAccountState(account.clone(), AccountState::Suspended),
            Command::SetAccountState(account, AccountState::Active),
        ),
    ] {
        ring.operate(off).await;
        assert!(ring.refusal(&secret).await.is_some());
        ring.operate(on).await;
        assert_eq!(ring.refusal(&secret).await, None);
    }
}

#[tokio::test]
async fn a_membership_that_ends_takes_the_personal_key_and_the_way_of_a_user_key() {
    let ring = ring().await;
    let (own, new) = personal();
    ring.mint(new).await;
    let (across, imprint) = fresh();
    ring.mint(new_key(Kind::User, None, Some("paul"), imprint)).await;
    assert_eq!(ring.refusal(&own).await, None);
    assert_eq!(ring.verify(&across).await.unwrap().standing().memberships.len(), 2);
    ring.operate(Command::RemoveMember("101".parse().unwrap(), "paul".parse().unwrap())).await;
    assert_eq!(ring.refusal(&own).await, Some(REVOKED));
    let left = ring.verify(&across).await.unwrap().standing().memberships.clone();
    assert_eq!(left.iter().map(|(account, ..)| account.as_str()).collect::<Vec<_>>(), ["102"]);
    ring.operate(Command::SetAccountState("102".parse().unwrap(), AccountState::Suspended)).await;
    assert_eq!(ring.verify(&across).await.unwrap().standing().memberships[0].1, AccountState::Suspended);
    ring.operate(Command::AddMember(member("101"))).await;
    assert_eq!(ring.refusal(&own).await, Some(REVOKED), "coming back does not bring the key back");
}

#[tokio::test]
async fn a_remembered_key_begins_and_ends_by_the_clock() {
    let noon = Timestamp::from_millis(43_200_000);
    let hands = ManualClock::at(noon);
    let ring = ring_with(Clock::Manual(hands.clone()), |_, _| ()).await;
    let (secret, new) = service();
    let minute = Duration::from_secs(60);
    ring.mint(NewKey { not_before: Some(noon.plus(minute)), expires_at: Some(noon.plus(2 * minute)), ..new }).await;
    assert_eq!(ring.refusal(&secret).await, Some(Refusal::KeyNotYetValid));
    hands.advance(minute);
    assert_eq!(ring.refusal(&secret).await, None);
    hands.advance(minute);
    assert_eq!(ring.refusal(&secret).await, Some(Refusal::KeyExpired));
    assert_eq!(ring.keyring.stats().loads, 1);
}

#[tokio::test]
async fn a_look_up_on_its_way_does_not_bring_a_revoked_key_back() {
    let ring = ring().await;
    let (secret, new) = service();
    let key = ring.mint(new).await;
    let gate = ring.keyring.store().gate();
    gate.close();
    let ask = |secret: &Secret| {
        let (keyring, secret) = (Arc::clone(&ring.keyring), secret.clone());
        tokio::spawn(async move { keyring.verify(&secret).await.map(|_| ()) })
    };
    let before = ask(&secret);
    gate.arrived(1).await;
    // The look-up has read the living key, and now the key ends.
    ring.operate(Command::RevokeKey(key.id)).await;
    // Who asks from now on joins the look-up that is under way, but must not believe it.
    let after = ask(&secret);
    ring.until(async || ring.keyring.stats().misses == 2).await;
    assert_eq!(ring.keyring.stats().loads, 1);
    gate.open();
    assert_eq!(after.await.unwrap(), Err(Denied::Refused(REVOKED)));
    // Who asked before the key ended may go either way; nobody after.
    let _ = before.await.unwrap();
    assert_eq!(ring.refusal(&secret).await, Some(REVOKED));
}

#[tokio::test]
async fn an_unknown_secret_is_known_as_soon_as_it_is_made() {
    let ring = ring().await;
    let (secret, new) = service();
    assert_eq!(ring.refusal(&secret).await, Some(UNKNOWN));
    ring.mint(new).await;
    assert_eq!(ring.refusal(&secret).await, None);
}

#[tokio::test]
async fn an_edit_by_hand_is_noticed() {
    let ring = ring().await;
    let (secret, _) = ring.remembered().await;
    ring.by_hand("UPDATE key SET state = 'suspended'");
    ring.until(async || ring.refusal(&secret).await == Some(Refusal::KeyDisabled)).await;
    ring.by_hand("UPDATE key SET state = 'active'");
    ring.until(async || ring.refusal(&secret).await.is_none()).await;
}

#[tokio::test]
async fn a_store_that_fails_is_no_refusal_and_is_not_remembered() {
    let ring = ring().await;
    let (remembered, _) = ring.remembered().await;
    let (made, new) = service();
    ring.mint(new).await;
    let never_made = fresh().0;
    ring.by_hand("ALTER TABLE secret RENAME TO hidden");
    for secret in [&made, &never_made] {
        let failed = ring.verify(secret).await.unwrap_err();
        assert_eq!(failed, Denied::Failed(Failure::Unavailable));
    }
    assert_eq!(ring.refusal(&remembered).await, None, "what is remembered goes on");
    assert!(matches!(
        ring.keyring.operate(Command::MintKey(Box::new(service().1))).await,
        Err(Problem::Unavailable(_))
    ));
    ring.by_hand("ALTER TABLE hidden RENAME TO secret");
    assert_eq!(ring.refusal(&made).await, None);
    assert_eq!(ring.refusal(&never_made).await, Some(UNKNOWN));
    assert_eq!(ring.keyring.stats().failures, 2);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_makes_the_keyring_not_ready() {
    let hands = ManualClock::at(Timestamp::from_millis(0));
    let ring = ring_with(Clock::Manual(hands.clone()), |_, _| ()).await;
    assert!(ring.keyring.ready());
    ring.by_hand("ALTER TABLE head RENAME TO hidden");
    ring.until(async || {
        hands.advance(Duration::from_millis(500));
        !ring.keyring.ready()
    })
    .await;
    ring.by_hand("ALTER TABLE hidden RENAME TO head");
    ring.until(async || ring.keyring.ready()).await;
}

#[tokio::test]
async fn a_store_that_goes_back_in_time_is_believed_only_afresh() {
    let ring = ring().await;
    let (secret, _) = ring.remembered().await;
    let seen = ring.keyring.stats().loads;
    // As if an older copy, in which the key is suspended, had been put in its place.
    ring.by_hand("UPDATE key SET state = 'suspended'; UPDATE head SET seq = 1");
    ring.until(async || ring.refusal(&secret).await == Some(Refusal::KeyDisabled)).await;
    for _ in 0..3 {
        assert_eq!(ring.refusal(&secret).await, Some(Refusal::KeyDisabled));
    }
    assert!(ring.keyring.stats().loads >= seen + 4, "every request reads for itself");
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_look_up() {
    let ring = ring().await;
    let (secret, new) = service();
    ring.mint(new).await;
    let gate = ring.keyring.store().gate();
    gate.close();
    let ask = || {
        let (keyring, secret) = (Arc::clone(&ring.keyring), secret.clone());
        tokio::spawn(async move { keyring.verify(&secret).await.map(|_| ()) })
    };
    let first = ask();
    gate.arrived(1).await;
    let others: Vec<_> = (0..100).map(|_| ask()).collect();
    ring.until(async || ring.keyring.stats().misses == 101).await;
    // The one whose request began it leaves; the others do not notice.
    first.abort();
    gate.open();
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(()));
    }
    assert_eq!(ring.keyring.stats().loads, 1);
}

#[tokio::test]
async fn too_many_who_wait_and_too_long_a_wait_are_failures() {
    let ring = ring_with(Clock::System, |config, store| {
        config.waiting = 1;
        store.load_timeout = "100ms".parse().unwrap();
    })
    .await;
    let (secret, new) = service();
    ring.mint(new).await;
    let gate = ring.keyring.store().gate();
    gate.close();
    let (keyring, asked) = (Arc::clone(&ring.keyring), secret.clone());
    let slow = tokio::spawn(async move { keyring.verify(&asked).await.map(|_| ()) });
    gate.arrived(1).await;
    assert_eq!(ring.verify(&fresh().0).await.unwrap_err(), Denied::Failed(Failure::Overloaded));
    assert_eq!(slow.await.unwrap(), Err(Denied::Failed(Failure::TimedOut)));
    gate.open();
    assert_eq!(ring.refusal(&secret).await, None);
}

#[tokio::test]
async fn a_wrong_checksum_is_looked_up_only_under_an_adopted_prefix() {
    let ring = ring().await;
    let foreign_text = format!("dbtu_{}", "x".repeat(50));
    let (secret, new) = foreign(&foreign_text, Kind::Service, Some("301"), None);
    let malformed = Some(Refusal::KeyInvalid(Invalid::Malformed));
    assert_eq!(ring.refusal(&secret).await, malformed);
    assert_eq!(ring.keyring.stats().loads, 0);
    ring.operate(Command::Import(vec![new])).await;
    assert_eq!(ring.refusal(&secret).await, None);
    let other = Secret::new(format!("dbtu_{}", "y".repeat(50)).as_bytes());
    assert_eq!(ring.refusal(&other).await, Some(UNKNOWN));
    let ours = Secret::new(format!("kw_live_{}", "x".repeat(50)).as_bytes());
    assert_eq!(ring.refusal(&ours).await, malformed);
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused_without_a_look_up() {
    let ring = ring().await;
    let long = "x".repeat(513);
    for text in ["", "fifteen-letters", "a blank is in here", "tabs\tare-not-visible", "ümläute-are-not-ascii", &long]
    {
        let refused = ring.refusal(&Secret::new(text.as_bytes())).await;
        assert_eq!(refused, Some(Refusal::KeyInvalid(Invalid::Malformed)), "{text:?}");
    }
    assert_eq!(ring.keyring.stats().loads, 0);
    for text in ["sixteen-letters-", &"x".repeat(512)] {
        assert_eq!(ring.refusal(&Secret::new(text.as_bytes())).await, Some(UNKNOWN));
    }
}

#[tokio::test]
async fn an_adopted_user_key_works_in_the_account_of_its_row() {
    let ring = ring().await;
    let (secret, new) = foreign("a-legacy-token-of-mary", Kind::User, Some("401"), Some("mary"));
    ring.operate(Command::Import(vec![new])).await;
    let verified = ring.verify(&secret).await.unwrap();
    assert_eq!(verified.standing().memberships[0].0.as_str(), "401");
}

#[tokio::test]
async fn a_key_must_fit_its_kind_and_its_time() {
    let ring = ring().await;
    let invalid = [
        (Kind::Service, None, None),
        (Kind::Service, Some("101"), Some("paul")),
        (Kind::Personal, Some("101"), None),
        (Kind::Personal, None, Some("paul")),
        (Kind::User, None, None),
        (Kind::User, Some("101"), Some("paul")),
        (Kind::Operator, Some("101"), None),
        (Kind::Operator, None, Some("paul")),
    ];
    for (kind, account, user) in invalid {
        let command = Command::MintKey(Box::new(new_key(kind, account, user, fresh().1)));
        let problem = ring.keyring.operate(command).await.unwrap_err();
        assert!(matches!(problem, Problem::Invalid(_)), "{kind} {account:?} {user:?}: {problem}");
    }
    let past = NewKey { expires_at: Some(Timestamp::from_millis(1)), ..service().1 };
    assert!(matches!(ring.keyring.operate(Command::MintKey(Box::new(past.clone()))).await, Err(Problem::Invalid(_))));
    ring.operate(Command::Import(vec![past])).await;
    let row = new_key(Kind::Operator, None, None, fresh().1);
    let Err(Problem::Invalid(what)) = ring.keyring.operate(Command::Import(vec![service().1, row])).await else {
        panic!("an operator key was adopted")
    };
    assert!(what.starts_with("row 2: "), "{what}");
}

#[tokio::test]
async fn what_is_missing_or_taken_is_named() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    ring.operate(Command::RevokeKey(key.id.clone())).await;
    ring.operate(Command::RevokeKey(key.id.clone())).await;
    let named = |what: &str, id: &str| Problem::NotFound { what: what.into(), id: id.into() };
    let no_key = "key_0".parse::<crate::key::KeyId>().unwrap();
    let elsewhere = NewKey { account: Some("999".parse().unwrap()), ..service().1 };
    let cases = [
        (Command::ShowKey(no_key.clone()), Some(named("key", "key_0"))),
        (Command::RotateKey(no_key, fresh().1), Some(named("key", "key_0"))),
        (Command::SetAccountState("999".parse().unwrap(), AccountState::Active), Some(named("account", "999"))),
        (Command::RemoveMember("101".parse().unwrap(), "mary".parse().unwrap()), Some(named("member", "mary of 101"))),
        (Command::MintKey(Box::new(elsewhere)), Some(named("account", "999"))),
        (
            Command::CreateAccount("101".parse().unwrap()),
            Some(Problem::Exists { what: "account".into(), id: "101".into() }),
        ),
        (Command::RotateKey(key.id.clone(), fresh().1), None),
        (Command::SetKeyState(key.id, KeyState::Active), None),
    ];
    for (command, expected) in cases {
        let shown = format!("{command:?}");
        match (ring.keyring.operate(command).await.unwrap_err(), expected) {
            (Problem::Conflict(_), None) => {}
            (problem, expected) => assert_eq!(Some(problem), expected, "{shown}"),
        }
    }
}

#[tokio::test]
async fn the_first_start_is_told_from_later_ones() {
    let ring = ring().await;
    assert!(ring.keyring.is_new().await.unwrap());
    let (lost, imprint) = fresh();
    ring.mint(new_key(Kind::Operator, None, None, imprint)).await;
    assert!(!ring.keyring.is_new().await.unwrap());
    assert_eq!(ring.refusal(&lost).await, None);
    let (found, imprint) = fresh();
    ring.operate(Command::ResetOperator(Box::new(new_key(Kind::Operator, None, None, imprint)))).await;
    assert_eq!(ring.refusal(&lost).await, Some(REVOKED));
    assert_eq!(ring.refusal(&found).await, None);
}

#[tokio::test]
async fn a_use_is_written_at_the_latest_when_the_keyring_shuts_down() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    let before = Clock::System.now();
    ring.keyring.used(&ring.verify(&secret).await.unwrap());
    ring.keyring.shutdown().await;
    let Outcome::Key(shown) = ring.operate(Command::ShowKey(key.id)).await else { panic!() };
    assert!(shown.last_used_at.is_some_and(|at| at >= before));
}

#[tokio::test]
async fn a_use_is_written_by_interval() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "50ms".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    ring.keyring.used(&ring.verify(&secret).await.unwrap());
    ring.until(async || {
        let Outcome::Key(shown) = ring.operate(Command::ShowKey(key.id.clone())).await else { panic!() };
        shown.last_used_at.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_runtime_may_verify() {
    let ring = ring().await;
    let (secret, new) = service();
    ring.mint(new).await;
    let keyring = Arc::clone(&ring.keyring);
    // A worker's runtime: one thread, and no timer of its own.
    let elsewhere = std::thread::spawn(move || {
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        worker.block_on(async { keyring.verify(&secret).await.map(|_| ()) })
    });
    assert_eq!(tokio::task::spawn_blocking(|| elsewhere.join().unwrap()).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_closed_keyring_leaves_its_store_to_the_next() {
    let Ring { keyring, folder } = ring().await;
    keyring.shutdown().await;
    drop(keyring);
    Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is done in whatever order: what the keyring says is what a judge says of a fresh look-up.
    #[test]
    fn memory_never_disagrees_with_the_store(steps in proptest::collection::vec((0_u8..8, 0_usize..3), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ring = ring().await;
            let mut secrets = Vec::new();
            let mut keys = Vec::new();
            for new in [service(), service(), personal()] {
                secrets.push(new.0);
                keys.push(ring.mint(new.1).await.id);
            }
            for (step, at) in steps {
                let id = keys[at].clone();
                let account = "101".parse().unwrap();
                let command = match step {
                    0 => Command::RevokeKey(id),
                    1 | 2 => {
                        let (secret, imprint) = fresh();
                        secrets.push(secret);
                        Command::RotateKey(id, imprint)
                    }
                    3 => Command::SetKeyState(id, KeyState::Suspended),
                    4 => Command::SetKeyState(id, KeyState::Active),
                    5 => Command::SetAccountState(account, AccountState::Suspended),
                    6 => Command::SetAccountState(account, AccountState::Active),
                    _ => Command::RemoveMember(account, "paul".parse().unwrap()),
                };
                // Some do not fit, such as rotating a revoked key; that is part of it.
                let _ = ring.keyring.operate(command).await;
                for secret in &secrets {
                    let digest = Digester::default().digest(secret);
                    let fresh = ring.keyring.store().load(digest).await.unwrap().standing;
                    let fresh = fresh.map_or(Err(UNKNOWN), |key| judge(&Arc::new(key), Clock::System.now()).map(|_| ()));
                    assert_eq!(ring.refusal(secret).await, fresh.err());
                }
            }
        });
    }
}

/// Measures what the request path pays for a remembered key, and what a load of a million keys takes:
/// `cargo test --release --lib -- --ignored --nocapture measured`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it in release mode"]
async fn measured() {
    const KEYS: usize = 1_000_000;
    const BATCH: usize = 250_000;
    let ring = ring_with(Clock::System, |config, _| config.live = 250_000).await;
    let clock = Clock::System;
    let began = clock.boot();
    let mut some = Vec::new();
    for batch in 0..KEYS / BATCH {
        let mut rows = Vec::with_capacity(BATCH);
        for at in 0..BATCH {
            let (secret, imprint) = fresh();
            let account = format!("acc-{}", (batch * BATCH + at) % 1000);
            rows.push(new_key(Kind::Service, Some(&account), None, imprint));
            if at % 10 == 0 {
                some.push(secret);
            }
        }
        ring.operate(Command::Import(rows)).await;
    }
    eprintln!("{KEYS} keys minted and imported in {:?}", clock.boot().since(began));

    let began = clock.boot();
    for secret in &some {
        ring.verify(secret).await.unwrap();
    }
    eprintln!("a look-up in the store, end to end: {:?}", clock.boot().since(began) / some.len() as u32);
    let began = clock.boot();
    for secret in &some {
        ring.keyring.used(&ring.verify(secret).await.unwrap());
    }
    eprintln!("a remembered key, of {}: {:?}", some.len(), clock.boot().since(began) / some.len() as u32);
    let began = clock.boot();
    for _ in 0..some.len() {
        ring.keyring.used(&ring.verify(&some[0]).await.unwrap());
    }
    eprintln!("a remembered key, always the same: {:?}", clock.boot().since(began) / some.len() as u32);
    let began = clock.boot();
    ring.operate(Command::RevokeKey("key_none".parse().unwrap_or_else(|_| panic!()))).await;
    eprintln!("{:?}", clock.boot().since(began));
}

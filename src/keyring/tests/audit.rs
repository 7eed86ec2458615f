//! What the audit log says, and what it does not.

use super::*;
use crate::key::UserId;
use crate::keyring::command::{AuditFilter, Entry, Who};
use crate::store::audit::{Action, Details, Ending, WhoKind};

impl Ring {
    /// Entries that match, the latest first.
    pub(super) async fn audit(&self, filter: AuditFilter) -> Vec<Entry> {
        match self.operate(Command::ListAudit(Box::new(filter))).await {
            Outcome::Audit(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn noted(&self, action: Action) -> Vec<Entry> {
        self.audit(AuditFilter { action: Some(action), ..AuditFilter::default() }).await
    }

    /// The whole table as text, as whoever has the file reads it.
    fn everything(&self) -> String {
        let db = Connection::open(self.folder.path().join("keyward.db")).unwrap();
        let mut read = db.prepare("SELECT * FROM audit").unwrap();
        let width = read.column_count();
        let rows = read.query_map([], |row| {
            let cells = (0..width).map(|at| row.get::<_, rusqlite::types::Value>(at).map(|value| format!("{value:?}")));
            cells.collect::<Result<Vec<_>, _>>()
        });
        rows.unwrap().map(|row| row.unwrap().join(" ")).collect::<Vec<_>>().join("\n")
    }
}

pub(super) fn operator() -> By {
    By {
        who: Who::Operator { key: "key_operator".parse().unwrap() },
        address: Some([192, 0, 2, 7].into()),
        request_id: Some("req_1".into()),
    }
}

fn details(said: &[(&str, serde_json::Value)]) -> Details {
    said.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[tokio::test]
async fn every_change_leaves_one_entry_that_says_who_did_what_to_what_from_where() {
    let ring = ring().await;
    let (_, service) = service();
    let (account, user): (crate::key::AccountId, UserId) = ("103".parse().unwrap(), "mary".parse().unwrap());
    let key = service.id.clone();
    let (_, imported) = foreign("a-foreign-secret-of-nobody", Kind::User, None, Some("mary"));
    let rotate = |mode| Command::RotateKey(key.clone(), fresh().1, Rotation { mode, ..Rotation::IMMEDIATE });
    let hour = Duration::from_secs(3600);
    let first_use = crate::key::rotation::Mode::FirstUse { within: hour, grace: Duration::ZERO };
    let (_, new_operator) = fresh();
    let cases = [
        (Command::CreateAccount(account.clone(), None), Action::AccountCreate, None, Some("103"), None, details(&[])),
        (
            Command::SetAccountState(account.clone(), AccountState::Suspended),
            Action::AccountSuspend,
            None,
            Some("103"),
            None,
            details(&[]),
        ),
        (
            Command::SetAccountState(account.clone(), AccountState::Active),
            Action::AccountResume,
            None,
            Some("103"),
            None,
            details(&[]),
        ),
        (
            Command::CreateUser(user.clone(), Default::default()),
            Action::UserCreate,
            None,
            None,
            Some("mary"),
            details(&[]),
        ),
        (
            Command::AddMember(MemberChange { account: account.clone(), user: user.clone(), ..member("103") }),
            Action::MemberPut,
            None,
            Some("103"),
            Some("mary"),
            details(&[("permissions", serde_json::json!([]))]),
        ),
        (Command::RemoveMember(account, user), Action::MemberRemove, None, Some("103"), Some("mary"), details(&[])),
        (
            Command::MintKey(Box::new(service)),
            Action::KeyMint,
            Some(&key),
            Some("101"),
            None,
            details(&[("kind", "service".into())]),
        ),
        (
            rotate(crate::key::rotation::Mode::Grace(hour)),
            Action::KeyRotate,
            Some(&key),
            Some("101"),
            None,
            details(&[("mode", "grace".into()), ("grace_seconds", 3600.into())]),
        ),
        (Command::CompleteRotation(key.clone()), Action::RotationComplete, Some(&key), Some("101"), None, details(&[])),
        (
            rotate(first_use),
            Action::KeyRotate,
            Some(&key),
            Some("101"),
            None,
            details(&[("mode", "first_use".into()), ("within_seconds", 3600.into()), ("grace_seconds", 0.into())]),
        ),
        (Command::CancelRotation(key.clone()), Action::RotationCancel, Some(&key), Some("101"), None, details(&[])),
        (
            Command::SetKeyState(key.clone(), KeyState::Suspended, None),
            Action::KeySuspend,
            Some(&key),
            Some("101"),
            None,
            details(&[]),
        ),
        (
            Command::SetKeyState(key.clone(), KeyState::Active, None),
            Action::KeyResume,
            Some(&key),
            Some("101"),
            None,
            details(&[]),
        ),
        (
            Command::SetKeyState(key.clone(), KeyState::Revoked, None),
            Action::KeyRevoke,
            Some(&key),
            Some("101"),
            None,
            details(&[]),
        ),
        (
            Command::Import(vec![imported]),
            Action::KeyImport,
            None,
            None,
            None,
            details(&[
                ("rows", 1.into()),
                ("keys", 1.into()),
                ("already", 0.into()),
                ("accounts", 0.into()),
                ("users", 0.into()),
            ]),
        ),
        (
            Command::ResetOperator(Box::new(new_key(Kind::Operator, None, None, new_operator.clone()))),
            Action::OperatorReset,
            Some(&new_key(Kind::Operator, None, None, new_operator).id),
            None,
            None,
            details(&[("kind", "operator".into())]),
        ),
    ];
    for (command, action, key, account, user, details) in cases {
        let before = ring.audit(AuditFilter::default()).await.len();
        let said = format!("{command:?}");
        ring.keyring.operate(&operator(), command).await.unwrap();
        let entries = ring.audit(AuditFilter::default()).await;
        assert_eq!(entries.len(), before + 1, "{said}");
        let entry = &entries[0];
        assert_eq!((entry.action, entry.outcome, &entry.by, entry.count), (action, Ending::Done, &operator(), 1));
        assert_eq!((entry.key.as_ref(), &entry.details), (key, &details), "{said}");
        assert_eq!(entry.account.as_ref().map(crate::key::AccountId::as_str), account, "{said}");
        assert_eq!(entry.user.as_ref().map(UserId::as_str), user, "{said}");
    }
}

#[tokio::test]
async fn what_only_shows_leaves_no_entry() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let before = ring.audit(AuditFilter::default()).await;
    for command in [
        Command::ListAccounts(crate::store::Slice::ALL),
        Command::ListUsers(crate::store::Slice::ALL),
        Command::ListMembers(Default::default()),
        Command::ListKeys(crate::keyring::command::KeyFilter::default()),
        Command::ShowKey(key.id),
        Command::TryImport(vec![service().1]),
        Command::ShowRehearsal,
        Command::ForgetRehearsal,
    ] {
        ring.keyring.operate(&operator(), command).await.unwrap();
    }
    assert_eq!(ring.audit(AuditFilter::default()).await, before);
}

#[tokio::test]
async fn an_attempt_over_http_is_noted_and_the_same_again_is_counted() {
    let ring = ring().await;
    let again = || Command::CreateAccount("101".parse().unwrap(), None);
    for _ in 0..3 {
        ring.keyring.operate(&operator(), again()).await.unwrap_err();
    }
    let (_, mut new) = service();
    new.user = Some("paul".parse().unwrap());
    ring.keyring.operate(&operator(), Command::MintKey(Box::new(new))).await.unwrap_err();
    // Who has the machine need not be watched at attempts.
    ring.keyring.operate(&By::command_line(1000), again()).await.unwrap_err();
    let refused = ring.audit(AuditFilter { outcome: Some(Ending::Refused), ..AuditFilter::default() }).await;
    let told: Vec<_> = refused.iter().map(|entry| (entry.action, entry.count, entry.by.who.kind())).collect();
    assert_eq!(told, [(Action::KeyMint, 1, WhoKind::Operator), (Action::AccountCreate, 3, WhoKind::Operator)]);
    assert_eq!(refused[1].details["problem"], "account \"101\" exists already");
    assert_eq!(refused[0].key, None, "no key was made");
}

#[tokio::test]
async fn keys_that_end_with_something_else_have_entries_of_their_own() {
    let ring = ring().await;
    let (_, personal) = personal();
    let (_, first) = fresh();
    let personal = ring.mint(personal).await;
    let first = ring.mint(new_key(Kind::Operator, None, None, first)).await;
    ring.operate(Command::RemoveMember("101".parse().unwrap(), "paul".parse().unwrap())).await;
    ring.operate(Command::ResetOperator(Box::new(new_key(Kind::Operator, None, None, fresh().1)))).await;
    let ended = ring.noted(Action::KeyRevoke).await;
    let told: Vec<_> = ended.iter().map(|entry| (entry.key.clone(), entry.details["because"].as_str())).collect();
    assert_eq!(told, [(Some(first.id), Some("operator.reset")), (Some(personal.id), Some("member.remove"))]);
    assert_eq!(ended[1].user.as_ref().map(UserId::as_str), Some("paul"));
}

#[tokio::test]
async fn a_first_use_after_a_rotation_is_noted_once_and_as_keywards_own() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let (new, imprint) = fresh();
    let mode = crate::key::rotation::Mode::Grace(Duration::from_secs(3600));
    ring.operate(Command::RotateKey(key.id.clone(), imprint, Rotation { mode, ..Rotation::IMMEDIATE })).await;
    ring.until(async || {
        ring.keyring.used(&ring.verify(&new).await.unwrap(), &new, &nobody());
        !ring.noted(Action::KeyFirstUse).await.is_empty()
    })
    .await;
    ring.keyring.first_uses_written().await;
    let noted = ring.noted(Action::KeyFirstUse).await;
    let told: Vec<_> = noted.iter().map(|entry| (entry.key.clone(), entry.by.clone())).collect();
    assert_eq!(told, [(Some(key.id), By::KEYWARD)]);
}

#[tokio::test]
async fn a_large_import_is_one_entry_with_its_counts() {
    let ring = ring().await;
    let rows = (0..600).map(|at| {
        let (_, imprint) = fresh();
        NewKey { name: format!("row {at}"), ..new_key(Kind::Service, Some("101"), None, imprint) }
    });
    let before = ring.audit(AuditFilter::default()).await.len();
    ring.operate(Command::Import(rows.collect())).await;
    let entries = ring.audit(AuditFilter::default()).await;
    assert_eq!((entries.len(), &entries[0].details["keys"]), (before + 1, &600.into()));
}

#[tokio::test]
async fn no_secret_no_digest_and_no_part_of_one_is_in_it() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    let (new, imprint) = fresh();
    let hint = imprint.hint.clone();
    let sha256 = imprint.sha256;
    ring.keyring.operate(&operator(), Command::RotateKey(key.id.clone(), imprint, Rotation::IMMEDIATE)).await.unwrap();
    // A secret that is another key's already is refused by that key's id.
    let taken = new_key(Kind::Service, Some("102"), None, Imprint::of(&new));
    ring.keyring.operate(&operator(), Command::MintKey(Box::new(taken))).await.unwrap_err();
    ring.keyring.reused(&secret, None);
    ring.keyring.flush_reuses().await;
    let text = ring.everything();
    assert!(text.contains("key.rotate") && text.contains("key.reuse") && text.contains("refused"), "{text}");
    let digest: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = |secret: &Secret| secret.expose_str().unwrap()["kw_live_".len() + 12..].to_owned();
    for part in [body(&secret), body(&new), digest, format!("{:?}", &sha256[..8]), format!("\"{hint}\"")] {
        assert!(!text.contains(&part), "{part} in {text}");
    }
}

#[tokio::test]
async fn entries_are_found_by_what_they_are_about_by_whom_and_when_and_come_by_pages() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    let (_, key) = ring.remembered().await;
    clock.advance(Duration::from_secs(60));
    let (_, personal) = personal();
    ring.keyring.operate(&operator(), Command::MintKey(Box::new(personal))).await.unwrap();
    let end = Command::SetKeyState(key.id.clone(), KeyState::Revoked, None);
    ring.keyring.operate(&By::command_line(1000), end).await.unwrap();
    let all = ring.audit(AuditFilter::default()).await;
    let none = AuditFilter::default;
    let found = async |filter| ring.audit(filter).await.len();
    assert_eq!(found(AuditFilter { key: Some(key.id.clone()), ..none() }).await, 2);
    assert_eq!(found(AuditFilter { account: Some("101".parse().unwrap()), ..none() }).await, 5);
    assert_eq!(found(AuditFilter { user: Some("paul".parse().unwrap()), ..none() }).await, 4);
    assert_eq!(found(AuditFilter { who: Some(WhoKind::CommandLine), ..none() }).await, 1);
    assert_eq!(found(AuditFilter { by_key: Some("key_operator".parse().unwrap()), ..none() }).await, 1);
    let (start, later) = (Timestamp::from_millis(1_000_000), Timestamp::from_millis(1_060_000));
    assert_eq!(found(AuditFilter { since: Some(later), ..none() }).await, 2);
    assert_eq!(found(AuditFilter { until: Some(later), ..none() }).await, all.len() - 2);
    assert_eq!(found(AuditFilter { until: Some(start), ..none() }).await, 0);
    let mut pages = Vec::new();
    while pages.len() < all.len() {
        let before = pages.last().map(|last: &Entry| last.seq);
        pages.extend(ring.audit(AuditFilter { before, most: Some(2), ..none() }).await);
    }
    assert_eq!(pages, all);
}

#[tokio::test]
async fn what_is_older_than_it_is_to_be_kept_is_trimmed_oldest_first() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    ring.keyring.heed(Watch { audit_keep: "1d".parse().unwrap(), ..Watch::default() });
    clock.advance(Duration::from_secs(24 * 60 * 60));
    let (_, key) = ring.remembered().await;
    ring.keyring.trim_audit().await;
    assert!(ring.audit(AuditFilter::default()).await.len() > 1, "a day old, and not older");
    clock.advance(Duration::from_millis(1));
    ring.keyring.trim_audit().await;
    let left = ring.audit(AuditFilter::default()).await;
    assert_eq!(left.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), [Some(key.id)]);
}

impl Keyring {
    pub(super) async fn flush_reuses(&self) {
        self.shared.flush_reuses().await.unwrap();
    }

    pub(super) async fn trim_audit(&self) {
        self.shared.trim_audit().await;
    }

    async fn first_uses_written(&self) {
        drop(self.shared.first_uses.written().await);
    }
}

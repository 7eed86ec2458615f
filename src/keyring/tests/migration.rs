//! Leaving the keys of users: what is told of them, and what takes their place.

use super::*;
use crate::key::{AccountId, Edit, Permission, Permissions};
use crate::keyring::command::{AuditFilter, KeyChange, Legacy, Old, Replaced, Replacement};
use crate::keyring::migration::NamedRoute;
use crate::store::audit::Action;

const BROWSER: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64)";

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

fn permission(name: &str) -> Permission {
    name.parse().unwrap()
}

impl Ring {
    /// A key of paul's, who may run jobs in 101 and do everything in 102.
    async fn legacy(&self) -> (Secret, Key) {
        for (id, permissions) in [("101", "jobs:*"), ("102", "*")] {
            let permissions = [permission(permissions)].into_iter().collect();
            let member =
                MemberChange { account: account(id), user: "paul".parse().unwrap(), permissions, licence: Edit::Keep };
            self.operate(Command::AddMember(member)).await;
        }
        let (secret, imprint) = fresh();
        let id = format!("key_{}", imprint.kid.as_deref().unwrap()).parse().unwrap();
        let new = NewKey { user: Some("paul".parse().unwrap()), ..NewKey::bare(id, imprint, Kind::User) };
        let key = self.mint(new).await;
        (secret, key)
    }

    async fn seen(&self, secret: &Secret, address: u8, agent: &[u8], route: &str, place: Option<&AccountId>) {
        let caller = Caller { address: [192, 0, 2, address].into(), agent, route, account: place };
        self.keyring.used(&self.verify(secret).await.unwrap(), secret, &caller);
    }

    async fn report(&self) -> Vec<Legacy> {
        match self.operate(Command::ShowMigration(0, 100)).await {
            Outcome::Migration(keys) => keys,
            other => panic!("{other:?}"),
        }
    }

    async fn replace(
        &self,
        key: &Key,
        kind: Kind,
        accounts: &[&str],
        change: impl FnOnce(&mut Replacement<Imprint>),
    ) -> Result<(Replaced, Vec<Secret>), Problem> {
        let (secrets, imprints): (Vec<_>, Vec<_>) = accounts.iter().map(|_| fresh()).unzip();
        let new = |(id, imprint): (&&str, Imprint)| {
            (account(id), format!("key_{}", imprint.kid.as_deref().unwrap()).parse().unwrap(), imprint)
        };
        let keys = accounts.iter().zip(imprints).map(new).collect();
        let (name, permissions, expires_at) = (None, None, None);
        let mut wanted =
            Replacement { key: key.id.clone(), kind, keys, name, permissions, expires_at, old: Old::Stays };
        change(&mut wanted);
        match self.keyring.operate(&By::KEYWARD, Command::ReplaceKey(Box::new(wanted))).await? {
            Outcome::Replaced(replaced) => Ok((*replaced, secrets)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_users_key_is_reported_with_all_it_was_seen_to_do_and_no_other_key_is() {
    let ring = ring().await;
    ring.keyring.name_routes(vec![NamedRoute { name: "jobs".into(), permission: None }]);
    let (secret, key) = ring.legacy().await;
    let (other, _) = ring.remembered().await;
    let (one, two) = (account("101"), account("102"));
    for (address, agent, route, place) in [
        (7, "curl/8", "jobs", Some(&one)),
        (7, "curl/8", "jobs", Some(&two)),
        (8, "go", "old", Some(&one)),
        (8, "go", "old", None),
    ] {
        ring.seen(&secret, address, agent.as_bytes(), route, place).await;
        ring.seen(&other, address, agent.as_bytes(), route, place).await;
    }
    let report = ring.report().await;
    let [told] = &report[..] else { panic!("{report:?}") };
    assert_eq!(told.key.id, key.id);
    let mut accounts: Vec<_> = told.accounts.iter().map(|one| (one.id.as_str(), one.seen.count)).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, [("101", 2), ("102", 1)]);
    let mut routes: Vec<_> = told.routes.iter().map(|one| (one.id.as_str(), one.named, one.seen.count)).collect();
    routes.sort_unstable();
    assert_eq!(routes, [("jobs", true, 2), ("old", false, 2)]);
    assert_eq!((told.addresses.len(), told.user_agents.len(), told.more), (2, 2, None));
    // It is kept.
    let ring = ring.again(|_| ()).await;
    assert_eq!(ring.report().await[0].accounts, told.accounts);
    ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
    assert_eq!(ring.report().await, []);
}

#[tokio::test]
async fn what_should_take_its_place_follows_one_plain_rule() {
    let ring = ring().await;
    let (one, two) = (account("101"), account("102"));
    type Use<'a> = (u8, &'a [u8], Option<&'a AccountId>);
    let cases: [(&[Use<'_>], Option<Kind>, &[&str]); 6] = [
        (&[], None, &[]),
        (&[(7, b"curl/8", Some(&one))], Some(Kind::Personal), &["101"]),
        (&[(7, b"curl/8", Some(&one)), (8, b"curl/8", Some(&one))], Some(Kind::Service), &["101"]),
        (&[(7, BROWSER, Some(&one)), (8, b"curl/8", Some(&two))], Some(Kind::Personal), &["101", "102"]),
        (&[(7, b"curl/8", None)], Some(Kind::Personal), &["101", "102"]),
        // More than are told apart, so they are several.
        (
            &[
                (7, b"1", Some(&one)),
                (7, b"2", Some(&one)),
                (7, b"3", Some(&one)),
                (7, b"4", Some(&one)),
                (7, b"5", Some(&one)),
            ],
            Some(Kind::Service),
            &["101"],
        ),
    ];
    for (uses, with, accounts) in cases {
        let (secret, key) = ring.legacy().await;
        for (address, agent, place) in uses {
            ring.seen(&secret, *address, agent, "any", *place).await;
        }
        let report = ring.report().await;
        let advice = &report.iter().find(|one| one.key.id == key.id).unwrap().advice;
        let mut told: Vec<_> = advice.accounts.iter().map(AccountId::as_str).collect();
        told.sort_unstable();
        assert_eq!((advice.with, &told[..]), (with, accounts), "{uses:?}: {advice:?}");
    }
}

#[tokio::test]
async fn a_key_is_replaced_in_one_step_with_no_more_than_it_needs() {
    let ring = ring().await;
    let rule = |name: &str, asks: &str| NamedRoute { name: name.into(), permission: Some(permission(asks)) };
    ring.keyring.name_routes(vec![rule("jobs", "jobs:run"), rule("users", "users:read")]);
    let (secret, key) = ring.legacy().await;
    for route in ["jobs", "users"] {
        ring.seen(&secret, 7, b"curl/8", route, Some(&account("102"))).await;
    }
    let (replaced, secrets) = ring.replace(&key, Kind::Service, &["101", "102"], |_| ()).await.unwrap();
    let granted: Vec<_> = replaced.keys.iter().map(|key| (key.user.clone(), key.permissions.to_string())).collect();
    assert_eq!(granted, [(None, "jobs:run".to_owned()), (None, "jobs:run,users:read".to_owned())]);
    for new in &secrets {
        assert_eq!(ring.refusal(new).await, None);
    }
    assert_eq!((ring.refusal(&secret).await, replaced.old.expires_at), (None, None));
    let done = ring.noted(Action::KeyReplace).await;
    let made: Vec<_> = replaced.keys.iter().map(|new| new.id.as_str()).collect();
    assert_eq!((done.len(), &done[0].details["made"]), (1, &made.into()));
    for new in &replaced.keys {
        let made = ring.audit(AuditFilter { key: Some(new.id.clone()), ..AuditFilter::default() }).await;
        let told: Vec<_> = made.iter().map(|entry| (entry.action, &entry.account, &entry.details["because"])).collect();
        assert_eq!(told, [(Action::KeyMint, &new.account, &"key.replace".into())]);
    }

    let end = Clock::System.now().plus(Duration::from_secs(3600));
    let (replaced, _) =
        ring.replace(&key, Kind::Personal, &["101"], |wanted| wanted.old = Old::Expires(end)).await.unwrap();
    let personal = &replaced.keys[0];
    assert_eq!((personal.user.as_ref().unwrap().as_str(), replaced.old.expires_at), ("paul", Some(end)));
    // An end that it has already is not put off.
    let later = Old::Expires(end.plus(Duration::from_secs(3600)));
    let (replaced, _) = ring.replace(&key, Kind::Personal, &["101"], |wanted| wanted.old = later).await.unwrap();
    assert_eq!(replaced.old.expires_at, Some(end));
    ring.replace(&key, Kind::Personal, &["101"], |wanted| wanted.old = Old::Revoked).await.unwrap();
    assert_eq!(ring.refusal(&secret).await, Some(REVOKED));
}

#[tokio::test]
async fn where_what_it_needs_is_not_known_a_replacement_may_what_the_old_key_may() {
    let ring = ring().await;
    let (secret, key) = ring.legacy().await;
    ring.seen(&secret, 7, b"curl/8", "no setting names it", Some(&account("101"))).await;
    let (replaced, _) = ring.replace(&key, Kind::Service, &["101"], |_| ()).await.unwrap();
    assert_eq!(replaced.keys[0].permissions.to_string(), "jobs:*");
    let (replaced, _) = ring.replace(&key, Kind::Personal, &["101"], |_| ()).await.unwrap();
    assert!(replaced.keys[0].permissions.is_empty(), "its user's, as they are now");
    let said =
        |wanted: &mut Replacement<Imprint>| wanted.permissions = Some([permission("jobs:read")].into_iter().collect());
    let (replaced, _) = ring.replace(&key, Kind::Service, &["101"], said).await.unwrap();
    assert_eq!(replaced.keys[0].permissions.to_string(), "jobs:read");
}

#[tokio::test]
async fn a_replacement_that_does_not_fit_makes_no_key_and_leaves_the_old_one() {
    let ring = ring().await;
    let (secret, key) = ring.legacy().await;
    let (_, service) = ring.remembered().await;
    let revoke = |wanted: &mut Replacement<Imprint>| wanted.old = Old::Revoked;
    let count = async || match ring.operate(Command::ListKeys(crate::store::KeyFilter::default())).await {
        Outcome::Keys(keys) => keys.len(),
        other => panic!("{other:?}"),
    };
    let before = count().await;
    assert!(matches!(ring.replace(&key, Kind::Service, &["101", "999"], revoke).await, Err(Problem::NotFound { .. })));
    assert!(matches!(ring.replace(&service, Kind::Service, &["101"], revoke).await, Err(Problem::Conflict(..))));
    for (kind, accounts) in [(Kind::User, &["101"][..]), (Kind::Service, &[]), (Kind::Service, &["101", "101"])] {
        assert!(matches!(ring.replace(&key, kind, accounts, revoke).await, Err(Problem::Invalid(_))), "{kind}");
    }
    let wide = |wanted: &mut Replacement<Imprint>| {
        wanted.permissions = Some([permission("users:read")].into_iter().collect());
        wanted.old = Old::Revoked;
    };
    assert!(matches!(ring.replace(&key, Kind::Service, &["101"], wide).await, Err(Problem::Conflict(..))));
    let bounded =
        KeyChange { permissions: Some([permission("jobs:run")].into_iter().collect()), ..KeyChange::default() };
    ring.operate(Command::ChangeKey(key.id.clone(), Box::new(bounded), None)).await;
    let unbound = |wanted: &mut Replacement<Imprint>| wanted.permissions = Some(Permissions::default());
    assert!(matches!(ring.replace(&key, Kind::Personal, &["101"], unbound).await, Err(Problem::Conflict(..))));
    let past = |wanted: &mut Replacement<Imprint>| wanted.expires_at = Some(Timestamp::from_millis(0));
    assert!(matches!(ring.replace(&key, Kind::Service, &["101"], past).await, Err(Problem::Invalid(_))));
    assert_eq!((count().await, ring.refusal(&secret).await), (before, None));
}

//! The cases themselves; each gets a fresh, empty store.

use super::*;

pub(super) async fn an_unknown_digest_is_answered_with_the_logs_position(store: &Store) {
    furnish(store).await;
    let loaded = store.load(digest(ONE)).await.unwrap();
    assert_eq!(loaded.standing, None);
    assert_eq!(loaded.as_of, head(store).await);
    assert!(loaded.as_of > 0);
}

pub(super) async fn a_minted_key_is_found_as_it_was_written(store: &Store) {
    furnish(store).await;
    let draft = Draft {
        name: "nightly, and \"quoted\"".into(),
        permissions: permissions(&["jobs:run", "users:read"]),
        allowed_ips: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        not_before: Some(NOW),
        expires_at: Some(NOW.plus(Duration::from_secs(60))),
        ..service("key_1", ONE)
    };
    let key = store.mint(draft.clone(), NOW).await.unwrap().record;
    assert_eq!((key.kind, key.state, key.generation), (Kind::Service, KeyState::Active, 1));
    assert_eq!((&key.name, &key.hint, key.created_at), (&draft.name, &"ient".to_owned(), NOW));
    assert_eq!((&key.allowed_ips, key.expires_at), (&draft.allowed_ips, draft.expires_at));
    assert_eq!(store.key("key_1".parse().unwrap()).await.unwrap(), Some(key.clone()));
    let found = standing(store, ONE).await.unwrap();
    assert_eq!((found.serial, &found.id), (key.serial, &key.id));
    assert_eq!(found.account, Some(("101".parse().unwrap(), AccountState::Active)));
    assert_eq!((found.permissions, found.allowed_ips), (draft.permissions, draft.allowed_ips));
    assert_eq!((found.not_before, found.expires_at), (draft.not_before, draft.expires_at));
}

pub(super) async fn every_change_is_told_by_the_log(store: &Store) {
    furnish(store).await;
    let (paul, account) = (Subject::User("paul".into()), Subject::Account("101".into()));
    let key = "key_1".parse::<KeyId>().unwrap();

    let at = head(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    assert_eq!(told(store, at).await, [of_secret(ONE)]);

    let at = head(store).await;
    store.set_key_state(key.clone(), KeyState::Suspended, None, NOW).await.unwrap();
    assert_eq!(told(store, at).await, [of_secret(ONE)]);

    let at = head(store).await;
    store.rotate(key.clone(), secret(TWO), Rotation::IMMEDIATE, NOW).await.unwrap();
    let news = told(store, at).await;
    assert!(news.contains(&of_secret(ONE)) && news.contains(&of_secret(TWO)), "{news:?}");

    // A secret that is retired is refused whatever else is said of its key: nobody is to make a change of thousands of lines.
    let at = head(store).await;
    let narrower = KeyChange { permissions: Some(Permissions::default()), ..KeyChange::state(KeyState::Active) };
    store.change_key(key.clone(), narrower, None, NOW).await.unwrap();
    assert_eq!(told(store, at).await, [of_secret(TWO)]);

    let at = head(store).await;
    store.set_key_state(key.clone(), KeyState::Revoked, None, NOW).await.unwrap();
    let news = told(store, at).await;
    assert!(news.contains(&of_secret(ONE)) && news.contains(&of_secret(TWO)), "{news:?}");

    let at = head(store).await;
    store.set_account_state("101".parse().unwrap(), AccountState::Suspended).await.unwrap();
    assert_eq!(told(store, at).await, [account]);

    let at = head(store).await;
    store.put_member(member("101", "paul", &[]).into()).await.unwrap();
    assert_eq!(told(store, at).await, std::slice::from_ref(&paul));

    let at = head(store).await;
    store.remove_member("101".parse().unwrap(), "paul".parse().unwrap()).await.unwrap();
    assert_eq!(told(store, at).await, [paul]);
}

pub(super) async fn the_position_of_a_change_is_the_position_it_is_seen_at(store: &Store) {
    furnish(store).await;
    let changed = store.mint(service("key_1", ONE), NOW).await.unwrap();
    assert_eq!(changed.head, head(store).await);
    let loaded = store.load(digest(ONE)).await.unwrap();
    assert_eq!(loaded.as_of, changed.head);
    assert!(loaded.standing.is_some());
    assert!(matches!(store.tail(changed.head + 1).await.unwrap().news, News::WentBack));
}

pub(super) async fn a_change_that_does_not_fit_changes_nothing(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    let at = head(store).await;
    let missing = |rejected: Rejected, expected: &str| match rejected {
        Rejected::Missing { what, id } => assert_eq!(format!("{what} {id}"), expected),
        other => panic!("{other}"),
    };
    let exists = |rejected: Rejected, expected: &str| match rejected {
        Rejected::Exists { what, id } => assert_eq!(format!("{what} {id}"), expected),
        other => panic!("{other}"),
    };
    exists(store.create_account("101".parse().unwrap(), None, NOW).await.unwrap_err(), "account 101");
    exists(store.create_user("paul".parse().unwrap(), UserChange::default(), NOW).await.unwrap_err(), "user paul");
    exists(store.mint(service("key_1", TWO), NOW).await.unwrap_err(), "key key_1");
    exists(store.mint(service("key_2", ONE), NOW).await.unwrap_err(), "key key_1");
    exists(
        store.rotate("key_1".parse().unwrap(), secret(ONE), Rotation::IMMEDIATE, NOW).await.unwrap_err(),
        "key key_1",
    );
    missing(
        store.rotate("key_9".parse().unwrap(), secret(TWO), Rotation::IMMEDIATE, NOW).await.unwrap_err(),
        "key key_9",
    );
    missing(
        store.set_key_state("key_9".parse().unwrap(), KeyState::Revoked, None, NOW).await.unwrap_err(),
        "key key_9",
    );
    missing(store.put_member(member("109", "paul", &[]).into()).await.unwrap_err(), "account 109");
    missing(store.put_member(member("101", "mary", &[]).into()).await.unwrap_err(), "user mary");
    let elsewhere = Draft { account: Some("109".parse().unwrap()), ..service("key_2", TWO) };
    missing(store.mint(elsewhere, NOW).await.unwrap_err(), "account 109");
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
    let outsider = of_user(Kind::Personal, Some("103"), "paul", "key_2", TWO);
    missing(store.mint(outsider, NOW).await.unwrap_err(), "member paul of 103");
    assert_eq!(told(store, at).await, [Subject::Account("103".into())], "only what fitted is told");
}

pub(super) async fn a_rotated_key_keeps_its_record_and_retires_its_secret(store: &Store) {
    furnish(store).await;
    let minted = store.mint(service("key_1", ONE), NOW).await.unwrap().record;
    store.set_key_state(minted.id.clone(), KeyState::Suspended, None, NOW).await.unwrap();
    let later = NOW.plus(Duration::from_secs(1));
    let rotated = store.rotate(minted.id.clone(), secret(TWO), Rotation::IMMEDIATE, later).await.unwrap().record;
    assert_eq!((rotated.serial, &rotated.id, rotated.generation), (minted.serial, &minted.id, 2));
    assert_eq!((rotated.rotated_at, rotated.state), (Some(later), KeyState::Suspended));
    assert_eq!(standing(store, ONE).await.unwrap().secret, Presented::Retired);
    assert_eq!(standing(store, TWO).await.unwrap().secret, Presented::Current);
    assert_eq!(store.keys(KeyFilter::default(), NOW).await.unwrap(), [rotated], "one key, however many secrets it had");
}

pub(super) async fn a_revoked_key_stays_revoked(store: &Store) {
    furnish(store).await;
    let id = store.mint(service("key_1", ONE), NOW).await.unwrap().record.id;
    for _ in 0..2 {
        let key = store.set_key_state(id.clone(), KeyState::Revoked, None, NOW).await.unwrap().record;
        assert_eq!(key.state, KeyState::Revoked);
    }
    for state in [KeyState::Active, KeyState::Suspended] {
        assert!(matches!(store.set_key_state(id.clone(), state, None, NOW).await, Err(Rejected::Conflict(..))));
    }
    assert!(matches!(store.rotate(id, secret(TWO), Rotation::IMMEDIATE, NOW).await, Err(Rejected::Conflict(..))));
    assert_eq!(standing(store, ONE).await.unwrap().state, KeyState::Revoked);
}

pub(super) async fn a_personal_key_sees_its_own_membership_and_ends_with_it(store: &Store) {
    furnish(store).await;
    store.mint(of_user(Kind::Personal, Some("101"), "paul", "key_1", ONE), NOW).await.unwrap();
    let places = standing(store, ONE).await.unwrap().memberships;
    assert_eq!(places, [("101".parse().unwrap(), AccountState::Active, permissions(&["jobs:run"]))]);
    let ended = store.remove_member("101".parse().unwrap(), "paul".parse().unwrap()).await.unwrap().record;
    assert_eq!(ended, member("101", "paul", &["jobs:run"]));
    let key = standing(store, ONE).await.unwrap();
    assert_eq!((key.state, key.memberships.len()), (KeyState::Revoked, 0));
    // Coming back does not bring the key back.
    store.put_member(ended.into()).await.unwrap();
    assert_eq!(standing(store, ONE).await.unwrap().state, KeyState::Revoked);
}

pub(super) async fn a_user_key_sees_every_membership(store: &Store) {
    furnish(store).await;
    store.mint(of_user(Kind::User, None, "paul", "key_1", ONE), NOW).await.unwrap();
    store.set_account_state("102".parse().unwrap(), AccountState::Suspended).await.unwrap();
    let key = standing(store, ONE).await.unwrap();
    let places: Vec<_> = key.memberships.iter().map(|(account, state, _)| (account.as_str(), *state)).collect();
    assert_eq!(places, [("101", AccountState::Active), ("102", AccountState::Suspended)]);
    assert_eq!(key.account, None);
}

pub(super) async fn a_suspended_account_is_seen_by_its_keys(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    for state in [AccountState::Suspended, AccountState::Active] {
        store.set_account_state("101".parse().unwrap(), state).await.unwrap();
        assert_eq!(standing(store, ONE).await.unwrap().account.unwrap().1, state);
    }
}

pub(super) async fn an_import_is_all_or_nothing(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    let at = head(store).await;
    let thief = Draft { account: Some("102".parse().unwrap()), ..service("key_3", ONE) };
    let rows = vec![service("key_2", TWO), thief];
    let Err(Rejected::Conflict(_, why)) = store.import(rows.clone(), NOW).await else { panic!("imported") };
    assert!(why.starts_with("row 2: "), "{why}");
    assert_eq!((head(store).await, standing(store, TWO).await), (at, None));
    // Large enough to take the other way: that one must clean up after itself too.
    let mut many: Vec<_> = (0..600).map(|at| service(&format!("many_{at}"), &format!("{THREE}-{at}"))).collect();
    many.extend(rows);
    assert!(store.import(many, NOW).await.is_err());
    assert_eq!(head(store).await, at);
    store.set_key_state("key_1".parse().unwrap(), KeyState::Suspended, None, NOW).await.unwrap();
    assert_eq!(told(store, at).await, [of_secret(ONE)], "changes are told one by one again");
}

pub(super) async fn an_import_makes_what_its_rows_need(store: &Store) {
    store.create_account("101".parse().unwrap(), None, NOW).await.unwrap();
    let rows = || {
        vec![
            service("key_1", ONE),
            of_user(Kind::Personal, Some("201"), "mary", "key_2", TWO),
            of_user(Kind::User, Some("201"), "paul", "key_3", THREE),
            of_user(Kind::User, Some("202"), "paul", "key_4", THREE),
        ]
    };
    let made = store.import(rows(), NOW).await.unwrap().record;
    assert_eq!(made, Imported { keys: 3, already: 1, accounts: 2, users: 2 });
    assert_eq!(standing(store, TWO).await.unwrap().memberships.len(), 1);
    let legacy = standing(store, THREE).await.unwrap();
    assert_eq!((legacy.account, legacy.memberships.len()), (None, 2), "each row of a user key adds an account");
    let again = store.import(rows(), NOW).await.unwrap().record;
    assert_eq!(again, Imported { keys: 0, already: 4, accounts: 0, users: 0 });
    assert!(store.members(MemberFilter::default()).await.unwrap().iter().all(|member| member.permissions.is_empty()));
}

pub(super) async fn a_tried_import_tells_every_rows_fate_and_changes_nothing(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    let at = head(store).await;
    let thief = Draft { account: Some("103".parse().unwrap()), ..service("key_2", ONE) };
    let newcomer = Draft { account: Some("104".parse().unwrap()), ..service("key_4", TWO) };
    let rows = vec![thief.clone(), service("key_3", ONE), newcomer, thief];
    let told = store.try_import(rows.clone(), NOW).await.unwrap();
    let refused = Fate::Refused("the same secret is another owner's key already".into());
    assert_eq!(told.fates, [refused.clone(), Fate::Already, Fate::Adopted, refused]);
    assert_eq!((told.accounts, told.users), (1, 0));
    assert_eq!((head(store).await, standing(store, TWO).await), (at, None));
    assert_eq!(store.try_import(rows, NOW).await.unwrap(), told);
    assert_eq!(store.accounts(Slice::ALL).await.unwrap().len(), 2);
}

pub(super) async fn an_imported_secret_with_a_foreign_checksum_registers_its_prefix(store: &Store) {
    furnish(store).await;
    let foreign = format!("dbtu_{}", "x".repeat(50));
    let at = head(store).await;
    store.import(vec![service("key_1", &foreign), service("key_2", ONE)], NOW).await.unwrap();
    assert_eq!(store.adopted_prefixes().await.unwrap(), ["dbtu".parse().unwrap()]);
    assert!(told(store, at).await.contains(&Subject::Prefixes));
}

pub(super) async fn a_large_import_is_one_entry_of_the_log(store: &Store) {
    furnish(store).await;
    let at = head(store).await;
    let rows = (0..1000).map(|at| service(&format!("key_{at}"), &format!("{ONE}-{at}"))).collect();
    let changed = store.import(rows, NOW).await.unwrap();
    assert_eq!((changed.record.keys, changed.head), (1000, at + 1));
    assert_eq!(told(store, at).await, [Subject::Everything]);
}

pub(super) async fn a_later_use_replaces_an_earlier_one_only(store: &Store) {
    furnish(store).await;
    let serial = store.mint(service("key_1", ONE), NOW).await.unwrap().record.serial;
    let at = head(store).await;
    let last_used = async || store.key("key_1".parse().unwrap()).await.unwrap().unwrap().last_used_at;
    assert_eq!(last_used().await, None);
    let (early, late) = (NOW.plus(Duration::from_secs(1)), NOW.plus(Duration::from_secs(2)));
    for at in [late, early] {
        store.record_uses(vec![(serial, at), (999_999, at)]).await.unwrap();
        assert_eq!(last_used().await, Some(late));
    }
    assert_eq!(head(store).await, at, "a use is no change");
}

pub(super) async fn lists_show_what_matches(store: &Store) {
    furnish(store).await;
    store.mint(service("key_1", ONE), NOW).await.unwrap();
    store.mint(of_user(Kind::Personal, Some("101"), "paul", "key_2", TWO), NOW).await.unwrap();
    store.mint(of_user(Kind::User, None, "paul", "key_3", THREE), NOW).await.unwrap();
    let (account, user) = (Some("101".parse().unwrap()), Some("paul".parse().unwrap()));
    let cases: [(KeyFilter, &[&str]); 6] = [
        (KeyFilter::default(), &["key_1", "key_2", "key_3"]),
        (KeyFilter { account: account.clone(), ..KeyFilter::default() }, &["key_1", "key_2"]),
        (KeyFilter { user: user.clone(), ..KeyFilter::default() }, &["key_2", "key_3"]),
        (KeyFilter { kind: Some(Kind::User), ..KeyFilter::default() }, &["key_3"]),
        (KeyFilter { account, user, kind: Some(Kind::Personal), ..KeyFilter::default() }, &["key_2"]),
        (KeyFilter { account: Some("102".parse().unwrap()), ..KeyFilter::default() }, &[]),
    ];
    for (filter, expected) in cases {
        let shown = store.keys(filter.clone(), NOW).await.unwrap();
        let shown: Vec<_> = shown.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(shown, expected, "{filter:?}");
    }
    assert_eq!(
        store.members(MemberFilter::default()).await.unwrap(),
        [member("101", "paul", &["jobs:run"]), member("102", "paul", &["*"])]
    );
    let of_102 = MemberFilter { account: Some("102".parse().unwrap()), ..MemberFilter::default() };
    assert_eq!(store.members(of_102).await.unwrap().len(), 1);
    assert_eq!((store.accounts(Slice::ALL).await.unwrap().len(), store.users(Slice::ALL).await.unwrap().len()), (2, 1));
}

pub(super) async fn lists_come_by_pages_and_by_status(store: &Store) {
    furnish(store).await;
    let later = NOW.plus(Duration::from_secs(60));
    let drafts = [
        service("key_1", "a-secret-of-a-living-key"),
        Draft { not_before: Some(later), ..service("key_2", "a-secret-of-a-later-key") },
        Draft { expires_at: Some(NOW), ..service("key_3", "a-secret-of-an-expired-key") },
        service("key_4", "a-secret-of-a-disabled-key"),
        service("key_5", "a-secret-of-a-revoked-key"),
        // What is over is told before what was done to it, unless that was for good.
        Draft { expires_at: Some(NOW), ..service("key_6", "a-secret-of-a-disabled-and-expired-key") },
    ];
    for draft in drafts {
        store.mint(draft, NOW).await.unwrap();
    }
    for (id, state) in [("key_4", KeyState::Suspended), ("key_5", KeyState::Revoked), ("key_6", KeyState::Suspended)] {
        store.set_key_state(id.parse().unwrap(), state, None, NOW).await.unwrap();
    }
    let list = async |filter: KeyFilter| store.keys(filter, NOW).await.unwrap();
    for (status, expected) in [
        (Status::Active, &["key_1"][..]),
        (Status::NotYetValid, &["key_2"]),
        (Status::Expired, &["key_3", "key_6"]),
        (Status::Disabled, &["key_4"]),
        (Status::Revoked, &["key_5"]),
    ] {
        let shown = list(KeyFilter { status: Some(status), ..KeyFilter::default() }).await;
        assert!(shown.iter().all(|key| key.status_at(NOW) == status), "{status}");
        assert_eq!(shown.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), expected, "{status}");
    }
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = list(KeyFilter { after, most: Some(4), ..KeyFilter::default() }).await;
        let Some(last) = page.last() else { break };
        after = Some(last.serial);
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(pages.concat(), list(KeyFilter::default()).await);
}

pub(super) async fn a_change_asked_for_what_was_seen_is_made_to_nothing_else(store: &Store) {
    furnish(store).await;
    let key = store.mint(service("key_1", ONE), NOW).await.unwrap().record;
    let seen = |key: &Key| Some(vec![key.seen_at(NOW)]);
    let suspended = store.set_key_state(key.id.clone(), KeyState::Suspended, seen(&key), NOW).await.unwrap().record;
    let late = store.set_key_state(key.id.clone(), KeyState::Active, seen(&key), NOW).await;
    assert!(matches!(late, Err(Rejected::Conflict(Clash::Seen, _))));
    assert_eq!(store.key(key.id.clone()).await.unwrap(), Some(suspended.clone()));
    assert!(store.set_key_state(key.id, KeyState::Active, seen(&suspended), NOW).await.is_ok());
}

pub(super) async fn accounts_and_users_have_numbers_and_what_is_said_of_them(store: &Store) {
    furnish(store).await;
    let line = |text: &str| text.parse::<Line>().unwrap();
    let id = |text: &str| text.parse::<AccountId>().unwrap();
    let acme = store.create_account(id("acme"), Some(line("Acme, Inc.")), NOW).await.unwrap().record;
    assert_eq!((acme.serial, &acme.name, acme.state), (3, &Some(line("Acme, Inc.")), AccountState::Active));
    assert_eq!(store.account(id("acme")).await.unwrap(), Some(acme.clone()));
    let suspended = store.set_account_state(id("acme"), AccountState::Suspended).await.unwrap().record;
    assert_eq!(suspended, Account { state: AccountState::Suspended, ..acme.clone() });
    let at = head(store).await;
    let unnamed = AccountChange { name: Edit::Clear, state: None };
    let changed = store.change_account(id("acme"), unnamed.clone()).await.unwrap().record;
    assert_eq!(changed, Account { name: None, ..suspended });
    assert!(matches!(store.change_account(id("999"), unnamed).await, Err(Rejected::Missing { .. })));

    let mary = "mary".parse::<UserId>().unwrap();
    let said = UserChange { name: Edit::Set(line("Mary")), email: Edit::Set(line("mary@example.com")) };
    let made = store.create_user(mary.clone(), said, NOW).await.unwrap().record;
    assert_eq!((made.serial, &made.name, &made.email), (2, &Some(line("Mary")), &Some(line("mary@example.com"))));
    let moved = UserChange { email: Edit::Set(line("mary@example.org")), ..UserChange::default() };
    let changed = store.change_user(mary.clone(), moved.clone()).await.unwrap().record;
    assert_eq!(changed, User { email: Some(line("mary@example.org")), ..made });
    assert_eq!(store.user(mary).await.unwrap(), Some(changed));
    assert!(matches!(store.change_user("nobody".parse().unwrap(), moved).await, Err(Rejected::Missing { .. })));
    assert_eq!(head(store).await, at, "no look-up reads what was said");
}

pub(super) async fn the_directory_comes_by_pages(store: &Store) {
    furnish(store).await;
    let ids = ["a", "b", "c"].map(|id| id.parse::<UserId>().unwrap());
    for id in &ids {
        store.create_user(id.clone(), UserChange::default(), NOW).await.unwrap();
        store.put_member(member("101", id.as_str(), &[]).into()).await.unwrap();
    }
    let (after, most) = (Some(ids[0].clone()), Some(2));
    let users = store.users(Slice { after: after.clone(), most }).await.unwrap();
    assert_eq!(users.iter().map(|user| &user.id).collect::<Vec<_>>(), [&ids[1], &ids[2]]);
    let filter = MemberFilter { account: Some("101".parse().unwrap()), after, most, user: None };
    let members = store.members(filter).await.unwrap();
    assert_eq!(members.iter().map(|member| &member.user).collect::<Vec<_>>(), [&ids[1], &ids[2]]);
    let of_paul = MemberFilter { user: Some("paul".parse().unwrap()), ..MemberFilter::default() };
    let places = store.members(of_paul).await.unwrap();
    assert_eq!(places, [member("101", "paul", &["jobs:run"]), member("102", "paul", &["*"])]);
    let last = store.accounts(Slice { after: Some("101".parse().unwrap()), most: Some(5) }).await.unwrap();
    assert_eq!(last.iter().map(|account| account.id.as_str()).collect::<Vec<_>>(), ["102"]);
}

pub(super) async fn a_lost_operator_key_is_replaced(store: &Store) {
    assert!(!store.has_operator().await.unwrap());
    store.first_operator(operator("op_1", ONE), NOW).await.unwrap();
    assert!(store.has_operator().await.unwrap());
    let second = store.first_operator(operator("op_2", TWO), NOW).await;
    assert!(matches!(second, Err(Rejected::Conflict(Clash::State, _))), "{second:?}");
    store.reset_operator(operator("op_2", TWO), NOW).await.unwrap();
    assert_eq!(standing(store, ONE).await.unwrap().state, KeyState::Revoked);
    assert_eq!(standing(store, TWO).await.unwrap().state, KeyState::Active);
    assert!(store.reset_operator(operator("op_3", TWO), NOW).await.is_err());
    assert_eq!(standing(store, TWO).await.unwrap().state, KeyState::Active, "a reset that fails revokes nothing");
}

pub(super) async fn a_trimmed_log_says_so(store: &Store) {
    furnish(store).await;
    let soon = Timestamp::from_millis(0);
    assert_eq!(store.trim(soon).await.unwrap(), 0, "what is young stays");
    let far = Timestamp::from_millis(i64::MAX / 2);
    assert!(store.trim(far).await.unwrap() > 0);
    assert!(matches!(store.tail(0).await.unwrap().news, News::Gone));
    let at = head(store).await;
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
    assert_eq!(head(store).await, at + 1, "positions go on where they were");
    assert_eq!(told(store, at).await.len(), 1);
}

pub(super) async fn a_request_that_was_answered_meanwhile_changes_nothing(store: &Store) {
    furnish(store).await;
    let later = Timestamp::from_millis(NOW.as_millis() + 600_000);
    let under = |request: u8, now: Timestamp| {
        let kept = Kept { name: [7; 32], request: [request; 32], sealed: vec![request], until: later };
        let note = Note::new(By::KEYWARD, now, Action::KeyMint);
        store.along(Along { note: Some(note), kept: Some(kept) })
    };
    under(1, NOW).mint(service("key_1", ONE), NOW).await.unwrap();
    let (at, clash) = (head(store).await, |minted| match minted {
        Err(Rejected::Conflict(clash, _)) => clash,
        other => panic!("{other:?}"),
    });
    // As another replica would, which looked before the first was done.
    assert_eq!(clash(under(1, NOW).mint(service("key_2", TWO), NOW).await), Clash::Running);
    assert_eq!(clash(under(2, NOW).mint(service("key_2", TWO), NOW).await), Clash::Reused);
    assert_eq!((head(store).await, standing(store, TWO).await), (at, None));
    assert_eq!(store.kept([7; 32], NOW).await.unwrap().unwrap().0.sealed, [1], "the first one's answer stands");
    under(2, later).mint(service("key_2", TWO), later).await.unwrap();
}

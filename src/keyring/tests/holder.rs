//! What holders of keys are held to: how many, under which licence, until when.

use super::*;
use crate::key::rotation::Mode;
use crate::store::{Clash, KeyChange, MemberFilter, Which, Words};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOT_A_MEMBER: Refusal = Refusal::KeyInvalid(Invalid::NotAMember);

async fn held_to(policy: Policy) -> (Ring, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    (ring_under(policy, Clock::Manual(clock.clone()), |_, _| ()).await, clock)
}

fn slots(per_holder: u32) -> Policy {
    Policy { per_holder, ..Policy::default() }
}

fn developers() -> Policy {
    Policy { licences: vec!["developer".parse().unwrap(), "it".parse().unwrap()], ..Policy::default() }
}

fn of_user() -> (Secret, NewKey) {
    let (secret, imprint) = fresh();
    (secret, new_key(Kind::User, None, Some("paul"), imprint))
}

impl Ring {
    async fn refused(&self, command: Command) -> Problem {
        self.keyring.operate(&By::KEYWARD, command).await.unwrap_err()
    }

    async fn not_minted(&self, new: NewKey) -> Problem {
        self.refused(Command::MintKey(Box::new(new))).await
    }

    async fn is_full(&self, new: NewKey) -> bool {
        matches!(self.not_minted(new).await, Problem::LimitReached(_, 2))
    }

    async fn is_unlicensed(&self, new: NewKey) -> bool {
        matches!(self.not_minted(new).await, Problem::Conflict(Clash::Licence, _))
    }

    async fn end(&self, key: &Key) {
        self.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
    }

    async fn licensed(&self, account: &str, licence: Edit<&str>) {
        let licence = match licence {
            Edit::Keep => Edit::Keep,
            Edit::Clear => Edit::Clear,
            Edit::Set(text) => Edit::Set(text.parse().unwrap()),
        };
        self.operate(Command::AddMember(MemberChange { licence, ..member(account) })).await;
    }
}

fn rotate(key: &Key, mode: Mode, expires_at: Edit<Timestamp>) -> Command {
    Command::RotateKey(key.id.clone(), fresh().1, Rotation { mode, expires_at, ..Rotation::IMMEDIATE })
}

fn expire(key: &Key, expires_at: Edit<Timestamp>) -> Command {
    Command::ChangeKey(key.id.clone(), Box::new(KeyChange { expires_at, ..KeyChange::default() }), None)
}

#[tokio::test]
async fn rule_6_a_rotation_needs_no_free_slot_and_another_key_does() {
    let (ring, _) = held_to(slots(2)).await;
    let (one, _) = (ring.mint(personal().1).await, ring.mint(personal().1).await);
    assert!(ring.is_full(personal().1).await);
    // Another account is another holder, and so is the user by themselves.
    let elsewhere = |imprint| new_key(Kind::Personal, Some("102"), Some("paul"), imprint);
    ring.mint(elsewhere(fresh().1)).await;
    ring.mint(of_user().1).await;
    ring.mint(of_user().1).await;
    assert!(ring.is_full(of_user().1).await);
    for _ in 0..3 {
        ring.mint(service().1).await;
        ring.mint(new_key(Kind::Operator, None, None, fresh().1)).await;
    }
    // A second secret takes no slot, whether it waits or is in grace.
    let hour = Duration::from_secs(3600);
    for mode in [Mode::FirstUse { within: hour, grace: hour }, Mode::Immediate, Mode::Grace(hour)] {
        ring.operate(rotate(&one, mode, Edit::Keep)).await;
        assert!(ring.is_full(personal().1).await, "{mode:?}");
    }
    ring.operate(Command::SetKeyState(one.id.clone(), KeyState::Suspended, None)).await;
    assert!(ring.is_full(personal().1).await, "one that may be resumed has its slot");
    ring.end(&one).await;
    ring.mint(personal().1).await;
    assert!(ring.is_full(personal().1).await);
}

#[tokio::test]
async fn rule_6_an_expired_key_has_no_slot_and_needs_one_to_come_back() {
    let (ring, clock) = held_to(slots(2)).await;
    let soon = Some(Timestamp::from_millis(1_000_000).plus(DAY));
    let short = ring.mint(NewKey { expires_at: soon, ..personal().1 }).await;
    let other = ring.mint(personal().1).await;
    assert!(ring.is_full(personal().1).await);
    clock.advance(DAY);
    let third = ring.mint(personal().1).await;
    let back = [expire(&short, Edit::Clear), rotate(&short, Mode::Immediate, Edit::Clear)];
    for command in back.clone() {
        assert!(matches!(ring.refused(command).await, Problem::LimitReached(..)));
    }
    ring.operate(rotate(&short, Mode::Immediate, Edit::Keep)).await;
    ring.end(&third).await;
    for command in back {
        ring.operate(command).await;
    }
    assert!(ring.is_full(personal().1).await);
    ring.end(&other).await;
    ring.mint(personal().1).await;
}

#[tokio::test]
async fn rule_6_two_who_mint_at_once_do_not_both_take_the_last_slot() {
    let ring = ring_under(slots(2), Clock::System, |_, _| ()).await;
    let mut minting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let keyring = Arc::clone(&ring.keyring);
        minting.spawn(async move { keyring.operate(&By::KEYWARD, Command::MintKey(Box::new(personal().1))).await });
    }
    let made = minting.join_all().await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
    assert!(made.iter().filter_map(|made| made.as_ref().err()).all(|why| matches!(why, Problem::LimitReached(_, 2))));
}

#[tokio::test]
async fn an_import_is_not_limited_and_counts() {
    let (ring, _) = held_to(slots(2)).await;
    let rows = (0..3).map(|_| personal().1).collect();
    ring.operate(Command::Import(rows)).await;
    assert!(ring.is_full(personal().1).await);
}

#[tokio::test]
async fn only_who_has_the_licence_holds_keys_and_whoever_loses_it_loses_them() {
    let (ring, _) = held_to(developers()).await;
    assert!(ring.is_unlicensed(personal().1).await && ring.is_unlicensed(of_user().1).await);
    ring.licensed("102", Edit::Set("read_only")).await;
    ring.licensed("101", Edit::Set("developer")).await;
    let elsewhere = new_key(Kind::Personal, Some("102"), Some("paul"), fresh().1);
    assert!(ring.is_unlicensed(elsewhere).await, "the licence of one account is none in another");
    let [own, across, machine] = [personal(), of_user(), service()];
    for (_, new) in [&own, &across, &machine] {
        ring.mint(new.clone()).await;
    }
    let reached = ring.verify(&across.0).await.unwrap().standing().memberships.clone();
    assert_eq!(reached.iter().map(|(account, ..)| account.as_str()).collect::<Vec<_>>(), ["101"]);
    // Another licence that will do, and none said at all, change nothing.
    for licence in [Edit::Set("it"), Edit::Keep] {
        ring.licensed("101", licence).await;
        assert_eq!((ring.refusal(&own.0).await, ring.refusal(&across.0).await), (None, None));
    }
    ring.licensed("101", Edit::Clear).await;
    assert_eq!((ring.refusal(&own.0).await, ring.refusal(&across.0).await), (Some(REVOKED), Some(NOT_A_MEMBER)));
    assert_eq!(ring.refusal(&machine.0).await, None);
    // A user key was not held in that account, so it comes back; a personal key does not.
    ring.licensed("102", Edit::Set("developer")).await;
    ring.licensed("101", Edit::Set("developer")).await;
    assert_eq!((ring.refusal(&own.0).await, ring.refusal(&across.0).await), (Some(REVOKED), None));
    assert_eq!(ring.verify(&across.0).await.unwrap().standing().memberships.len(), 2);
    let all = ring.keyring.store().members(MemberFilter::default()).await.unwrap();
    assert!(all.iter().all(|member| member.licence.as_ref().is_some_and(|licence| licence.as_str() == "developer")));
}

#[tokio::test]
async fn an_adopted_key_brings_the_licence_of_its_membership() {
    let (ring, _) = held_to(developers()).await;
    let row = |text, licence: Option<&str>| {
        let (secret, new) = foreign(text, Kind::Personal, Some("401"), Some(text));
        (secret, NewKey { licence: licence.map(|licence| licence.parse().unwrap()), ..new })
    };
    let rows = [row("an-old-key-of-mary", Some("developer")), row("an-old-key-of-somebody", None)];
    ring.operate(Command::Import(rows.iter().map(|(_, new)| new.clone()).collect())).await;
    assert_eq!(ring.refusal(&rows[0].0).await, None);
    assert_eq!(ring.refusal(&rows[1].0).await, Some(NOT_A_MEMBER));
}

#[tokio::test]
async fn a_setting_that_asks_for_a_licence_is_judged_at_every_look() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |policy: Policy| {
        let store = Store::open(&tests::config(&folder), [0; 8], Access::Create).unwrap().under(policy);
        Keyring::open(&small(), 1, store, Digester::default(), Clock::System, Handle::current()).await.unwrap()
    };
    let ([own, across], free) = ([personal(), of_user()], open(Policy::default()).await);
    free.operate(&By::KEYWARD, Command::CreateAccount("101".parse().unwrap(), None)).await.unwrap();
    free.operate(&By::KEYWARD, Command::CreateUser("paul".parse().unwrap(), Default::default())).await.unwrap();
    free.operate(&By::KEYWARD, Command::AddMember(member("101"))).await.unwrap();
    for (_, new) in [&own, &across] {
        free.operate(&By::KEYWARD, Command::MintKey(Box::new(new.clone()))).await.unwrap();
    }
    free.shutdown().await;
    drop(free);
    let strict = open(developers()).await;
    for (secret, _) in [&own, &across] {
        assert!(matches!(strict.verify(secret).await, Err(Denied::Refused(NOT_A_MEMBER))));
    }
    // What is read ahead says the same.
    let all = Which::NotUsedSince(Timestamp::from_millis(i64::MAX)).first();
    let (chunk, _) = strict.store().living(all, Words::many(), 10).await.unwrap();
    assert_eq!(chunk.keys.len(), 2);
    for (digest, key) in &chunk.keys {
        assert_eq!(strict.store().load(*digest).await.unwrap().standing.as_ref(), Some(key));
    }
    strict.shutdown().await;
    drop(strict);
    let free = open(Policy::default()).await;
    for (secret, _) in [&own, &across] {
        assert!(free.verify(secret).await.is_ok(), "nothing was ended");
    }
}

#[tokio::test]
async fn a_persons_key_expires_within_the_time_there_is() {
    let (ring, clock) = held_to(Policy { expiry_max: 30 * DAY, ..Policy::default() }).await;
    let now = Timestamp::from_millis(1_000_000);
    let too_long = |problem: &Problem| matches!(problem, Problem::ExpiryTooLong(_, 2_592_000));
    let late = now.plus(30 * DAY + Duration::from_millis(1));
    for expires_at in [None, Some(late)] {
        for new in [personal().1, of_user().1] {
            assert!(too_long(&ring.not_minted(NewKey { expires_at, ..new }).await), "{expires_at:?}");
        }
        ring.mint(NewKey { expires_at, ..service().1 }).await;
    }
    let last = now.plus(30 * DAY);
    let key = ring.mint(NewKey { expires_at: Some(last), ..personal().1 }).await;
    clock.advance(DAY);
    // A rotation by itself prolongs nothing; asked to, it goes as far as another key could.
    let Outcome::Key(rotated) = ring.operate(rotate(&key, Mode::Immediate, Edit::Keep)).await else { panic!() };
    assert_eq!((rotated.expires_at, &rotated.name), (Some(last), &key.name));
    let further = last.plus(DAY);
    for said in [Edit::Clear, Edit::Set(further.plus(Duration::from_millis(1)))] {
        assert!(too_long(&ring.refused(rotate(&key, Mode::Immediate, said)).await), "{said:?}");
        assert!(too_long(&ring.refused(expire(&key, said)).await), "{said:?}");
    }
    let said = Rotation { name: Some("new".to_owned()), expires_at: Edit::Set(further), ..Rotation::IMMEDIATE };
    let Outcome::Key(rotated) = ring.operate(Command::RotateKey(key.id.clone(), fresh().1, said)).await else {
        panic!()
    };
    assert_eq!((rotated.expires_at, rotated.name.as_str()), (Some(further), "new"));
    // What it has already it may keep, though it may be said again.
    ring.operate(expire(&key, Edit::Set(further))).await;
    let past = ring.refused(rotate(&key, Mode::Immediate, Edit::Set(now))).await;
    assert!(matches!(past, Problem::Invalid(_)), "{past:?}");
}

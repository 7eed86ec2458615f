//! What may be changed of a key, and how one tells that it was.

use super::*;
use crate::key::Seen;
use crate::key::rotation::Mode;
use crate::store::{Clash, KeyChange};

const GRACE: Mode = Mode::Grace(Duration::from_secs(3600));

impl Ring {
    async fn change(&self, key: &Key, change: KeyChange, seen: Option<Seen>) -> Result<Key, Problem> {
        let command = Command::ChangeKey(key.id.clone(), Box::new(change), seen.map(|seen| vec![seen]));
        match self.keyring.operate(&By::KEYWARD, command).await? {
            Outcome::Key(key) => Ok(*key),
            other => panic!("{other:?}"),
        }
    }

    async fn head(&self) -> u64 {
        self.keyring.store().tail(u64::MAX).await.unwrap().head
    }
}

fn now() -> Timestamp {
    Clock::System.now()
}

#[tokio::test]
async fn all_that_is_said_of_a_key_changes_together_and_holds_at_once() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    let permissions: Permissions = ["jobs:run".parse().unwrap()].into_iter().collect();
    let end = now().plus(Duration::from_secs(3600));
    let said = KeyChange {
        state: Some(KeyState::Active),
        name: Some("nightly".to_owned()),
        permissions: Some(permissions.clone()),
        allowed_ips: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        expires_at: Edit::Set(end),
    };
    let changed = ring.change(&key, said.clone(), Some(key.seen_at(now()))).await.unwrap();
    assert_eq!((changed.name.as_str(), &changed.permissions, changed.expires_at), ("nightly", &permissions, Some(end)));
    let verified = ring.verify(&secret).await.unwrap();
    let standing = verified.standing();
    assert_eq!((&standing.permissions, standing.allowed_ips.len(), standing.expires_at), (&permissions, 1, Some(end)));
    // What is left out stays, and what was seen before is no longer there.
    let free = ring.change(&key, KeyChange { expires_at: Edit::Clear, ..KeyChange::default() }, None).await.unwrap();
    assert_eq!((free.expires_at, free.name.as_str(), &free.permissions), (None, "nightly", &permissions));
    let late = ring.change(&key, said.clone(), Some(key.seen_at(now()))).await;
    assert!(matches!(late, Err(Problem::Conflict(Clash::Seen, _))));
    for bad in [
        KeyChange { name: Some("two\nlines".to_owned()), ..KeyChange::default() },
        KeyChange { expires_at: Edit::Set(Timestamp::from_millis(1)), ..KeyChange::default() },
    ] {
        assert!(matches!(ring.change(&key, bad, None).await, Err(Problem::Invalid(_))));
    }
    ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
    assert!(matches!(ring.change(&key, said, None).await, Err(Problem::Conflict(Clash::State, _))));
}

#[tokio::test]
async fn what_no_cache_holds_is_changed_without_telling_them() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let head = ring.head().await;
    let named = KeyChange { name: Some("nightly".to_owned()), ..KeyChange::default() };
    let changed = ring.change(&key, named.clone(), None).await.unwrap();
    assert_ne!(changed.seen_at(now()), key.seen_at(now()));
    assert_eq!(ring.change(&key, named, None).await.unwrap(), changed, "said again, it changes nothing");
    let call = |name: &str| crate::store::AccountChange { name: Edit::Set(name.parse().unwrap()), state: None };
    ring.operate(Command::ChangeAccount("101".parse().unwrap(), call("Acme"))).await;
    assert_eq!(ring.head().await, head);
}

#[tokio::test]
async fn every_step_of_a_rotation_can_be_told_by_what_is_seen() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    let (_, key) = ring.remembered().await;
    let start = Timestamp::from_millis(1_000_000);
    let mut seen = vec![key.seen_at(start)];
    let (first_use, hour) = (Mode::FirstUse { within: Duration::from_secs(3600), grace: Duration::ZERO }, 3600);
    let rotate = |mode| Command::RotateKey(key.id.clone(), fresh().1, Rotation { mode, ..Rotation::IMMEDIATE });
    for command in [
        rotate(GRACE),
        Command::CompleteRotation(key.id.clone()),
        rotate(GRACE),
        Command::CancelRotation(key.id.clone()),
        rotate(first_use),
        Command::CompleteRotation(key.id.clone()),
        rotate(first_use),
        Command::CancelRotation(key.id.clone()),
        rotate(GRACE),
    ] {
        let key = match ring.operate(command).await {
            Outcome::Key(key) => *key,
            Outcome::Completed(completed) => completed.key,
            other => panic!("{other:?}"),
        };
        seen.push(key.seen_at(start));
    }
    // The clock ends a grace, and is seen to.
    clock.advance(Duration::from_secs(hour));
    let Outcome::Key(key) = ring.operate(Command::ShowKey(key.id.clone())).await else { panic!("no key") };
    seen.push(key.seen_at(start.plus(Duration::from_secs(hour))));
    for (at, one) in seen.iter().enumerate() {
        assert!(!seen[..at].contains(one), "step {at}: {one:?} was seen before");
    }
}

#[tokio::test]
async fn a_first_use_can_be_told_by_what_is_seen() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let (new, imprint) = fresh();
    let mode = Mode::FirstUse { within: Duration::from_secs(3600), grace: Duration::ZERO };
    let rotation = Rotation { mode, ..Rotation::IMMEDIATE };
    let Outcome::Key(pending) = ring.operate(Command::RotateKey(key.id.clone(), imprint, rotation)).await else {
        panic!("no key")
    };
    ring.uses(&new).await;
    ring.until(async || {
        let Outcome::Key(key) = ring.operate(Command::ShowKey(key.id.clone())).await else { panic!("no key") };
        key.rotation.is_none() && key.version > pending.version
    })
    .await;
}

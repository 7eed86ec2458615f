//! Vigils: whoever has something open is told what became of its key.

use tokio::sync::Notify;

use super::*;

/// The next news, once the bell has rung for it.
async fn news(vigil: &Vigil, bell: &Notify) -> Result<Verified, Refusal> {
    let next = async {
        loop {
            if let Some(news) = vigil.news() {
                return news;
            }
            bell.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), next).await.expect("there is news")
}

/// A key in use: a vigil over it that has told that it is alive.
async fn in_use(ring: &Ring, secret: &Secret) -> (Vigil, Arc<Notify>, Verified) {
    let (verified, bell) = (ring.verify(secret).await.unwrap(), Arc::<Notify>::default());
    let vigil = ring.keyring.vigil(&verified, Arc::clone(&bell));
    assert!(news(&vigil, &bell).await.is_ok());
    (vigil, bell, verified)
}

#[tokio::test]
async fn whatever_ends_a_key_is_told_to_who_uses_it_and_to_nobody_else() {
    let ring = ring().await;
    let (other, _) = ring.remembered().await;
    let (other, other_bell, _) = in_use(&ring, &other).await;
    let rotated = Refusal::KeyInvalid(Invalid::Rotated);
    for ended in [Some(REVOKED), Some(rotated.clone()), Some(Refusal::KeyDisabled), None] {
        let (secret, key) = ring.remembered().await;
        let (vigil, bell, _) = in_use(&ring, &secret).await;
        let command = match &ended {
            Some(ended) if *ended == rotated => Command::RotateKey(key.id, an_imprint(), Rotation::IMMEDIATE),
            Some(Refusal::KeyDisabled) => Command::SetKeyState(key.id, KeyState::Suspended, None),
            Some(_) => Command::SetKeyState(key.id, KeyState::Revoked, None),
            None => Command::SetAccountState("101".parse().unwrap(), AccountState::Suspended),
        };
        ring.operate(command).await;
        let last = ended.is_none();
        let expected = ended.unwrap_or(Refusal::AccountSuspended);
        assert_eq!(news(&vigil, &bell).await.map(|_| ()), Err(expected));
        assert_eq!(vigil.doubted_since(), None);
        assert!(last || other.news().is_none_or(|news| news.is_ok()));
    }
    // The last of these ended all keys of the account.
    assert_eq!(news(&other, &other_bell).await.map(|_| ()), Err(Refusal::AccountSuspended));
}

#[tokio::test]
async fn what_is_taken_from_a_user_is_told_and_so_is_what_is_left() {
    let ring = ring().await;
    let (secret, new) = personal();
    ring.mint(new).await;
    let may = |permissions: &[&str]| {
        let permissions = permissions.iter().map(|name| name.parse().unwrap()).collect();
        Command::AddMember(MemberChange { permissions, ..member("101") })
    };
    ring.operate(may(&["jobs:run", "jobs:list"])).await;
    let (vigil, bell, _) = in_use(&ring, &secret).await;
    ring.operate(may(&["jobs:list"])).await;
    let told = news(&vigil, &bell).await.unwrap();
    let (_, _, left) = &told.standing().memberships[0];
    assert_eq!(left.to_string(), "jobs:list");
    ring.operate(Command::RemoveMember("101".parse().unwrap(), "paul".parse().unwrap())).await;
    // With the membership goes the key.
    assert_eq!(news(&vigil, &bell).await.map(|_| ()), Err(REVOKED));
}

#[tokio::test]
async fn what_ended_before_the_vigil_began_is_its_first_news() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    let verified = ring.verify(&secret).await.unwrap();
    ring.operate(Command::SetKeyState(key.id, KeyState::Revoked, None)).await;
    let bell = Arc::<Notify>::default();
    let vigil = ring.keyring.vigil(&verified, Arc::clone(&bell));
    assert_eq!(news(&vigil, &bell).await.map(|_| ()), Err(REVOKED));
    assert_eq!(ring.keyring.vigils(), 1);
    drop(vigil);
    assert_eq!(ring.keyring.vigils(), 0);
}

#[tokio::test]
async fn what_time_ends_is_no_news_and_is_seen_when_it_is_asked() {
    let hands = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_at(Clock::Manual(hands.clone())).await;
    let (secret, mut new) = service();
    new.expires_at = Some(Timestamp::from_millis(1_060_000));
    ring.mint(new).await;
    let (vigil, _, verified) = in_use(&ring, &secret).await;
    assert!(ring.keyring.still(&verified).is_ok());
    hands.advance(Duration::from_secs(60));
    assert_eq!(ring.keyring.still(&verified).map(|_| ()), Err(Refusal::KeyExpired));
    assert!(vigil.news().is_none());
}

#[tokio::test]
async fn a_log_that_is_gone_and_a_store_that_went_back_have_everybody_judged_again() {
    let ring = ring().await;
    let (secret, _) = ring.remembered().await;
    let (vigil, bell, _) = in_use(&ring, &secret).await;
    ring.by_hand(
        "BEGIN;
         UPDATE key SET state = 'suspended';
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO log (kind, subject, narrowing) SELECT 2, CAST('user:' || i AS BLOB), 0 FROM n;
         COMMIT",
    );
    assert_eq!(news(&vigil, &bell).await.map(|_| ()), Err(Refusal::KeyDisabled));
    ring.by_hand("UPDATE key SET state = 'active'; UPDATE head SET seq = 1");
    assert!(news(&vigil, &bell).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_told_is_doubted_until_it_can() {
    let hands = ManualClock::at(Timestamp::from_millis(0));
    let ring = ring_at(Clock::Manual(hands.clone())).await;
    let (secret, _) = ring.remembered().await;
    let (vigil, bell, _) = in_use(&ring, &secret).await;
    // The log tells of a change, and nobody can tell of which.
    ring.by_hand("UPDATE key SET state = 'suspended'; ALTER TABLE key RENAME TO hidden");
    ring.until(async || vigil.doubted_since().is_some()).await;
    assert_eq!(ring.keyring.silent_since(), None, "the log is read all the same");
    ring.by_hand("ALTER TABLE hidden RENAME TO key; ALTER TABLE head RENAME TO hidden");
    ring.until(async || {
        hands.advance(Duration::from_millis(500));
        ring.keyring.silent_since().is_some()
    })
    .await;
    ring.by_hand("ALTER TABLE hidden RENAME TO head");
    assert_eq!(news(&vigil, &bell).await.map(|_| ()), Err(Refusal::KeyDisabled));
    assert_eq!(vigil.doubted_since(), None);
}

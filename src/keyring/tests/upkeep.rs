//! What happens without anybody asking: edits by hand, a failing store, last uses, the end.

use super::*;

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
async fn more_changes_than_the_log_is_gone_through_for_void_everything() {
    let ring = ring().await;
    let (remembered, _) = ring.remembered().await;
    let foreign = Secret::new(format!("dbtu_{}", "y".repeat(50)).as_bytes());
    assert_eq!(ring.refusal(&foreign).await, Some(Refusal::KeyInvalid(Invalid::Malformed)));
    ring.by_hand(
        "BEGIN;
         UPDATE key SET state = 'suspended';
         INSERT INTO adopted_prefix VALUES ('dbtu');
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO log (kind, subject, narrowing) SELECT 2, CAST('user:' || i AS BLOB), 0 FROM n;
         COMMIT",
    );
    ring.until(async || ring.refusal(&remembered).await == Some(Refusal::KeyDisabled)).await;
    ring.until(async || ring.refusal(&foreign).await == Some(UNKNOWN)).await;
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
async fn a_use_is_written_at_the_latest_when_the_keyring_shuts_down() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    let before = Clock::System.now();
    ring.keyring.used(&ring.verify(&secret).await.unwrap(), &secret, &nobody());
    ring.keyring.shutdown().await;
    let Ring { keyring, folder } = ring;
    assert!(
        matches!(keyring.operate(&By::KEYWARD, Command::ListUsers(crate::store::Slice::ALL)).await, Err(Problem::Unavailable(why)) if why.contains("closed"))
    );
    drop(keyring);
    let store = Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
    let shown = store.key(key.id).await.unwrap().unwrap();
    assert!(shown.last_used_at.is_some_and(|at| at >= before));
}

#[tokio::test]
async fn a_use_is_written_by_interval() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "50ms".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    ring.keyring.used(&ring.verify(&secret).await.unwrap(), &secret, &nobody());
    ring.until(async || {
        let Outcome::Key(shown) = ring.operate(Command::ShowKey(key.id.clone())).await else { panic!() };
        shown.last_used_at.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_closed_keyring_leaves_its_store_to_the_next() {
    let Ring { keyring, folder } = ring().await;
    keyring.shutdown().await;
    drop(keyring);
    Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
}

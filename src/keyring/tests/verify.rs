//! What verifying answers, and what it asks the store for that.

use super::*;

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
    ring.operate(Command::SetKeyState(key.id, KeyState::Revoked, None)).await;
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
        ring.keyring.operate(&By::KEYWARD, Command::MintKey(Box::new(service().1))).await,
        Err(Problem::Unavailable(_))
    ));
    ring.by_hand("ALTER TABLE hidden RENAME TO secret");
    assert_eq!(ring.refusal(&made).await, None);
    assert_eq!(ring.refusal(&never_made).await, Some(UNKNOWN));
    assert_eq!(ring.keyring.stats().failures, 2);
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
async fn an_adopted_key_with_a_wrong_checksum_works_though_the_log_cannot_be_read_after_it() {
    let ring = ring().await;
    let (secret, new) = foreign(&format!("dbtu_{}", "x".repeat(50)), Kind::Service, Some("301"), None);
    ring.keyring.store().gate().lose_log(true);
    ring.operate(Command::Import(vec![new])).await;
    assert_eq!(ring.refusal(&secret).await, None);
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
async fn who_was_told_of_a_position_is_judged_by_it_before_it_is_applied_here() {
    let ring = ring().await;
    let (secret, _) = ring.remembered().await;
    let store = ring.keyring.store().clone();
    let head = async || store.tail(u64::MAX).await.unwrap().head;
    let before = head().await;
    assert!(ring.keyring.verify_at_least(&secret, before).await.is_ok());
    ring.by_hand("UPDATE key SET state = 'revoked'");
    let position = head().await;
    assert!(position > before);
    // Whether or not the log was followed meanwhile.
    let verdict = ring.keyring.verify_at_least(&secret, position).await;
    assert_eq!(verdict.unwrap_err(), Denied::Refused(REVOKED));
    let ahead = ring.keyring.verify_at_least(&secret, position + 1).await;
    assert_eq!(ahead.unwrap_err(), Denied::Failed(Failure::Behind), "our matter, and no refusal");
    let fence = &ring.keyring.shared.fence;
    fence.turn(fence.point(), position);
    let ahead = ring.keyring.verify_at_least(&secret, position + 1).await;
    assert_eq!(ahead.unwrap_err(), Denied::Failed(Failure::Behind), "in another history of the log too");
    let malformed = ring.keyring.verify_at_least(&Secret::from("short".to_owned()), position + 1).await;
    assert_eq!(malformed.unwrap_err(), Denied::Refused(Refusal::KeyInvalid(Invalid::Malformed)));
    // A secret whose checksum is wrong may have been adopted by what is not applied here.
    let mut text = fresh().0.expose_str().unwrap().to_owned();
    text.replace_range(text.len() - 1.., if text.ends_with('a') { "b" } else { "a" });
    let unsure = ring.keyring.verify_at_least(&Secret::from(text), position + 1).await;
    assert_eq!(unsure.unwrap_err(), Denied::Failed(Failure::Behind));
}

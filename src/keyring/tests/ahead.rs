//! What is read before anybody asks: living keys, and which secrets there are.

use super::*;

/// A keyring that reads ahead.
async fn ahead(change: impl FnOnce(&mut Config)) -> Ring {
    ring_with(Clock::System, |config, _| {
        (config.warm, config.known) = (true, 10_000);
        change(config);
    })
    .await
}

impl Ring {
    async fn whole(&self) {
        self.until(async || self.keyring.stats().known_whole).await;
    }

    /// Another keyring over this one's store, once it has read ahead.
    pub(super) async fn again(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { keyring, folder } = self;
        keyring.shutdown().await;
        drop(keyring);
        let second = "1s".parse().unwrap();
        let mut config = Config {
            live: 100,
            refused: 100,
            unknown: 100,
            unknown_for: second,
            warm: true,
            known: 10_000,
            loads: 8,
            waiting: 200,
            usage_flush: second,
            callers: 4,
            rehearsal: 10,
        };
        change(&mut config);
        let store = Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
        let keyring = Keyring::open(&config, 2, store, Digester::default(), Clock::System, Handle::current()).await;
        Self { keyring: Arc::new(keyring.unwrap()), folder }
    }

    /// Waits until so many living keys are remembered of which nobody asked.
    async fn warm(&self, count: u64) {
        self.until(async || self.keyring.stats().live_entries == count).await;
    }

    fn loads(&self) -> u64 {
        self.keyring.stats().loads
    }
}

#[tokio::test]
async fn after_a_restart_no_living_key_waits_for_the_store() {
    let ring = ring().await;
    let (service, _) = ring.remembered().await;
    let (own, new) = personal();
    ring.mint(new).await;
    let (across, imprint) = fresh();
    ring.mint(new_key(Kind::User, None, Some("paul"), imprint)).await;
    let (revoked, key) = ring.remembered().await;
    ring.operate(Command::SetKeyState(key.id, KeyState::Revoked, None)).await;
    let ring = ring.again(|_| ()).await;
    ring.warm(3).await;
    for secret in [&service, &own, &across] {
        assert_eq!(ring.refusal(secret).await, None);
    }
    assert_eq!((ring.loads(), ring.keyring.stats().hits), (0, 3));
    assert_eq!(ring.refusal(&revoked).await, Some(REVOKED));
    assert_eq!(ring.loads(), 1, "a key that is not alive is looked up");
}

#[tokio::test]
async fn the_last_used_are_remembered_first_and_then_the_newest() {
    let ring = ring().await;
    let mut keys = Vec::new();
    for _ in 0..6 {
        keys.push(ring.remembered().await);
    }
    for (second, at) in [(1, 4), (2, 0), (3, 2)] {
        let used = Timestamp::from_millis(second * 1000);
        ring.keyring.store().record_uses(vec![(keys[at].1.serial, used)]).await.unwrap();
    }
    let mut ring = ring;
    for (live, expected) in [
        (1, [false, false, true, false, false, false]),
        (2, [true, false, true, false, false, false]),
        (4, [true, false, true, false, true, true]),
    ] {
        ring = ring.again(|config| config.live = live).await;
        ring.warm(live).await;
        let cache = &ring.keyring.shared.cache;
        let held =
            keys.iter().map(|(secret, _)| cache.get(&Digester::default().digest(secret), cache::Shelf::Live).is_some());
        assert_eq!(held.collect::<Vec<_>>(), expected, "room for {live}");
    }
}

#[tokio::test]
async fn a_key_that_ends_while_it_is_read_ahead_is_refused() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    ring.keyring.store().record_uses(vec![(key.serial, Timestamp::from_millis(1))]).await.unwrap();
    let ring = ring.again(|config| (config.warm, config.known) = (false, 0)).await;
    let shared = Arc::clone(&ring.keyring.shared);
    let gate = ring.keyring.store().gate();
    gate.close();
    let warm = tokio::spawn(super::warm::warm(shared, 100, CancellationToken::new()));
    gate.arrived(1).await;
    // The chunk has read the living key, and now the key ends.
    ring.operate(Command::SetKeyState(key.id, KeyState::Revoked, None)).await;
    gate.open();
    ring.warm(1).await;
    assert_eq!(ring.refusal(&secret).await, Some(REVOKED));
    warm.abort();
}

#[tokio::test]
async fn an_invented_secret_costs_no_look_up_once_all_are_known() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    let (secret, _) = ring.remembered().await;
    let loads = ring.loads();
    for number in 0..500 {
        assert_eq!(ring.refusal(&fresh().0).await, Some(UNKNOWN));
        assert_eq!(ring.refusal(&Secret::new(format!("an-invented-secret-{number}").as_bytes())).await, Some(UNKNOWN));
    }
    let stats = ring.keyring.stats();
    assert_eq!((stats.loads, stats.unknown, stats.unknown_entries, stats.known), (loads, 1000, 0, 1));
    assert_eq!(ring.refusal(&secret).await, None);
}

#[tokio::test]
async fn a_known_secret_is_looked_up_whatever_became_of_it() {
    let ring = ahead(|config| config.warm = false).await;
    ring.whole().await;
    let (old, key) = ring.remembered().await;
    let (new, imprint) = fresh();
    assert_eq!(ring.refusal(&new).await, Some(UNKNOWN));
    ring.operate(Command::RotateKey(key.id.clone(), imprint, Rotation::IMMEDIATE)).await;
    assert_eq!(ring.refusal(&new).await, None);
    assert_eq!(ring.refusal(&old).await, Some(Refusal::KeyInvalid(Invalid::Rotated)));
    let ring = ring.again(|config| config.warm = false).await;
    ring.whole().await;
    assert_eq!(ring.refusal(&old).await, Some(Refusal::KeyInvalid(Invalid::Rotated)));
    assert_eq!((ring.refusal(&new).await, ring.keyring.stats().known), (None, 2));
}

/// Requests that begin before a key is made may go either way; none that begins after `mint` answered is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minted_key_works_for_every_request_that_begins_after_mint_answered() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    for round in 0..50 {
        let (secret, new) = service();
        let asks: Vec<_> = (0..2)
            .map(|_| {
                let (keyring, secret) = (Arc::clone(&ring.keyring), secret.clone());
                tokio::spawn(async move {
                    // Until it is found, as a client that was told too early would.
                    while keyring.verify(&secret).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                    // Once found it stays so.
                    keyring.verify(&secret).await.map(drop)
                })
            })
            .collect();
        ring.mint(new).await;
        assert_eq!(ring.refusal(&secret).await, None, "round {round}");
        for ask in asks {
            assert_eq!(ask.await.unwrap(), Ok(()));
        }
    }
}

#[tokio::test]
async fn a_key_made_by_another_hand_is_known_as_soon_as_the_log_is_applied() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    ring.remembered().await;
    for number in 0..20 {
        let secret = Secret::new(format!("a-secret-made-by-hand-{number}").as_bytes());
        let hex: String =
            Digester::default().digest(&secret).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let made = ring.keyring.shared.fence.applied() + 1;
        ring.by_hand(&format!(
            "INSERT INTO secret (digest, key, state, hint, created_at) SELECT x'{hex}', max(serial), 'current', '', 0 FROM key"
        ));
        // Asked all the while: a refusal is right only while the entry was not applied before the question.
        ring.until(async || {
            let applied = ring.keyring.shared.fence.applied() >= made;
            let refusal = ring.refusal(&secret).await;
            assert!(!applied || refusal.is_none(), "{number}: {refusal:?}");
            applied
        })
        .await;
    }
    assert!(ring.keyring.stats().known_whole, "never void meanwhile");
}

#[tokio::test]
async fn a_minted_key_works_though_the_log_cannot_be_read_after_it() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    ring.keyring.store().gate().lose_log(true);
    let (secret, new) = service();
    ring.mint(new).await;
    for _ in 0..3 {
        assert_eq!(ring.refusal(&secret).await, None);
    }
    // The digests are read anew, and the log stays lost meanwhile.
    ring.whole().await;
    assert_eq!(ring.refusal(&secret).await, None);
    assert_eq!(ring.refusal(&fresh().0).await, Some(UNKNOWN));
}

#[tokio::test]
async fn a_key_made_while_the_secrets_are_read_is_among_them() {
    let ring = ahead(|config| config.warm = false).await;
    ring.whole().await;
    let gate = ring.keyring.store().gate();
    gate.close();
    ring.keyring.shared.known.void();
    gate.arrived(2).await;
    // The only chunk has been read, and is held back.
    let (secret, new) = service();
    ring.mint(new).await;
    gate.open();
    ring.whole().await;
    assert_eq!(ring.refusal(&secret).await, None);
}

#[tokio::test]
async fn a_large_import_ends_with_all_secrets_known_again() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    let rows: Vec<_> = (0..3000).map(|_| service()).collect();
    let secrets: Vec<_> = rows.iter().step_by(100).map(|(secret, _)| secret.clone()).collect();
    ring.operate(Command::Import(rows.into_iter().map(|(_, new)| new).collect())).await;
    for secret in &secrets {
        assert_eq!(ring.refusal(secret).await, None, "at once");
    }
    ring.until(async || ring.keyring.stats().known == 3000 && ring.keyring.stats().known_whole).await;
    let loads = ring.loads();
    assert_eq!((ring.refusal(&fresh().0).await, ring.loads()), (Some(UNKNOWN), loads));
    for secret in &secrets {
        assert_eq!(ring.refusal(secret).await, None);
    }
}

#[tokio::test]
async fn more_changes_than_the_log_is_gone_through_for_are_read_anew() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    let (_, key) = ring.remembered().await;
    let secret = Secret::new(b"a-secret-made-by-hand");
    let hex: String = Digester::default().digest(&secret).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    ring.by_hand(&format!(
        "BEGIN;
         INSERT INTO secret (digest, key, hint, created_at) VALUES (x'{hex}', {}, '', 0);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO log (kind, subject, narrowing) SELECT 2, CAST('user:' || i AS BLOB), 0 FROM n;
         COMMIT",
        key.serial
    ));
    ring.until(async || ring.refusal(&secret).await.is_none()).await;
    ring.until(async || ring.keyring.stats().known == 2 && ring.keyring.stats().known_whole).await;
}

#[tokio::test]
async fn a_store_that_went_back_is_looked_up_in_for_good() {
    let ring = ahead(|_| ()).await;
    ring.whole().await;
    ring.by_hand("UPDATE head SET seq = 1");
    ring.until(async || !ring.keyring.stats().known_whole).await;
    let loads = ring.loads();
    assert_eq!(ring.refusal(&fresh().0).await, Some(UNKNOWN));
    assert_eq!((ring.loads(), ring.keyring.stats().known), (loads + 1, 0));
}

#[tokio::test]
async fn more_secrets_than_are_to_be_known_are_looked_up_as_without() {
    let ring = ahead(|config| config.known = 1).await;
    ring.whole().await;
    ring.remembered().await;
    assert!(ring.keyring.stats().known_whole);
    ring.remembered().await;
    assert!(!ring.keyring.stats().known_whole);
    let loads = ring.loads();
    assert_eq!((ring.refusal(&fresh().0).await, ring.loads()), (Some(UNKNOWN), loads + 1));
    let ring = ring.again(|config| config.known = 1).await;
    ring.warm(2).await;
    assert!(!ring.keyring.stats().known_whole);
}

#[tokio::test]
async fn what_cannot_be_read_ahead_is_read_when_it_can() {
    let ring = ring().await;
    let (secret, _) = ring.remembered().await;
    ring.by_hand("ALTER TABLE secret RENAME TO hidden");
    let ring = ring.again(|_| ()).await;
    ring.by_hand("ALTER TABLE hidden RENAME TO secret");
    ring.whole().await;
    ring.warm(1).await;
    assert_eq!((ring.refusal(&secret).await, ring.loads()), (None, 0));
}

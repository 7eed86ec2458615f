//! Many invented secrets: what they cost in memory and look-ups, and what a known key notices of them.

use std::process;
use std::time::Duration;

use super::*;
use crate::keyring::cache::Shelf;

/// All of a million where it is built for speed (`cargo test --release --lib keyring::tests::invented`).
const MANY: u64 = if cfg!(debug_assertions) { 250_000 } else { 1_000_000 };
/// As many as are looked up one after another.
const LOOKED_UP: u64 = 5000;
/// Living keys, as many as may be remembered.
const LIVING: usize = 100;
/// One known key is asked for in so many invented ones.
const BETWEEN: u64 = 50;

/// The `number`th: every other one with our prefix and a right checksum, the others of no shape.
fn invented(number: u64) -> Secret {
    if number.is_multiple_of(2) {
        return Secret::new(format!("an-invented-secret-of-nobody-{number:016}").as_bytes());
    }
    // The number's own digits in place of chance, so that no two are the same.
    let fill = |bytes: &mut [u8]| {
        let digits = (0..8).map(|place| u8::try_from(number / 62_u64.pow(place) % 62).unwrap());
        bytes.iter_mut().zip(digits.cycle()).for_each(|(byte, digit)| *byte = digit);
        Ok::<_, getrandom::Error>(())
    };
    mint(&"kw_live".parse().unwrap(), fill).unwrap().0
}

/// Memory this process holds, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

impl Ring {
    /// How long a known key's answer takes.
    async fn known(&self, secret: &Secret) -> Duration {
        let began = Clock::System.boot();
        assert_eq!(self.refusal(secret).await, None);
        Clock::System.boot().since(began)
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Refuses `count` invented secrets, and tells of known keys beside, before, and of memory.
async fn refuse(ring: &Ring, keys: &[Secret], count: u64) {
    let mut quiet = Vec::new();
    for secret in keys.iter().cycle().take(1000) {
        quiet.push(ring.known(secret).await);
    }
    let (before, mut beside, mut keys) = (memory(), Vec::new(), keys.iter().cycle());
    for number in 0..count {
        assert_eq!(ring.refusal(&invented(number)).await, Some(UNKNOWN));
        if number.is_multiple_of(BETWEEN) {
            beside.push(ring.known(keys.next().unwrap()).await);
        }
    }
    let rise = memory().saturating_sub(before);
    println!("{count} invented: {rise} bytes more; a known key in {:?}, before in {:?}", median(beside), median(quiet));
    assert!(rise < 8 << 20, "{rise}");
}

/// Runs the test `name` of this file in a process of its own, where nobody else's memory counts.
fn alone(name: &str) -> bool {
    const MARK: &str = "KEYWARD_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let test = format!("keyring::tests::invented::{name}");
    let mut command = process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", &test, "--nocapture"]).env(MARK, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    print!("{said}");
    false
}

/// A keyring that remembers [`LIVING`] keys and no more, and knows of so many secrets in the store.
async fn ring_of_living(known: u64) -> (Ring, Vec<Secret>) {
    let ring = ring_with(Clock::System, |config, _| {
        (config.known, config.warm, config.live) = (known, false, LIVING as u64);
    })
    .await;
    let mut keys = Vec::new();
    for _ in 0..LIVING {
        keys.push(ring.remembered().await.0);
    }
    // A key that was made may have voided what was remembered of another of its stripe.
    for key in &keys {
        assert_eq!(ring.refusal(key).await, None);
    }
    (ring, keys)
}

#[tokio::test]
async fn invented_secrets_cost_neither_memory_nor_a_look_up() {
    if !alone("invented_secrets_cost_neither_memory_nor_a_look_up") {
        return;
    }
    let (ring, keys) = ring_of_living(10_000).await;
    ring.until(async || ring.keyring.stats().known_whole).await;
    let before = ring.keyring.stats();
    refuse(&ring, &keys, MANY).await;
    let after = ring.keyring.stats();
    assert_eq!((after.loads, after.misses, after.known), (before.loads, before.misses, LIVING as u64));
    assert_eq!((after.unknown_entries, after.unknown - before.unknown), (0, MANY));
    ring.all_alive().await;
}

/// Where the store has more secrets than may be known, each costs a look-up, and still no more memory than may be
/// remembered of unknown secrets.
#[tokio::test]
async fn invented_secrets_that_are_looked_up_push_no_living_key_out() {
    if !alone("invented_secrets_that_are_looked_up_push_no_living_key_out") {
        return;
    }
    let (ring, keys) = ring_of_living(0).await;
    let before = ring.keyring.stats();
    refuse(&ring, &keys, LOOKED_UP).await;
    let after = ring.keyring.stats();
    assert_eq!(after.loads - before.loads, LOOKED_UP, "no known key among them");
    ring.all_alive().await;
    assert!(ring.keyring.stats().unknown_entries <= 100);
}

#[tokio::test]
async fn no_more_look_ups_than_may_be_are_in_the_store_at_one_time() {
    let (ring, _) = ring_of_living(0).await;
    let before = ring.keyring.stats();
    let gate = ring.keyring.store().gate();
    gate.close();
    let asks: Vec<_> = (0..50)
        .map(|number| {
            let keyring = Arc::clone(&ring.keyring);
            tokio::spawn(async move { keyring.verify(&invented(number)).await.map(drop) })
        })
        .collect();
    // Fifty wait, and eight of them in the store.
    ring.until(async || ring.keyring.stats().misses == before.misses + 50).await;
    gate.arrived(1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ring.keyring.stats().loads - before.loads, 8);
    gate.open();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), Err(Denied::Refused(UNKNOWN)));
    }
    assert_eq!(ring.keyring.stats().loads - before.loads, 50);
}

#[tokio::test]
async fn who_names_a_position_with_an_invented_secret_leaves_other_look_ups_their_turns() {
    let (ring, keys) = ring_of_living(10_000).await;
    ring.until(async || ring.keyring.stats().known_whole).await;
    let gate = ring.keyring.store().gate();
    gate.close();
    let loads = |ring: &Ring| ring.keyring.stats().loads;
    let before = loads(&ring);
    let asks: Vec<_> = (0..50)
        .map(|number| {
            let keyring = Arc::clone(&ring.keyring);
            tokio::spawn(async move { keyring.verify_at_least(&invented(number), u64::MAX).await.map(drop) })
        })
        .collect();
    gate.arrived(1).await;
    let (keyring, key) = (Arc::clone(&ring.keyring), keys[0].clone());
    keyring.shared.cache.forget(&keyring.shared.digester.digest(&key), Shelf::Live);
    let honest = tokio::spawn(async move { keyring.verify(&key).await.map(drop) });
    // Two of eight turns, and one more.
    ring.until(async || loads(&ring) == before + 3).await;
    gate.open();
    assert_eq!(honest.await.unwrap(), Ok(()));
    for ask in asks {
        assert_eq!(ask.await.unwrap(), Err(Denied::Failed(Failure::Behind)));
    }
}

impl Ring {
    /// All living keys are still remembered.
    async fn all_alive(&self) {
        assert_eq!(self.keyring.stats().live_entries, LIVING as u64);
    }
}

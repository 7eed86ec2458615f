//! Figures, for whoever asks for them.

use super::*;

/// Measures what the request path pays for a remembered key, and what a load of a million keys takes:
/// `cargo test --release --lib -- --ignored --nocapture measured`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it in release mode"]
async fn measured() {
    const KEYS: usize = 1_000_000;
    /// As `keyward load` sends them.
    const BATCH: usize = 10_000;
    let batch_size = std::env::var("BATCH").map_or(BATCH, |text| text.parse().unwrap());
    let ring = ring_with(Clock::System, |config, _| config.live = 250_000).await;
    let clock = Clock::System;
    let began = clock.boot();
    let mut some = Vec::new();
    for batch in 0..KEYS / batch_size {
        let mut rows = Vec::with_capacity(batch_size);
        for at in 0..batch_size {
            let (secret, imprint) = fresh();
            let account = format!("acc-{}", (batch * batch_size + at) % 1000);
            rows.push(new_key(Kind::Service, Some(&account), None, imprint));
            if at % 10 == 0 {
                some.push(secret);
            }
        }
        ring.operate(Command::Import(rows)).await;
    }
    eprintln!("{KEYS} keys minted and imported, {batch_size} at a time, in {:?}", clock.boot().since(began));

    let began = clock.boot();
    for secret in &some {
        ring.verify(secret).await.unwrap();
    }
    eprintln!("a look-up in the store, end to end: {:?}", clock.boot().since(began) / some.len() as u32);
    let began = clock.boot();
    for secret in &some {
        ring.keyring.used(&ring.verify(secret).await.unwrap());
    }
    eprintln!("a remembered key, of {}: {:?}", some.len(), clock.boot().since(began) / some.len() as u32);
    let began = clock.boot();
    for _ in 0..some.len() {
        ring.keyring.used(&ring.verify(&some[0]).await.unwrap());
    }
    eprintln!("a remembered key, always the same: {:?}", clock.boot().since(began) / some.len() as u32);
    let Outcome::Keys(keys) = ring
        .operate(Command::ListKeys(KeyFilter { account: Some("acc-1".parse().unwrap()), ..KeyFilter::default() }))
        .await
    else {
        panic!()
    };
    let began = clock.boot();
    for key in &keys {
        ring.operate(Command::RevokeKey(key.id.clone())).await;
    }
    eprintln!("a revocation, one after another: {:?}", clock.boot().since(began) / keys.len() as u32);
}

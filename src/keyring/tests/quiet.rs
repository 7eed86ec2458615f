//! An old secret that ends once nobody uses it: only by what is known, and missing knowledge is a use.

use super::*;
use crate::key::rotation::Mode;
use crate::store::replica::{Instance, Replicas};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Between two writes of callers.
const INTERVAL: Duration = MINUTE;
const ROTATED: Refusal = Refusal::KeyInvalid(Invalid::Rotated);
/// Quiet for an hour, at most a day.
const QUIETLY: Rotation =
    Rotation { mode: Mode::Grace(Duration::from_secs(86_400)), until_quiet: Some(HOUR), ..Rotation::IMMEDIATE };

async fn timed(change: impl FnOnce(&mut Config)) -> (Ring, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |config, _| {
        config.usage_flush = "1h".parse().unwrap();
        change(config);
    });
    (ring.await, clock)
}

impl Ring {
    /// What the end of an interval brings: whether this secret is refused then.
    async fn retired(&self, secret: &Secret) -> bool {
        self.keyring.shared.retire_quiet(INTERVAL).await;
        match self.refusal(secret).await {
            None => false,
            Some(ROTATED) => true,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_old_secret_ends_once_it_was_quiet_for_as_long_as_was_asked_for() {
    let (ring, clock) = timed(|_| ()).await;
    let (old, key) = ring.remembered().await;
    let (new, rotated) = ring.rotate(&key, QUIETLY).await.unwrap();
    assert_eq!(rotated.rotation.unwrap().until_quiet_seconds, Some(3600));
    clock.advance(HOUR - MINUTE);
    ring.uses(&old).await;
    ring.uses(&new).await;
    clock.advance(HOUR - MINUTE);
    assert!(!ring.retired(&old).await, "it was used since");
    clock.advance(2 * MINUTE);
    assert!(ring.retired(&old).await);
    assert_eq!((ring.refusal(&new).await, ring.shown(&key).await.rotation), (None, None));
    // What comes next knows nothing of it.
    let (_, again) = ring.rotate(&key, Rotation { until_quiet: None, ..QUIETLY }).await.unwrap();
    assert_eq!(again.rotation.unwrap().until_quiet_seconds, None);
}

#[tokio::test]
async fn one_that_nobody_ever_used_is_quiet_from_its_rotation_on() {
    let (ring, clock) = timed(|_| ()).await;
    clock.advance(HOUR * 2);
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    assert!(!ring.retired(&old).await);
    clock.advance(HOUR + MINUTE);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn the_callers_that_found_no_place_count_as_well() {
    let (ring, clock) = timed(|config| config.callers = 1).await;
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    clock.advance(HOUR - MINUTE);
    for agent in [&b"one"[..], b"two"] {
        let verified = ring.verify(&old).await.unwrap();
        ring.keyring.used(&verified, &old, &Caller { agent, ..nobody() });
    }
    clock.advance(HOUR - MINUTE);
    ring.keyring.used(&ring.verify(&old).await.unwrap(), &old, &Caller { agent: b"three", ..nobody() });
    clock.advance(2 * MINUTE);
    assert!(!ring.retired(&old).await, "three was seen two minutes ago");
    clock.advance(HOUR);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn where_others_serve_too_it_is_quiet_once_what_they_met_must_be_written() {
    let (ring, clock) = timed(|_| ()).await;
    let fence = Duration::from_secs(10);
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    let all = Replicas { head: 0, fence, instance: Instance("a".into()), replicas: Vec::new() };
    ring.keyring.serve_among(all);
    clock.advance(HOUR + MINUTE);
    assert!(!ring.retired(&old).await, "another may have met somebody a minute ago");
    clock.advance(INTERVAL + fence);
    assert!(!ring.retired(&old).await, "and may have failed to write it once");
    clock.advance(MINUTE);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn while_usage_cannot_be_written_nothing_is_quiet() {
    let (ring, clock) = timed(|_| ()).await;
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    ring.uses(&old).await;
    ring.by_hand("ALTER TABLE caller RENAME TO hidden");
    clock.advance(HOUR * 2);
    assert!(!ring.retired(&old).await);
    ring.by_hand("ALTER TABLE hidden RENAME TO caller");
    assert!(ring.retired(&old).await, "it is known now that nobody used it for two hours");
}

#[tokio::test]
async fn what_found_no_room_counts_as_a_use_of_every_secret() {
    let (ring, clock) = timed(|config| config.callers = usize::MAX).await;
    let (old, key) = ring.remembered().await;
    let (other, _) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    clock.advance(HOUR - MINUTE);
    let verified = ring.verify(&other).await.unwrap();
    for at in 0_u32.. {
        ring.keyring.shared.callers.note(&verified, &Caller { agent: &at.to_be_bytes(), ..nobody() });
        if ring.keyring.stats().callers_dropped > 0 {
            break;
        }
    }
    clock.advance(HOUR - MINUTE);
    assert!(!ring.retired(&old).await);
    clock.advance(2 * MINUTE);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn where_callers_are_not_noted_the_grace_alone_ends_it() {
    let (ring, clock) = timed(|config| config.callers = 0).await;
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    clock.advance(HOUR * 23);
    assert!(!ring.retired(&old).await);
    clock.advance(HOUR);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn after_a_restart_it_goes_on_and_what_was_lost_on_the_way_counts_as_a_use() {
    let (ring, clock) = timed(|_| ()).await;
    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    clock.advance(HOUR - MINUTE);
    let Ring { keyring, folder } = ring;
    keyring.shutdown().await;
    drop(keyring);
    let store = Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
    let (config, hands) = (Config { usage_flush: "1h".parse().unwrap(), ..small() }, Clock::Manual(clock.clone()));
    let keyring = Keyring::open(&config, 2, store, Digester::default(), hands, Handle::current()).await.unwrap();
    let ring = Ring { keyring: Arc::new(keyring), folder };
    clock.advance(HOUR - MINUTE);
    assert!(!ring.retired(&old).await);
    clock.advance(2 * MINUTE);
    assert!(ring.retired(&old).await);
}

#[tokio::test]
async fn after_a_first_use_the_secret_before_may_end_when_it_is_quiet_and_a_cancelled_one_does_not() {
    let (ring, clock) = timed(|_| ()).await;
    let first_use = Mode::FirstUse { within: HOUR * 24, grace: HOUR * 24 };
    let (old, key) = ring.remembered().await;
    let (new, rotated) = ring.rotate(&key, Rotation { mode: first_use, ..QUIETLY }).await.unwrap();
    assert_eq!(rotated.rotation.unwrap().until_quiet_seconds, Some(3600));
    clock.advance(HOUR * 2);
    assert!(!ring.retired(&old).await, "it is the current one still");
    ring.uses(&new).await;
    ring.until(async || ring.verify(&old).await.unwrap().superseded_until().is_some()).await;
    assert!(!ring.retired(&old).await);
    clock.advance(HOUR + MINUTE);
    assert!(ring.retired(&old).await);

    let (old, key) = ring.remembered().await;
    ring.rotate(&key, QUIETLY).await.unwrap();
    ring.operate(Command::CancelRotation(key.id.clone())).await;
    clock.advance(HOUR * 2);
    assert!(!ring.retired(&old).await);
}

#[tokio::test]
async fn quiet_for_no_time_or_longer_than_its_grace_is_refused() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    for (mode, quiet) in [
        (Mode::Immediate, HOUR),
        (Mode::FirstUse { within: HOUR, grace: Duration::ZERO }, HOUR),
        (Mode::Grace(HOUR), HOUR),
        (Mode::Grace(HOUR), Duration::from_secs(59)),
    ] {
        let refused = ring.rotate(&key, Rotation { mode, until_quiet: Some(quiet), ..Rotation::IMMEDIATE }).await;
        assert!(matches!(refused, Err(Problem::Invalid(_))), "{mode:?} {quiet:?}");
    }
}

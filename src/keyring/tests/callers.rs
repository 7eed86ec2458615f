//! Who uses which secret: told apart, counted, bounded, kept, and forgotten where that is asked for.

use super::*;
use crate::key::SecretState;
use crate::key::rotation::Mode;
use crate::keyring::command::{Caller as Shown, SecretUse};

const HOUR: Duration = Duration::from_secs(3600);

impl Ring {
    async fn used_by(&self, secret: &Secret, caller: Caller<'_>) {
        self.keyring.used(&self.verify(secret).await.unwrap(), secret, &caller);
    }

    async fn callers(&self, key: &Key) -> Vec<SecretUse> {
        match self.operate(Command::ShowCallers(key.id.clone())).await {
            Outcome::Callers(secrets) => secrets,
            other => panic!("{other:?}"),
        }
    }
}

fn agent(agent: &str) -> Caller<'_> {
    Caller { agent: agent.as_bytes(), ..nobody() }
}

fn told(callers: &[Shown]) -> Vec<(&str, u64)> {
    let mut told: Vec<_> = callers.iter().map(|one| (one.user_agent.as_str(), one.seen.count)).collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn callers_are_told_apart_by_address_agent_and_route_and_by_the_secret_they_use() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    for caller in [agent("one"), agent("one"), agent("two"), Caller { address: [2, 2, 2, 2].into(), ..agent("one") }] {
        ring.used_by(&old, caller).await;
    }
    ring.used_by(&old, Caller { route: "other", ..agent("one") }).await;
    let secrets = ring.callers(&key).await;
    assert_eq!((secrets.len(), secrets[0].number, secrets[0].state), (1, 1, SecretState::Current));
    assert_eq!(told(&secrets[0].callers), [("one", 1), ("one", 1), ("one", 2), ("two", 1)]);
    assert_eq!(secrets[0].more, None);

    let (new, _) = ring.rotated(&key, Mode::Grace(HOUR)).await;
    ring.used_by(&new, agent("new")).await;
    ring.used_by(&old, agent("two")).await;
    let secrets = ring.callers(&key).await;
    let shown: Vec<_> = secrets.iter().map(|secret| (secret.number, secret.state, secret.callers.len())).collect();
    assert_eq!(shown, [(2, SecretState::Current, 1), (1, SecretState::Grace, 4)]);
    assert_eq!(secrets[1].callers[0].user_agent, "two", "last seen first");
    // And so the key shows when its old secret was last used.
    let running = ring.shown(&key).await.rotation.unwrap();
    assert_eq!(running.last_used_at, Some(secrets[1].callers[0].seen.last_seen));
}

#[tokio::test]
async fn callers_beyond_their_bound_are_counted_together() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    for at in 0..10 {
        for _ in 0..2 {
            ring.used_by(&secret, agent(&format!("agent {at}"))).await;
        }
    }
    let secrets = ring.callers(&key).await;
    assert_eq!(told(&secrets[0].callers), [("agent 0", 2), ("agent 1", 2), ("agent 2", 2), ("agent 3", 2)]);
    assert_eq!(secrets[0].more.unwrap().count, 12);
    // Nothing is lost by that.
    assert_eq!(ring.keyring.stats().callers_dropped, 0);
}

#[tokio::test]
async fn who_was_not_seen_for_a_day_gives_its_place_to_another() {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    let (secret, key) = ring.remembered().await;
    for at in 0..4 {
        ring.used_by(&secret, agent(&format!("agent {at}"))).await;
    }
    ring.callers(&key).await;
    clock.advance(HOUR * 25);
    // Forgotten here, so that there is room to meet others.
    ring.callers(&key).await;
    ring.used_by(&secret, agent("late")).await;
    let secrets = ring.callers(&key).await;
    let names: Vec<_> = told(&secrets[0].callers).into_iter().map(|(name, _)| name).collect();
    assert_eq!((names.len(), names.contains(&"late"), secrets[0].more.unwrap().count), (4, true, 1));
}

#[tokio::test]
async fn callers_survive_a_restart_and_are_forgotten_where_they_are_switched_off() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    ring.used_by(&secret, agent("one")).await;
    let ring = ring.again(|_| ()).await;
    ring.used_by(&secret, agent("one")).await;
    assert_eq!(told(&ring.callers(&key).await[0].callers), [("one", 2)]);
    let ring = ring.again(|config| config.callers = 0).await;
    ring.used_by(&secret, agent("one")).await;
    assert_eq!(ring.callers(&key).await[0].callers, []);
    let ring = ring.again(|_| ()).await;
    assert_eq!(ring.callers(&key).await[0].callers, []);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_and_once() {
    let ring = ring_with(Clock::System, |config, _| config.usage_flush = "1h".parse().unwrap()).await;
    let (secret, key) = ring.remembered().await;
    ring.used_by(&secret, agent("one")).await;
    ring.by_hand("ALTER TABLE caller RENAME TO hidden");
    assert!(ring.keyring.shared.flush_callers().await.is_err());
    ring.used_by(&secret, agent("one")).await;
    ring.by_hand("ALTER TABLE hidden RENAME TO caller");
    assert_eq!(told(&ring.callers(&key).await[0].callers), [("one", 2)]);
}

#[tokio::test]
async fn what_was_seen_of_a_secret_goes_with_it_and_does_not_come_back() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    ring.used_by(&old, agent("written")).await;
    ring.callers(&key).await;
    ring.used_by(&old, agent("late")).await;
    ring.rotated(&key, Mode::Immediate).await;
    let secrets = ring.callers(&key).await;
    assert_eq!((secrets.len(), secrets[0].number, &secrets[0].callers[..]), (1, 2, &[][..]));
    let path = ring.folder.path().join("keyward.db");
    let rows = Connection::open(path).unwrap().query_row("SELECT count(*) FROM caller", [], |row| row.get::<_, i64>(0));
    assert_eq!(rows.unwrap(), 0);
}

#[tokio::test]
async fn a_completed_rotation_names_who_had_not_left_the_old_secret() {
    let ring = ring_with(Clock::Manual(ManualClock::at(Timestamp::from_millis(1_000_000))), |_, _| ()).await;
    let Clock::Manual(clock) = ring.keyring.shared.clock.clone() else { panic!() };
    let (old, key) = ring.remembered().await;
    ring.used_by(&old, agent("gone before")).await;
    clock.advance(HOUR);
    let (new, _) = ring.rotated(&key, Mode::Grace(HOUR)).await;
    for name in ["moved", "left"] {
        ring.used_by(&old, agent(name)).await;
    }
    clock.advance(Duration::from_secs(1));
    ring.used_by(&new, agent("moved")).await;
    let Outcome::Completed(completed) = ring.operate(Command::CompleteRotation(key.id.clone())).await else { panic!() };
    assert_eq!((told(&completed.left), completed.more), (vec![("left", 1)], None));
    assert_eq!(completed.key.rotation, None);
}

#[tokio::test]
async fn an_agent_is_bounded_and_harmless_to_look_at() {
    let ring = ring().await;
    let (secret, key) = ring.remembered().await;
    let long = "x".repeat(5000);
    ring.used_by(&secret, agent(&long)).await;
    ring.used_by(&secret, Caller { agent: b"a\tb\xff\x1b", ..nobody() }).await;
    let secrets = ring.callers(&key).await;
    assert_eq!(told(&secrets[0].callers), [("a?b??", 1), (&*format!("{}…", "x".repeat(128)), 1)]);
}

//! Rule 8: an answer that was lost is given again, to who asked for it and to nobody else.

use super::audit::operator;
use super::*;
use crate::keyring::command::{AuditFilter, Clash};
use crate::keyring::once::{Made, Once, Turn};

const ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const ROTATE: &[&[u8]] = &[b"/v1/keys/self/rotate", b"{}"];

impl Ring {
    /// Rotates a key under a name, as its holder does with `secret`.
    async fn rotate_once(&self, key: &Key, secret: &Secret, name: &str) -> Result<Made, Problem> {
        let running = match self.keyring.begin(Once::of(secret, name, ROTATE)).await? {
            Turn::First(running) => running,
            Turn::Again(made) => return Ok(made),
        };
        let (new, imprint) = fresh();
        let made = Made::one(key.id.clone(), Some(new));
        let rotate = Command::RotateKey(key.id.clone(), imprint, Rotation::IMMEDIATE);
        self.keyring.commit_once(&operator(), rotate, running, &made).await?;
        Ok(made)
    }

    async fn begins(&self, secret: &Secret, name: &str, request: &[&[u8]]) -> Result<bool, Problem> {
        Ok(matches!(self.keyring.begin(Once::of(secret, name, request)).await?, Turn::First(_)))
    }
}

fn text(made: &Made) -> &str {
    made.secret.as_ref().and_then(Secret::expose_str).unwrap()
}

async fn timed() -> (Ring, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    (ring_with(Clock::Manual(clock.clone()), |_, _| ()).await, clock)
}

#[tokio::test]
async fn rule_8_a_retry_within_ten_minutes_gives_the_same_secret_and_changes_nothing() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let first = ring.rotate_once(&key, &old, "a").await.unwrap();
    let entries = ring.audit(AuditFilter::default()).await.len();
    clock.advance(Duration::from_secs(599));
    let again = ring.rotate_once(&key, &old, "a").await.unwrap();
    assert_eq!((text(&first), &first.key), (text(&again), &again.key));
    assert_eq!(ring.refusal(first.secret.as_ref().unwrap()).await, None);
    assert_eq!(ring.audit(AuditFilter::default()).await.len(), entries);
    clock.advance(Duration::from_secs(1));
    assert!(ring.begins(&old, "a", ROTATE).await.unwrap(), "after ten minutes it is a new request");
}

#[tokio::test]
async fn rule_8_another_caller_another_key_or_another_request_gets_nothing() {
    let (ring, _) = timed().await;
    let (old, key) = ring.remembered().await;
    let (other, _) = ring.remembered().await;
    ring.rotate_once(&key, &old, "a").await.unwrap();
    assert!(ring.begins(&other, "a", ROTATE).await.unwrap());
    assert!(ring.begins(&old, "b", ROTATE).await.unwrap());
    for request in [&[b"/v1/keys/self/rotate", b"{ }".as_slice()][..], &[b"/v1/keys/self/rotate{}", b""]] {
        let refused = ring.begins(&old, "a", request).await.unwrap_err();
        assert!(matches!(refused, Problem::Conflict(Clash::Reused, _)), "{refused}");
    }
}

#[tokio::test]
async fn rule_8_the_same_request_while_the_first_one_runs_is_told_so() {
    let (ring, _) = timed().await;
    let (old, _) = ring.remembered().await;
    let Turn::First(running) = ring.keyring.begin(Once::of(&old, "a", ROTATE)).await.unwrap() else { panic!() };
    let refused = ring.begins(&old, "a", ROTATE).await.unwrap_err();
    assert!(matches!(refused, Problem::Conflict(Clash::Running, _)), "{refused}");
    drop(running);
    assert!(ring.begins(&old, "a", ROTATE).await.unwrap(), "one that came to nothing leaves nothing");
}

#[tokio::test]
async fn rule_8_what_is_kept_is_sealed_and_survives_a_restart() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let made = ring.rotate_once(&key, &old, "a").await.unwrap();
    ring.keyring.shutdown().await;
    let Ring { keyring, folder } = ring;
    drop(keyring);
    let files = std::fs::read_dir(folder.path()).unwrap();
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    for secret in [text(&made), old.expose_str().unwrap()] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "in plain text");
    }
    let store = Store::open(&tests::config(&folder), [0; 8], Access::Existing).unwrap();
    let clock = Clock::Manual(clock);
    let keyring = Keyring::open(&small(), 1, store, Digester::default(), clock, Handle::current()).await.unwrap();
    let ring = Ring { keyring: Arc::new(keyring), folder };
    assert_eq!(text(&ring.rotate_once(&key, &old, "a").await.unwrap()), text(&made));
    // Whoever may write the store, and does not know the credential, cannot put an answer of theirs in its place.
    ring.by_hand("UPDATE answer SET sealed = zeroblob(length(sealed))");
    assert!(matches!(ring.rotate_once(&key, &old, "a").await, Err(Problem::Unavailable(_))));
}

#[tokio::test]
async fn rule_8_a_just_killed_secret_is_accepted_for_the_retry_of_its_own_rotation_and_for_nothing_else() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let once = || Once::of(&old, "a", ROTATE);
    assert!(ring.keyring.rotated_by(&old, &once(), ADDRESS).await.unwrap().is_none(), "nothing was rotated");
    let made = ring.rotate_once(&key, &old, "a").await.unwrap();
    assert!(ring.verify(&old).await.unwrap_err().is_reuse());
    let again = ring.keyring.rotated_by(&old, &once(), ADDRESS).await.unwrap().unwrap();
    assert_eq!(text(&again), text(&made));
    let elsewhere = Once::of(&old, "a", &[b"/v1/keys", b"{}"]);
    assert!(ring.keyring.rotated_by(&old, &elsewhere, ADDRESS).await.is_err());
    assert!(ring.keyring.rotated_by(&old, &Once::of(&old, "b", ROTATE), ADDRESS).await.unwrap().is_none());
    let (stranger, _) = fresh();
    assert!(ring.keyring.rotated_by(&stranger, &Once::of(&stranger, "a", ROTATE), ADDRESS).await.unwrap().is_none());
    // What an operator's secret made of another's key is not its own.
    let (other, _) = ring.remembered().await;
    ring.rotate_once(&key, &other, "c").await.unwrap();
    assert!(ring.keyring.rotated_by(&other, &Once::of(&other, "c", ROTATE), ADDRESS).await.unwrap().is_none());
    ring.by_hand(&format!("UPDATE key SET allowed_ips = '10.0.0.0/8' WHERE id = '{}'", key.id));
    assert!(ring.keyring.rotated_by(&old, &once(), ADDRESS).await.unwrap().is_none(), "not from there");
    assert!(ring.keyring.rotated_by(&old, &once(), [10, 0, 0, 1].into()).await.unwrap().is_some());
    ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
    assert!(ring.keyring.rotated_by(&old, &once(), ADDRESS).await.unwrap().is_none(), "revoked is revoked");
    clock.advance(Duration::from_secs(600));
    assert!(ring.keyring.rotated_by(&old, &once(), ADDRESS).await.unwrap().is_none());
}

#[tokio::test]
async fn rule_8_a_change_that_was_refused_keeps_no_answer_and_one_that_is_over_is_forgotten() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let kept = || {
        let db = Connection::open(ring.folder.path().join("keyward.db")).unwrap();
        db.query_row("SELECT count(*) FROM answer", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let gone = Key { id: "key_none".parse().unwrap(), ..key.clone() };
    assert!(ring.rotate_once(&gone, &old, "a").await.is_err());
    assert_eq!(kept(), 0);
    ring.rotate_once(&key, &old, "a").await.unwrap();
    ring.keyring.trim_audit().await;
    assert_eq!(kept(), 1);
    clock.advance(Duration::from_secs(600));
    ring.keyring.trim_audit().await;
    assert_eq!(kept(), 0);
}

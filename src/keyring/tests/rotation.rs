//! Rotation, by the rules of its model; each test names the rule it is about.

use super::*;
use crate::key::rotation::Mode;
use crate::key::{Presented, SecretState};

const ROTATED: Refusal = Refusal::KeyInvalid(Invalid::Rotated);
const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Mode = Mode::Grace(HOUR);
const FIRST_USE: Mode = Mode::FirstUse { within: HOUR, grace: Duration::ZERO };

async fn timed() -> (Ring, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
    (ring_with(Clock::Manual(clock.clone()), |_, _| ()).await, clock)
}

impl Ring {
    pub(super) async fn rotate(&self, key: &Key, rotation: Rotation) -> Result<(Secret, Key), Problem> {
        let (secret, imprint) = fresh();
        match self.keyring.operate(&By::KEYWARD, Command::RotateKey(key.id.clone(), imprint, rotation)).await? {
            Outcome::Key(key) => Ok((secret, *key)),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn rotated(&self, key: &Key, mode: Mode) -> (Secret, Key) {
        self.rotate(key, Rotation { mode, ..Rotation::IMMEDIATE }).await.unwrap()
    }

    async fn conflicts(&self, key: &Key, mode: Mode) -> bool {
        matches!(self.rotate(key, Rotation { mode, ..Rotation::IMMEDIATE }).await, Err(Problem::Conflict(..)))
    }

    pub(super) async fn shown(&self, key: &Key) -> Key {
        match self.operate(Command::ShowKey(key.id.clone())).await {
            Outcome::Key(key) => *key,
            other => panic!("{other:?}"),
        }
    }

    /// Uses a secret, as a permitted request does.
    pub(super) async fn uses(&self, secret: &Secret) {
        self.keyring.used(&self.verify(secret).await.unwrap(), secret, &nobody());
    }

    async fn presented(&self, secret: &Secret) -> Presented {
        self.verify(secret).await.unwrap().standing().secret
    }
}

#[tokio::test]
async fn rule_1_the_old_secret_is_refused_once_an_immediate_rotation_has_answered() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    let (new, _) = ring.rotated(&key, Mode::Immediate).await;
    assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (Some(ROTATED), None));
}

#[tokio::test]
async fn rule_12_a_grace_has_both_secrets_accepted_until_its_very_end_by_the_clock() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let (new, rotated) = ring.rotated(&key, GRACE).await;
    let end = clock_now(&ring).plus(HOUR);
    let running = rotated.rotation.unwrap();
    assert_eq!((running.state, running.valid_until), (SecretState::Grace, end));
    assert_eq!(running.hint, key.hint);
    assert_eq!(ring.verify(&old).await.unwrap().superseded_until(), Some(end));
    assert_eq!(ring.refusal(&new).await, None);
    clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(ring.refusal(&old).await, None);
    clock.advance(Duration::from_millis(1));
    assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (Some(ROTATED), None));
}

fn clock_now(ring: &Ring) -> Timestamp {
    ring.keyring.shared.clock.now()
}

#[tokio::test]
async fn a_grace_never_outlives_the_key() {
    let (ring, clock) = timed().await;
    let (old, new) = service();
    let end = clock_now(&ring).plus(Duration::from_secs(60));
    let key = ring.mint(NewKey { expires_at: Some(end), ..new }).await;
    let (_, rotated) = ring.rotated(&key, GRACE).await;
    assert_eq!(rotated.rotation.unwrap().valid_until, end);
    clock.advance(Duration::from_secs(60));
    assert_eq!(ring.refusal(&old).await, Some(ROTATED));
}

#[tokio::test]
async fn rule_12_a_pending_secret_takes_its_place_when_it_is_first_used_and_the_request_does_not_wait() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    let (new, rotated) = ring.rotated(&key, FIRST_USE).await;
    assert_eq!(rotated.rotation.as_ref().unwrap().state, SecretState::Pending);
    assert_eq!((rotated.hint, ring.refusal(&old).await), (key.hint.clone(), None));
    // Knocking is no use: only what was permitted is.
    assert!(matches!(ring.presented(&new).await, Presented::Pending(_)));
    ring.uses(&new).await;
    ring.until(async || ring.refusal(&old).await == Some(ROTATED)).await;
    assert_eq!(ring.presented(&new).await, Presented::Current);
    assert_eq!(ring.shown(&key).await.rotation, None);
}

#[tokio::test]
async fn after_its_first_use_a_secret_may_leave_a_grace_to_the_one_before() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let mode = Mode::FirstUse { within: HOUR, grace: HOUR };
    let (new, _) = ring.rotated(&key, mode).await;
    ring.uses(&new).await;
    ring.until(async || ring.verify(&old).await.unwrap().superseded_until().is_some()).await;
    clock.advance(HOUR);
    assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (Some(ROTATED), None));
}

#[tokio::test]
async fn a_pending_secret_that_nobody_uses_is_given_up() {
    let (ring, clock) = timed().await;
    let (old, key) = ring.remembered().await;
    let (new, _) = ring.rotated(&key, FIRST_USE).await;
    assert_eq!(ring.refusal(&new).await, None);
    clock.advance(HOUR);
    assert_eq!((ring.refusal(&new).await, ring.refusal(&old).await), (Some(ROTATED), None));
    assert_eq!(ring.shown(&key).await.rotation_at(clock_now(&ring)), None);
}

#[tokio::test]
async fn rule_3_an_immediate_rotation_ends_whatever_runs() {
    let ring = ring().await;
    for mode in [GRACE, FIRST_USE] {
        let (first, key) = ring.remembered().await;
        let (second, _) = ring.rotated(&key, mode).await;
        let (third, _) = ring.rotated(&key, Mode::Immediate).await;
        for dead in [&first, &second] {
            assert_eq!(ring.refusal(dead).await, Some(ROTATED), "{mode:?}");
        }
        assert_eq!(ring.refusal(&third).await, None);
    }
}

#[tokio::test]
async fn rule_3_a_first_use_takes_the_place_of_one_that_waits() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    let (first, _) = ring.rotated(&key, FIRST_USE).await;
    let (second, _) = ring.rotated(&key, FIRST_USE).await;
    assert_eq!(ring.refusal(&first).await, Some(ROTATED));
    assert_eq!((ring.refusal(&old).await, ring.refusal(&second).await), (None, None));
}

#[tokio::test]
async fn rule_3_a_running_rotation_is_a_conflict_unless_it_is_superseded() {
    let ring = ring().await;
    for (running, next) in [(GRACE, GRACE), (GRACE, FIRST_USE), (FIRST_USE, GRACE)] {
        let (first, key) = ring.remembered().await;
        let (second, _) = ring.rotated(&key, running).await;
        assert!(ring.conflicts(&key, next).await, "{running:?} {next:?}");
        assert_eq!((ring.refusal(&first).await, ring.refusal(&second).await), (None, None));
        let superseding = Rotation { mode: next, supersede: true, ..Rotation::IMMEDIATE };
        let (third, _) = ring.rotate(&key, superseding).await.unwrap();
        let mut refused = 0;
        for secret in [&first, &second] {
            refused += usize::from(ring.refusal(secret).await.is_some());
        }
        assert_eq!((refused, ring.refusal(&third).await), (1, None), "two authenticate");
    }
}

#[tokio::test]
async fn rule_5_an_expired_or_disabled_key_can_be_rotated_and_a_revoked_one_cannot() {
    let (ring, clock) = timed().await;
    let (_, new) = service();
    let end = clock_now(&ring).plus(HOUR);
    let key = ring.mint(NewKey { expires_at: Some(end), ..new }).await;
    clock.advance(HOUR);
    let (secret, _) = ring.rotated(&key, Mode::Immediate).await;
    assert_eq!(ring.refusal(&secret).await, Some(Refusal::KeyExpired), "a rotation does not extend its life");
    let (_, key) = ring.remembered().await;
    ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Suspended, None)).await;
    let (secret, _) = ring.rotated(&key, GRACE).await;
    assert_eq!(ring.refusal(&secret).await, Some(Refusal::KeyDisabled));
    ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
    for mode in [Mode::Immediate, GRACE, FIRST_USE] {
        assert!(ring.conflicts(&key, mode).await, "{mode:?}");
    }
}

#[tokio::test]
async fn rule_7_of_two_who_rotate_what_both_have_seen_one_finds_out() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let seen = Rotation { generation: Some(key.generation), ..Rotation::IMMEDIATE };
    let both = tokio::join!(ring.rotate(&key, seen.clone()), ring.rotate(&key, seen));
    let (won, lost) = match both {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("{other:?}"),
    };
    assert!(matches!(lost, Problem::Conflict(..)));
    assert_eq!(ring.refusal(&won.0).await, None);
}

#[tokio::test]
async fn rule_11_revoking_ends_every_secret() {
    let ring = ring().await;
    for mode in [GRACE, FIRST_USE] {
        let (old, key) = ring.remembered().await;
        let (new, _) = ring.rotated(&key, mode).await;
        assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (None, None));
        ring.operate(Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await;
        assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (Some(REVOKED), Some(REVOKED)), "{mode:?}");
        assert_eq!(ring.shown(&key).await.rotation_at(clock_now(&ring)), None);
    }
}

#[tokio::test]
async fn completed_the_new_secret_is_the_only_one() {
    let ring = ring().await;
    for mode in [GRACE, FIRST_USE] {
        let (old, key) = ring.remembered().await;
        let (new, _) = ring.rotated(&key, mode).await;
        assert_eq!(ring.refusal(&new).await, None);
        ring.operate(Command::CompleteRotation(key.id.clone())).await;
        assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (Some(ROTATED), None), "{mode:?}");
        let again = ring.keyring.operate(&By::KEYWARD, Command::CompleteRotation(key.id)).await;
        assert!(matches!(again, Err(Problem::Conflict(..))), "nothing runs any more");
    }
}

#[tokio::test]
async fn cancelled_the_old_secret_is_the_only_one() {
    let ring = ring().await;
    for mode in [GRACE, FIRST_USE] {
        let (old, key) = ring.remembered().await;
        let (new, _) = ring.rotated(&key, mode).await;
        assert_eq!(ring.refusal(&new).await, None, "knocking is no use");
        ring.operate(Command::CancelRotation(key.id.clone())).await;
        assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (None, Some(ROTATED)), "{mode:?}");
        assert_eq!(ring.presented(&old).await, Presented::Current);
        assert!(matches!(
            ring.keyring.operate(&By::KEYWARD, Command::CancelRotation(key.id)).await,
            Err(Problem::Conflict(..))
        ));
    }
}

#[tokio::test]
async fn what_was_used_cannot_be_cancelled_though_its_use_is_being_written() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    let (new, _) = ring.rotated(&key, GRACE).await;
    ring.uses(&new).await;
    assert!(matches!(
        ring.keyring.operate(&By::KEYWARD, Command::CancelRotation(key.id.clone())).await,
        Err(Problem::Conflict(..))
    ));
    assert_eq!((ring.refusal(&old).await, ring.refusal(&new).await), (None, None));
    assert_eq!(ring.presented(&new).await, Presented::Current);
}

#[tokio::test]
async fn what_an_immediate_rotation_ended_is_dead_for_ever() {
    let ring = ring().await;
    let (old, key) = ring.remembered().await;
    ring.rotated(&key, Mode::Immediate).await;
    for command in [Command::CancelRotation(key.id.clone()), Command::CompleteRotation(key.id)] {
        assert!(matches!(ring.keyring.operate(&By::KEYWARD, command).await, Err(Problem::Conflict(..))));
    }
    assert_eq!(ring.refusal(&old).await, Some(ROTATED));
}

#[tokio::test]
async fn a_rotation_of_no_time_or_of_too_much_is_refused() {
    let ring = ring().await;
    let (_, key) = ring.remembered().await;
    let (zero, long) = (Duration::ZERO, HOUR * 24 * 31);
    for mode in [
        Mode::Grace(zero),
        Mode::Grace(long),
        Mode::FirstUse { within: zero, grace: zero },
        Mode::FirstUse { within: long, grace: zero },
        Mode::FirstUse { within: HOUR, grace: long },
    ] {
        let refused = ring.rotate(&key, Rotation { mode, ..Rotation::IMMEDIATE }).await;
        assert!(matches!(refused, Err(Problem::Invalid(_) | Problem::TooLong(..))), "{mode:?}");
    }
}

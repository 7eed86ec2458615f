//! What a rotation leaves alone, whatever key it meets and in whatever order rotations come.

use super::*;
use crate::key::rotation::Mode;

/// One step in the life of a key.
#[derive(Clone, Copy, Debug)]
enum Step {
    Rotate(Mode),
    Complete,
    Cancel,
    /// So many seconds pass.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let span = || (1_u64..5000).prop_map(Duration::from_secs);
    let step = prop_oneof![
        2 => Just(Step::Rotate(Mode::Immediate)),
        2 => span().prop_map(|grace| Step::Rotate(Mode::Grace(grace))),
        2 => (span(), span()).prop_map(|(within, grace)| Step::Rotate(Mode::FirstUse { within, grace })),
        1 => Just(Step::Complete),
        1 => Just(Step::Cancel),
        1 => (1_u64..2000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..12)
}

/// A service or personal key, with bounds or without.
fn keys() -> impl Strategy<Value = (Secret, NewKey)> {
    let permissions = prop::collection::vec(prop::sample::select(vec!["jobs:run", "jobs:*", "users:read"]), 0..3);
    let networks = prop::collection::vec(prop::sample::select(vec!["10.0.0.0/8", "::1/128"]), 0..2);
    (any::<bool>(), permissions, networks, prop::option::of(1_u64..5000)).prop_map(
        |(is_service, permissions, networks, life)| {
            let (secret, new) = if is_service { service() } else { personal() };
            let new = NewKey {
                permissions: permissions.iter().map(|one| one.parse().unwrap()).collect::<Vec<_>>().into(),
                allowed_ips: networks.iter().map(|net| net.parse().unwrap()).collect(),
                expires_at: life.map(|seconds| START.plus(Duration::from_secs(seconds))),
                ..new
            };
            (secret, new)
        },
    )
}

const START: Timestamp = Timestamp::from_millis(1_000_000);

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_rotation_never_widens_what_a_key_may_nor_prolongs_its_life_by_itself((first, new) in keys(), steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(holds(first, new, steps));
    }
}

async fn holds(first: Secret, new: NewKey, steps: Vec<Step>) {
    let clock = ManualClock::at(START);
    let ring = ring_with(Clock::Manual(clock.clone()), |_, _| ()).await;
    let key = ring.mint(new).await;
    let mut secrets = vec![first];
    for step in steps {
        let command = match step {
            Step::Rotate(mode) => {
                let (secret, imprint) = fresh();
                secrets.push(secret);
                let rotation = Rotation { mode, supersede: true, ..Rotation::IMMEDIATE };
                Command::RotateKey(key.id.clone(), imprint, rotation)
            }
            Step::Complete => Command::CompleteRotation(key.id.clone()),
            Step::Cancel => Command::CancelRotation(key.id.clone()),
            Step::Wait(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                continue;
            }
        };
        // That there is nothing to complete or to cancel is no matter here.
        let _ = ring.keyring.operate(&By::KEYWARD, command).await;
        let now = ring.keyring.shared.clock.now();
        let Outcome::Key(shown) = ring.operate(Command::ShowKey(key.id.clone())).await else { panic!("no key") };
        assert_eq!(bounds(&shown), bounds(&key), "{step:?}");
        if let (Some(running), Some(end)) = (&shown.rotation, key.expires_at)
            && running.state == crate::key::SecretState::Grace
        {
            assert!(running.valid_until <= end, "{step:?}: {running:?}");
        }
        let mut alive = 0;
        for secret in &secrets {
            let Ok(verified) = ring.verify(secret).await else { continue };
            alive += 1;
            let standing = verified.standing();
            assert!(key.expires_at.is_none_or(|end| now < end), "{step:?}: alive at {now}");
            assert_eq!(
                (&standing.permissions, &standing.allowed_ips),
                (&key.permissions, &key.allowed_ips),
                "{step:?}"
            );
        }
        assert!(alive <= 2, "{step:?}: {alive} secrets authenticate");
    }
}

/// Everything that bounds a key.
fn bounds(key: &Key) -> impl PartialEq + std::fmt::Debug {
    (
        (key.kind, key.state, key.account.clone(), key.user.clone()),
        (key.permissions.clone(), key.allowed_ips.clone(), key.not_before, key.expires_at),
    )
}

//! How long a remembered key is served beyond the database, by policy.

use std::time::Duration;

use super::scene::{Sample, Scene, assert_unavailable, now, served_until};
use crate::support::eventually;

const FENCE: Duration = Duration::from_secs(2);
const STALE: Duration = Duration::from_secs(2);
/// Keys that are made while a test runs are not to be read in by themselves.
const CONFIG: &str = "keyring.warm = false\n";

/// What a request may be whose key cannot be told: trouble, and never a refusal.
fn assert_served_or_unavailable(samples: &[Sample]) {
    for Sample { answer, .. } in samples.iter().filter(|sample| sample.answer.status != 200) {
        assert_unavailable(answer);
    }
}

/// Cuts the database off and tells when the remembered key was served last. Another one never is, whatever the moment.
fn outlives(scene: &Scene, policy: &str, bound: Duration) -> Vec<Sample> {
    assert_eq!(scene.ready(), 200);
    let cut = scene.cut();
    assert_unavailable(&scene.ask(&scene.unused.secret));
    let samples = scene.sampled(cut, &scene.remembered.secret, |last| last.answer.status != 200);
    assert_served_or_unavailable(&samples);
    let (until, count) = served_until(&samples);
    // A lease is counted from before the question left, and the last one may have left a tick before the cut.
    assert!(until >= bound / 2 && count > 3, "{policy}: {until:?}, {count} requests");
    assert!(until < bound, "{policy}: a request that began {until:?} after the cut was served");
    // Another replica may be adopting secrets with foreign checksums at this moment.
    let (mut foreign, last) = (scene.unused.secret.clone(), scene.unused.secret.ends_with('0'));
    foreign.replace_range(foreign.len() - 1.., if last { "1" } else { "0" });
    assert_ne!(foreign, scene.unused.secret);
    for secret in [&scene.unused.secret, "an-opaque-secret-that-nobody-has", &foreign] {
        assert_unavailable(&scene.ask(secret));
    }
    eventually("it says that it is not ready", || scene.ready() == 503);
    let mended = scene.mend();
    eventually("it serves again", || scene.ask(&scene.remembered.secret).status == 200);
    println!("{policy}: served for {until:?} of {bound:?}; again {:?} after the database was back", now() - mended);
    assert_eq!(scene.ask(&scene.unused.secret).status, 200);
    assert_eq!(scene.ask("an-opaque-secret-that-nobody-has").status, 401);
    eventually("it is ready", || scene.ready() == 200);
    samples
}

#[test]
fn fail_closed_serves_for_the_fence_and_no_longer() {
    let scene = Scene::new(&format!("{CONFIG}store.fence = \"2s\"\n"));
    let samples = outlives(&scene, "fail_closed", FENCE);
    assert!(samples.iter().all(|sample| sample.answer.header("keyward-stale").is_none()));
}

#[test]
fn bridge_is_a_fence_of_its_own() {
    let scene = Scene::new(&format!("{CONFIG}store.fence = \"1s\"\nstore.outage = {{ bridge = \"4s\" }}\n"));
    outlives(&scene, "bridge", Duration::from_secs(4));
    assert_eq!(scene.database.psql("SELECT fence, stale FROM keyward.head"), "4000|0");
}

#[test]
fn stale_unsafe_serves_beyond_the_fence_and_says_so_with_every_answer() {
    let config = "store.fence = \"2s\"\nstore.outage = { stale_unsafe = \"2s\" }\n";
    let scene = Scene::new(&format!("{CONFIG}{config}"));
    let samples = outlives(&scene, "stale_unsafe", FENCE + STALE);
    let stale: Vec<_> = samples.iter().filter(|sample| sample.answer.header("keyward-stale").is_some()).collect();
    assert!(!stale.is_empty(), "some answers were stale");
    for Sample { began, ended, answer } in &samples {
        let Some(age) = answer.header("keyward-stale") else {
            assert!(answer.status != 200 || *began < FENCE, "{began:?} after the cut, and it does not say so");
            continue;
        };
        assert_eq!(answer.status, 200);
        let age: u64 = age.strip_prefix("age=").unwrap().parse().unwrap();
        // The last answer came before the cut: by a tick, and by what a loaded machine adds.
        assert!(age >= 1 && age <= ended.as_secs() + 3, "{age} s, {ended:?} after the cut");
    }
    assert_eq!(scene.keyward.metric("keyward_stale_total"), stale.len() as u64);
    let told = scene.keyward.logged("/", samples.len());
    let told: Vec<_> = told.iter().filter_map(|line| line["stale_s"].as_u64()).collect();
    assert_eq!(told.len(), stale.len(), "the access log says so, too");
}

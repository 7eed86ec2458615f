//! What an outage of one replica means for a revocation at another: how long its receipt takes, and that it is true.

use std::time::Duration;

use super::scene::{Scene, served_until};
use crate::support::eventually;

/// A replica is cut off and goes on serving a key that is revoked at another one meanwhile: not once the receipt is there.
fn revoked_while_cut_off(policy: &str, config: &str, bound: Duration) {
    let scene = Scene::new(config);
    let other = scene.another(|setup| setup.config(config));
    scene.desk(&other).hears_of_others(bound);
    assert_eq!(scene.ask(&scene.remembered.secret).status, 200);
    let cut = scene.cut();
    let ((complete, states), samples) = std::thread::scope(|scope| {
        let revoking = scope.spawn(|| scene.desk(&other).revoke(&scene.remembered));
        let samples = scene.sampled(cut, &scene.remembered.secret, |last| last.answer.status != 200);
        (revoking.join().unwrap(), samples)
    });
    let (until, count) = served_until(&samples);
    assert!(count > 3, "{policy}: it went on serving for a while");
    assert!(complete - cut >= bound, "{policy}: a silent replica is waited for, {:?}", complete - cut);
    assert!(cut + until < complete, "{policy}: served {until:?} after the cut, complete after {:?}", complete - cut);
    assert!(states.iter().any(|state| state == "lapsed"), "{states:?}");
    println!("{policy}: a key was served for {until:?}, and its revocation complete after {:?}", complete - cut);
    scene.mend();
    eventually("it hears of it", || scene.ask(&scene.remembered.secret).status == 401);
}

#[test]
fn fail_closed_completes_a_revocation_within_the_fence() {
    revoked_while_cut_off("fail_closed", "store.fence = \"2s\"\n", Duration::from_secs(2));
}

#[test]
fn stale_unsafe_makes_the_report_wait_and_is_never_unseen() {
    let config = "store.fence = \"1s\"\nstore.outage = { stale_unsafe = \"2s\" }\n";
    revoked_while_cut_off("stale_unsafe", config, Duration::from_secs(3));
}

#[test]
fn a_replica_serves_beyond_the_fence_for_no_longer_than_the_store_says() {
    let scene = Scene::new("store.fence = \"1s\"\nstore.outage = { stale_unsafe = \"30s\" }\n");
    // The last to begin has said that nobody does.
    let other = scene.another(|setup| setup.config("store.fence = \"1s\"\n"));
    scene.keyward.stderr.expect("another replica has said another");
    eventually("what was granted before is over", || {
        scene.database.psql("SELECT fence, stale, fence_before FROM keyward.head") == "1000|0|"
    });
    let cut = scene.cut();
    let samples = scene.sampled(cut, &scene.remembered.secret, |last| last.answer.status != 200);
    let (until, _) = served_until(&samples);
    assert!(until < Duration::from_secs(1), "{until:?}");
    drop(other);
}

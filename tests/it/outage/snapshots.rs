//! A replica that starts while its database is away: by what it was before, and within the same bound.

use std::path::PathBuf;
use std::time::Duration;

use super::scene::{Scene, assert_unavailable, now, served_until, started};
use crate::support::keyward::Setup;
use crate::support::{Keyward, eventually, keyward};

/// Long enough for a start on a loaded machine.
const FENCE: Duration = Duration::from_secs(12);
const CONFIG: &str = "store.fence = \"12s\"\n";

/// With a folder of its own, and a pepper beside it.
fn with_folder(setup: Setup, more: &str) -> Setup {
    let folder = setup.folder().to_owned();
    let (own, pepper) = (folder.join("own"), folder.join("pepper"));
    let _ = std::fs::create_dir(&own);
    std::fs::write(&pepper, [b'p'; 64]).unwrap();
    setup.config(format!("{CONFIG}{more}store.folder = \"{}\"\n", own.display())).pepper(pepper)
}

fn pepper(keyward: &Keyward) -> PathBuf {
    keyward.folder().join("pepper")
}

fn file(keyward: &Keyward) -> PathBuf {
    keyward.folder().join("own/keyward.snapshot")
}

fn scene() -> Scene {
    let scene = Scene::with(|setup| with_folder(setup, "keyring.warm = false\n"));
    eventually("the key is in the snapshot", || scene.keyward.metric("keyward_snapshot_keys") >= 1);
    scene
}

impl Scene {
    /// What would start over the ended one.
    fn next(&self) -> Setup {
        with_folder(keyward().over(&self.keyward), "keyring.warm = false\n").upstream(self.origin.url())
    }

    fn restart(&mut self) {
        self.keyward = started(|| self.next());
    }
}

/// It ends at once, as it does without a snapshot, and says why.
fn assert_does_not_start(setup: Setup, why: &str) {
    let mut next = setup.spawn();
    assert_eq!(next.ended().code(), Some(1), "{why}");
    let said = next.stderr.all().join("\n");
    assert!(said.contains(why) && said.contains("cannot be reached"), "{said}");
}

#[test]
fn who_starts_by_a_snapshot_serves_what_was_remembered_until_the_lease_before_ends_and_joins_when_it_can() {
    let mut scene = scene();
    let cut = scene.cut();
    scene.keyward.kill();
    for life in ["first", "second"] {
        scene.restart();
        scene.keyward.stderr.expect("starts by its snapshot");
        assert_eq!(scene.ready(), 200, "the {life} life after");
        assert_eq!(scene.ask(&scene.remembered.secret).status, 200, "the {life} life after");
        for secret in [&scene.unused.secret, "an-opaque-secret-that-nobody-has"] {
            assert_unavailable(&scene.ask(secret));
        }
        assert_unavailable(&scene.desk(&scene.keyward).ask("GET", "/v1/keys", &serde_json::json!({})));
        if life == "first" {
            scene.keyward.kill();
        }
    }
    let samples = scene.sampled(cut, &scene.remembered.secret, |last| last.answer.status != 200);
    let (until, count) = served_until(&samples);
    assert!(until >= FENCE / 2 && until < FENCE && count > 3, "{until:?}, {count} requests");
    samples.iter().filter(|sample| sample.answer.status != 200).for_each(|sample| assert_unavailable(&sample.answer));
    assert_eq!(scene.ready(), 503);
    let mended = scene.mend();
    eventually("it serves again", || scene.ask(&scene.remembered.secret).status == 200);
    println!("by a snapshot: served until {until:?} of {FENCE:?} after the cut; again {:?} after", now() - mended);
    scene.keyward.stderr.expect("joins the others");
    assert_eq!(scene.ask(&scene.unused.secret).status, 200);
    eventually("it is ready", || scene.ready() == 200);
    let new = scene.desk(&scene.keyward).mint();
    eventually("a new key is served", || scene.ask(&new.secret).status == 200);
}

#[test]
fn a_key_whose_revocation_was_complete_is_not_served_by_who_starts_by_a_snapshot() {
    let mut scene = scene();
    let file = pepper(&scene.keyward);
    let other = scene.another(|setup| setup.config(CONFIG).pepper(&file));
    for round in 0..3 {
        let desk = scene.desk(&other);
        let [kept, gone] = [(); 2].map(|()| desk.mint());
        for key in [&kept, &gone] {
            eventually("the key is known", || scene.ask(&key.secret).status == 200);
        }
        desk.hears_of_others(FENCE / 2);
        // The replica dies as soon as it has said that it knows.
        let (_, states) = desk.revoke(&gone);
        scene.keyward.kill();
        scene.cut();
        assert_eq!(states, ["acknowledged"; 2], "round {round}");
        scene.restart();
        scene.keyward.stderr.expect("starts by its snapshot");
        assert_eq!(scene.ask(&kept.secret).status, 200, "round {round}");
        assert_ne!(scene.ask(&gone.secret).status, 200, "round {round}");
        scene.mend();
        scene.keyward.stderr.expect("joins the others");
        eventually("it is ready", || scene.ask(&gone.secret).status == 401);
        // A crash costs nobody a wait, where the machine knows that nothing is left of it.
        scene.keyward.stderr.expect("the process before this one is gone");
        let live = "SELECT count(*) FROM keyward.replica WHERE state <> 'dead'";
        assert_eq!(scene.database.psql(live), "2", "round {round}");
    }
}

#[test]
fn who_stops_in_order_leaves_a_snapshot_only_where_the_database_is_away() {
    let mut scene = scene();
    let live = |scene: &Scene| scene.database.psql("SELECT count(*) FROM keyward.replica WHERE state = 'live'");
    assert!(file(&scene.keyward).exists());
    assert!(scene.keyward.stop().success());
    assert!(!file(&scene.keyward).exists(), "who says goodbye leaves nothing that could be gone on with");
    assert_eq!(live(&scene), "0");
    scene.cut();
    assert_does_not_start(scene.next(), "the store cannot be opened");

    scene.mend();
    scene.restart();
    eventually("it serves", || scene.ask(&scene.remembered.secret).status == 200);
    eventually("the key is in the snapshot", || scene.keyward.metric("keyward_snapshot_keys") >= 1);
    scene.cut();
    assert!(scene.keyward.stop().success());
    assert!(file(&scene.keyward).exists());
    assert_eq!(live(&scene), "1", "it said no goodbye, and is waited for");
    scene.restart();
    assert_eq!(scene.ask(&scene.remembered.secret).status, 200);
}

#[test]
fn without_a_snapshot_of_its_own_a_replica_does_not_start_while_the_database_is_away() {
    let mut scene = scene();
    scene.cut();
    scene.keyward.kill();
    let snapshot = file(&scene.keyward);
    let whole = std::fs::read(&snapshot).unwrap();
    let mut forged = whole.clone();
    forged[whole.len() / 2] ^= 1;
    std::fs::write(&snapshot, forged).unwrap();
    assert_does_not_start(scene.next(), "it was changed, or sealed under another pepper");
    // In the folder of another replica it is a copy.
    let copied = with_folder(keyward().store(scene.database.url_by(scene.relay.address())), "");
    std::fs::write(copied.folder().join("own/keyward.snapshot"), &whole).unwrap();
    assert_does_not_start(copied.upstream(scene.origin.url()), "it was copied here from another folder");
    let switched_off = with_folder(keyward().over(&scene.keyward), "store.snapshot = false\n");
    assert_does_not_start(switched_off.upstream(scene.origin.url()), "the store cannot be opened");
    // The very one, once its lease is over.
    std::fs::write(&snapshot, &whole).unwrap();
    eventually("the lease is over", || {
        let mut next = scene.next().spawn();
        let listens = next.comes_to_listen();
        let late = next.stderr.all().iter().any(|line| line.contains("it is too old"));
        assert!(listens || late, "{:#?}", next.stderr.all());
        next.kill();
        late
    });
}

#[test]
fn a_folder_is_one_replicas_own() {
    let scene = scene();
    let mut second = scene.next().spawn();
    assert_eq!(second.ended().code(), Some(1));
    second.stderr.expect("runs in the folder");
    assert_eq!(scene.ask(&scene.remembered.secret).status, 200);
    // Without a pepper there is nothing that could not be forged.
    let plain = keyward();
    let own = plain.folder().to_owned();
    let plain = plain.config(format!("{CONFIG}store.folder = \"{}\"\n", own.display()));
    let database = crate::support::postgres::Server::shared().database();
    let plain = plain.store(database.url()).upstream(scene.origin.url()).start();
    plain.stderr.expect("no snapshot is kept, since keys.pepper_file is not set");
    assert!(!own.join("keyward.snapshot").exists());
}

#[test]
fn a_snapshot_that_cannot_be_written_holds_nobody_up() {
    let scene = Scene::with(|setup| with_folder(setup, "").file_limit(2000));
    scene.keyward.stderr.expect("the snapshot cannot be written");
    eventually("there is none", || !file(&scene.keyward).exists());
    // Its acknowledgements go out, and a revocation is complete by them.
    let file = pepper(&scene.keyward);
    let other = scene.another(|setup| setup.config(CONFIG).pepper(&file));
    scene.desk(&other).hears_of_others(FENCE / 2);
}

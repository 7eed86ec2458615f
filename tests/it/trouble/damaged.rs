//! Files that are cut off, overwritten or taken away, under a running keyward and before it starts.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Scene, assert_unavailable};
use crate::support::{Keyward, eventually, keyward};

/// Keys enough to fill a few dozen pages.
const MANY: usize = 200;

fn secret(at: usize) -> String {
    format!("an-opaque-secret-of-old-times-{at}")
}

/// A scene with many more keys, none of them remembered, all of them in the database itself: the log is folded in when a
/// keyward stops.
fn with_many_keys() -> Scene {
    let mut scene = Scene::new();
    let rows: String = (0..MANY).map(|at| format!("101,{}\n", secret(at))).collect();
    let file = scene.keyward.folder().join("keys.csv");
    std::fs::write(&file, format!("account,secret\n{rows}")).unwrap();
    scene.keyward.cli(&["import", file.to_str().unwrap()]);
    assert!(scene.keyward.stop().success());
    assert!(!scene.keyward.database().with_extension("db-wal").exists(), "the store is closed in order");
    scene.again();
    assert_eq!(scene.status(&scene.remembered), 200);
    scene
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// It ends at once, and says what is wrong with which file.
fn does_not_start(scene: &Scene, why: &str) {
    let mut next = keyward().upstream(scene.origin.url()).over(&scene.keyward).spawn();
    assert_eq!(next.ended().code(), Some(1), "{why}");
    let said = next.stderr.expect("keyward.db");
    assert!(said.contains(why), "{said}");
    assert!(next.stdout.all().is_empty(), "no operator key is made for a store that is not new");
}

/// No living key is called unknown. How many were found.
fn none_is_refused(keyward: &Keyward) -> usize {
    let mut wire = keyward.wire();
    let answers = (0..MANY).map(|at| wire.get("/", &secret(at)));
    let found = answers.map(|answer| {
        if answer.status != 200 {
            assert_unavailable(&answer);
        }
        usize::from(answer.status == 200)
    });
    found.sum()
}

#[test]
fn a_database_cut_off_under_a_running_keyward_is_an_outage_and_no_refusal() {
    for cut in [1, 4096, 20_000, u64::MAX] {
        let mut scene = with_many_keys();
        let database = scene.keyward.database();
        let whole = std::fs::read(&database).unwrap();
        open(&database).set_len(length(&database).saturating_sub(cut)).unwrap();
        assert_eq!(none_is_refused(&scene.keyward), 0, "cut by {cut}");
        assert_unavailable(&scene.keyward.get("/", "an-opaque-secret-that-nobody-has"));
        assert_eq!(scene.status(&scene.remembered), 200);
        scene.revoking_fails(&scene.remembered, "is damaged");
        eventually("it is not ready", || scene.ready().status == 503);
        scene.keyward.stderr.expect("the store cannot be read");
        scene.keyward.kill();
        does_not_start(&scene, if cut == u64::MAX { "is an empty file" } else { "is damaged" });
        // A restored backup makes it all good.
        for beside in ["db-wal", "db-shm"] {
            let _ = std::fs::remove_file(database.with_extension(beside));
        }
        std::fs::write(&database, &whole).unwrap();
        scene.again();
        assert_eq!(none_is_refused(&scene.keyward), MANY);
    }
}

#[test]
fn a_database_cut_off_before_the_start_is_named_and_not_begun_anew() {
    let mut scene = with_many_keys();
    assert!(scene.keyward.stop().success());
    let database = scene.keyward.database();
    let whole = std::fs::read(&database).unwrap();
    let all = whole.len();
    for (left, why) in [
        (all - 1, "is damaged"),
        (all - 100, "is damaged"),
        (all - 4096, "is damaged"),
        (all / 2, "is damaged"),
        (4096, "is damaged"),
        (100, "is damaged"),
        (99, "is not a keyward store"),
        (1, "is not a keyward store"),
        (0, "is an empty file"),
    ] {
        std::fs::write(&database, &whole[..left]).unwrap();
        does_not_start(&scene, why);
        assert_eq!(length(&database), left as u64, "what is left is left as it was");
    }
    std::fs::write(&database, &whole).unwrap();
    scene.again();
    assert_eq!(none_is_refused(&scene.keyward), MANY);
}

#[test]
fn an_overwritten_database_is_an_outage_and_no_refusal() {
    for filling in [0x00, 0xff, b'x'] {
        let mut scene = with_many_keys();
        let database = scene.keyward.database();
        let after_the_first_page = vec![filling; usize::try_from(length(&database)).unwrap() - 4096];
        open(&database).write_all_at(&after_the_first_page, 4096).unwrap();
        assert!(none_is_refused(&scene.keyward) < MANY);
        assert_eq!(scene.status(&scene.remembered), 200);
        scene.keyward.kill();
        does_not_start(&scene, "is damaged");
        open(&database).write_all_at(&[filling; 4096], 0).unwrap();
        does_not_start(&scene, "is not a keyward store");
    }
}

#[test]
fn a_database_taken_away_is_not_written_on() {
    let scene = with_many_keys();
    let database = scene.keyward.database();
    let aside = database.with_extension("aside");
    std::fs::rename(&database, &aside).unwrap();
    let said = scene.keyward.fails(&["key", "revoke", &scene.remembered.id]);
    assert!(said.contains("there is no store at"), "{said}");
    std::fs::copy(&aside, &database).unwrap();
    scene.revoking_fails(&scene.remembered, "was removed or replaced while keyward ran");
    assert_eq!(none_is_refused(&scene.keyward), 0);
    eventually("it is not ready", || scene.ready().status == 503);
    std::fs::rename(&aside, &database).unwrap();
    eventually("it is ready again", || scene.ready().status == 200);
    assert_eq!(none_is_refused(&scene.keyward), MANY);
    scene.revoking_works(&scene.remembered);
}

#[test]
fn a_log_cut_off_or_taken_away_is_not_written_on() {
    let cut = |log: &Path| open(log).set_len(length(log) / 2).unwrap();
    let empty = |log: &Path| open(log).set_len(0).unwrap();
    let take = |log: &Path| std::fs::remove_file(log).unwrap();
    type Trouble = fn(&Path);
    let troubles: [(Trouble, &str); 3] =
        [(cut, "is damaged"), (empty, "is damaged"), (take, "was removed or replaced while keyward ran")];
    for (trouble, why) in troubles {
        let scene = Scene::new();
        trouble(&scene.keyward.database().with_extension("db-wal"));
        scene.revoking_fails(&scene.remembered, why);
        assert_eq!(scene.status(&scene.remembered), 200);
    }
}

#[test]
fn a_shell_that_tidies_up_is_no_trouble() {
    let scene = with_many_keys();
    scene.keyward.service_key("101", &[]);
    let shell = rusqlite::Connection::open(scene.keyward.database()).unwrap();
    let fold = || shell.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(fold(), 0);
    scene.keyward.service_key("101", &[]);
    // As good as gone: then VACUUM makes the database shorter.
    shell.execute_batch("PRAGMA busy_timeout = 5000; DELETE FROM secret WHERE prefix IS NULL; VACUUM").unwrap();
    let long = length(&scene.keyward.database());
    assert_eq!(fold(), 0);
    assert!(length(&scene.keyward.database()) < long);
    assert_eq!(scene.status(&scene.other), 200);
    scene.revoking_works(&scene.remembered);
    assert_eq!(scene.ready().status, 200);
}

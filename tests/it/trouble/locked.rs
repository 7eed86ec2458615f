//! Another process holds a lock on the store's files.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rusqlite::Connection;

use super::{Scene, assert_unavailable};
use crate::support::eventually;
use crate::support::python::python;

#[test]
fn a_transaction_of_another_process_makes_changes_fail_and_nothing_else() {
    for begin in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        let mut scene = Scene::new();
        let shell = Connection::open(scene.keyward.database()).unwrap();
        shell.execute_batch(begin).unwrap();
        scene.revoking_fails(&scene.remembered, "another program keeps the store");
        // Reading needs no lock: a key that is not remembered is found, and an unknown secret is known to be none.
        assert_eq!(scene.status(&scene.other), 200);
        assert_eq!(scene.keyward.get("/", "an-opaque-secret-that-nobody-has").status, 401);
        assert_eq!(scene.ready().status, 200);
        // Nor does it keep keyward from starting anew.
        scene.keyward.kill();
        scene.again();
        assert_eq!((scene.status(&scene.remembered), scene.status(&scene.other)), (200, 200));
        // Both uses are kept until they can be written.
        scene.keyward.stderr.expect("last uses could not be written; kept for later");
        eventually("both uses wait", || scene.metric("keyward_key_uses_waiting") == 2);

        shell.execute_batch("ROLLBACK").unwrap();
        scene.revoking_works(&scene.remembered);
        eventually("no use waits", || scene.metric("keyward_key_uses_waiting") == 0);
        let show = ["key", "show", &scene.other.id];
        eventually("the use is written", || scene.keyward.json(&show)["last_used_at"].is_string());
    }
}

#[test]
fn a_store_that_cannot_be_read_is_an_outage_and_no_refusal() {
    let mut scene = Scene::new();
    // The bytes by which SQLite's readers and writers tell each other what they do ("WAL-mode File Format", section 2.2).
    let hold = "import fcntl, sys\n\
                f = open(sys.argv[1], 'r+b')\n\
                fcntl.lockf(f, fcntl.LOCK_EX, 8, 120)\n\
                print('held', flush=True)\n\
                sys.stdin.read()\n";
    let mut holder = python()
        .args(["-c", hold])
        .arg(scene.keyward.database().with_extension("db-shm"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "held");

    scene.revoking_fails(&scene.remembered, "another program keeps the store");
    assert_unavailable(&scene.keyward.get("/", &scene.other.secret));
    assert_unavailable(&scene.keyward.get("/", "an-opaque-secret-that-nobody-has"));
    eventually("it is not ready", || scene.ready().status == 503);
    assert!(scene.ready().text().contains("[-] store: it could not be read lately"));
    assert_eq!(scene.metric("keyward_store_readable"), 0);
    assert!(scene.metric("keyward_store_load_failures_total") >= 2);
    scene.keyward.stderr.expect("the store cannot be read");
    assert_eq!(scene.status(&scene.remembered), 200);

    drop(holder.stdin.take());
    holder.wait().unwrap();
    eventually("it is ready again", || scene.ready().status == 200);
    assert_eq!(scene.metric("keyward_store_readable"), 1);
    assert_eq!(scene.status(&scene.other), 200);
    scene.revoking_works(&scene.remembered);
    assert!(scene.keyward.stop().success());
}

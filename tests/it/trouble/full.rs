//! No room for the store: a small disk that something else fills, and a limit on the size of files.

use std::process::Command;
use std::sync::Arc;

use super::Scene;
use crate::support::{Disk, Keyward, Minted, eventually, keyward};

/// What takes the room away.
enum Narrow {
    /// A disk with nothing left.
    Disk(Arc<Disk>),
    /// A file may not grow. It needs no privilege, so it stands in where no disk can be mounted.
    Limit,
}

impl Narrow {
    fn disk() -> Self {
        Disk::of(4 << 20).map_or(Self::Limit, |disk| Self::Disk(Arc::new(disk)))
    }

    fn scene(&self) -> Scene {
        Scene::over(|setup| match self {
            Self::Disk(disk) => setup.on(disk),
            Self::Limit => setup,
        })
    }

    fn take_room(&self, keyward: &Keyward) {
        match self {
            Self::Disk(disk) => disk.fill(),
            Self::Limit => {
                let log = keyward.database().with_extension("db-wal");
                limit(keyward, &std::fs::metadata(log).unwrap().len().to_string());
            }
        }
    }

    fn give_room(&self, keyward: &Keyward) {
        match self {
            Self::Disk(disk) => disk.make_room(),
            Self::Limit => limit(keyward, "unlimited"),
        }
    }
}

const FULL: &str = "keyward.db is full: make room; nothing was changed";
/// With or without "while a change was committed, so whether it was made is not known".
const FAILED: &str = "keyward.db failed";

/// Sets the soft limit of a running process.
fn limit(keyward: &Keyward, bytes: &str) {
    let process = keyward.pid().to_string();
    let set = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
    assert!(set.expect("prlimit is there: run .ci/packages").success());
}

#[test]
fn a_change_on_a_full_disk_is_an_error_and_keyward_goes_on() {
    let narrow = Narrow::disk();
    let why = if matches!(narrow, Narrow::Disk(_)) { FULL } else { FAILED };
    goes_on(&narrow, why);
}

#[test]
fn a_first_start_without_room_says_so_and_leaves_nothing_in_the_way() {
    let narrow = Narrow::disk();
    let start = || {
        let setup = keyward().upstream("http://127.0.0.1:1");
        match &narrow {
            Narrow::Disk(disk) => setup.on(disk),
            // Two pages: no store is so small.
            Narrow::Limit => setup.file_limit(8192),
        }
    };
    if let Narrow::Disk(disk) = &narrow {
        disk.fill();
    }
    let mut first = start().spawn();
    assert_eq!(first.ended().code(), Some(1));
    let said = first.stderr.expect("the store cannot be opened");
    assert!(said.contains("keyward.db"), "{said}");
    if let Narrow::Disk(disk) = &narrow {
        assert!(said.contains("is full: make room"), "{said}");
        disk.make_room();
    }
    let mut next = keyward().upstream("http://127.0.0.1:1").over(&first).start();
    next.account("101");
    assert!(next.stop().success());
}

#[test]
fn a_change_beyond_a_limit_of_file_size_is_an_error_and_keyward_goes_on() {
    goes_on(&Narrow::Limit, FAILED);
}

fn goes_on(narrow: &Narrow, why: &str) {
    let mut scene = narrow.scene();
    narrow.take_room(&scene.keyward);
    // There may be room in files that are large already, so some changes may work yet.
    let mut made = Vec::new();
    while let Some(key) = mint(&scene.keyward, why) {
        made.push(key);
        assert!(made.len() < 1000, "the store is not full");
    }
    scene.revoking_fails(&scene.remembered, why);
    for key in made.iter().chain([&scene.other]) {
        assert_eq!(scene.status(key), 200);
    }
    assert_eq!(scene.keyward.get("/", "an-opaque-secret-that-nobody-has").status, 401);
    assert_eq!(scene.ready().status, 200);
    eventually("the uses wait", || scene.metric("keyward_key_uses_waiting") >= 1);

    narrow.give_room(&scene.keyward);
    scene.revoking_works(&scene.remembered);
    made.extend(mint(&scene.keyward, why));
    eventually("the uses are written", || scene.metric("keyward_key_uses_waiting") == 0);
    assert!(scene.keyward.json(&["key", "show", &scene.other.id])["last_used_at"].is_string());

    scene.keyward.kill();
    scene.again();
    assert_eq!(scene.status(&scene.remembered), 401);
    for key in made.iter().chain([&scene.other]) {
        assert_eq!(scene.status(key), 200);
    }
    let known = scene.keyward.json(&["key", "list", "--account", "101"]);
    assert_eq!(known["keys"].as_array().unwrap().len(), 2 + made.len(), "what failed left nothing behind");
    assert!(scene.keyward.stop().success());
}

/// A new key; none where there is no room for it.
fn mint(keyward: &Keyward, why: &str) -> Option<Minted> {
    let arguments = ["key", "mint", "--account", "101", "--kind", "service", "--json"];
    let output = keyward.run(&arguments);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && said.contains(why) && said.contains("keyward.db"), "{said}");
        return None;
    }
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Some(Minted { id: text("id"), secret: text("secret") })
}

//! A reload: SIGHUP and changed files. What is right is taken over at once, what is wrong changes nothing.

mod certificates;
mod refusals;
mod settings;

use crate::support::{Keyward, Origin, eventually};

/// A service, and a route to it for everything.
fn to(origin: &Origin) -> String {
    format!("[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n", origin.url())
}

/// Only by SIGHUP.
const ASKED: &str = "[reload]\nwatch = false\n";

/// By whatever the system tells of the files, and by nothing else.
const WATCHED: &str = "[reload]\npoll = \"0s\"\n";

const APPLIED: &str = "the settings were reloaded";
const UNCHANGED: &str = "nothing changed";
const REFUSED: &str = "nothing was changed; the settings in use stay";

/// Replaces the settings file, as an editor does: whole, by another of its name.
fn write(keyward: &Keyward, text: &str) {
    let new = keyward.folder().join("keyward.toml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, keyward.folder().join("keyward.toml")).unwrap();
}

/// Waits until a reload has been told to end like this `count` times since the start.
fn told(keyward: &Keyward, outcome: &str, count: usize) {
    let so_often = || keyward.stderr.all().iter().filter(|line| line.contains(outcome)).count() >= count;
    eventually(&format!("{outcome:?} is told {count} times"), so_often);
}

/// Sends SIGHUP and waits until it has led to this for the `count`th time.
fn hang_up(keyward: &Keyward, outcome: &str, count: usize) {
    keyward.signal("HUP");
    told(keyward, outcome, count);
}

/// The value of a series without labels, or with these.
fn number(keyward: &Keyward, series: &str) -> f64 {
    let text = keyward.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

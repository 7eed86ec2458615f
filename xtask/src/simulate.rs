//! Histories of the protocol under a seed: more of them than the tests run, or one alone.
//!
//! It is built as the tests are: optimising it would take longer than it saves.

use crate::run::{Run, Trouble, seconds};

pub(crate) const NAME: &str = "simulate";

pub(crate) fn check() -> Result<(), Trouble> {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, number) = match words[..] {
        [] => ("KEYWARD_HISTORIES", HISTORIES),
        ["--histories", count] => ("KEYWARD_HISTORIES", number(count)?),
        ["--seed", seed] => ("KEYWARD_SEED", number(seed)?),
        _ => return Err(Trouble::Wrong(USAGE.into())),
    };
    let run = |line: &str, limit| Run::new("cargo test --package keyward --lib --locked", limit).args(line);
    run("--no-run", seconds(1800)).show()?;
    // A busy machine runs a hundred histories a second.
    let limit = if name == "KEYWARD_SEED" { 120 } else { 120 + number / 50 };
    run(&format!("{TEST} -- --ignored --exact --nocapture"), seconds(limit)).env(name, number.to_string()).show()
}

fn number(text: &str) -> Result<u64, Trouble> {
    text.parse().map_err(|_| Trouble::Wrong(format!("{text} is no number; {USAGE}")))
}

const TEST: &str = "keyring::fence::simulation::as_many_histories_as_are_asked_for";
const HISTORIES: u64 = 100_000;
const USAGE: &str = "cargo xtask simulate [--histories COUNT | --seed SEED]";

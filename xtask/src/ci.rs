//! Everything that must be green, cheap and telling first. The first step that fails ends the run; none is skipped.
//!
//! Each step has a time-out sized for a busy machine, and prints its duration, so that a slow one is seen before it
//! hurts.

use std::time::{Duration, Instant};

use crate::run::{Run, Trouble, seconds};
use crate::{container, count, deny, fuzz, image, model, place, release, shell, spin};

pub(crate) fn all() -> Result<(), Trouble> {
    let start = now();
    let mut took = Vec::new();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        println!("\n==> [{}/{}] {name}", index + 1, STEPS.len());
        let begin = now();
        let outcome = step();
        let seconds = begin.elapsed();
        println!("<== {name}: {} in {}", if outcome.is_ok() { "ok" } else { "FAILED" }, shown(seconds));
        if let Err(trouble) = outcome {
            let place = format!("step {} of {}, {name}, after {}", index + 1, STEPS.len(), shown(start.elapsed()));
            return Err(Trouble::Wrong(format!("{place}: {trouble}")));
        }
        took.push((name, seconds));
    }
    println!("\nsteps:");
    for (name, seconds) in took {
        println!("{:>9}  {name}", shown(seconds));
    }
    println!("ci: PASSED, {} steps in {}", STEPS.len(), shown(start.elapsed()));
    Ok(())
}

fn packages() -> Result<(), Trouble> {
    Run::new(".ci/packages", seconds(900)).show()
}

fn format() -> Result<(), Trouble> {
    Run::new("cargo fmt --all --check", seconds(60)).show()?;
    Run::new("cargo fmt --manifest-path fuzz/Cargo.toml --check", seconds(60)).show()
}

fn clippy() -> Result<(), Trouble> {
    Run::new("cargo clippy --workspace --all-targets --locked -- -D warnings", seconds(1200)).show()
}

fn doc() -> Result<(), Trouble> {
    Run::new("cargo doc --workspace --no-deps --document-private-items --locked", seconds(1200))
        .env("RUSTDOCFLAGS", "-D warnings")
        .show()
}

/// Unit tests, the one integration binary, doctests, and this runner's own tests.
fn test() -> Result<(), Trouble> {
    Run::new("cargo test --workspace --locked", seconds(2400)).env("KEYWARD_TEST_PYTHON", place::python()).show()
}

fn shown(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "a task runner measures real time, and no part of keyward runs in it")]
fn now() -> Instant {
    Instant::now()
}

type Step = (&'static str, fn() -> Result<(), Trouble>);

const STEPS: [Step; 14] = [
    ("packages", packages),
    ("format", format),
    ("shellcheck", shell::check),
    ("clippy", clippy),
    ("doc", doc),
    ("test", test),
    ("loom", model::check),
    ("spin", spin::check),
    ("deny", deny::check),
    ("fuzz", fuzz::check),
    ("release", release::build),
    ("count", count::check),
    ("container", container::check),
    ("image", image::check),
];

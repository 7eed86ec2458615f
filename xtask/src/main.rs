//! keyward's own task runner: `cargo xtask` lists the tasks, `cargo xtask TASK` runs one.
//!
//! It is std only, so that it compiles in a second and needs nothing that the checks it runs could find fault with. It
//! knows commands and their time-outs; what the commands check stands with them.
//!
//! ```text
//! main (names) -> ci (the order) -> deny, fuzz, model, spin, release, count, shell, container, image (one concern each)
//!      '-> simulate
//!                                      '-> run (one command)
//! ```

use std::process::ExitCode;

use run::Trouble;

mod ci;
mod container;
mod count;
mod deny;
mod engine;
mod fuzz;
mod image;
mod model;
mod place;
mod release;
mod run;
mod shell;
mod simulate;
mod spin;

fn main() -> ExitCode {
    // A task's name may have a word more, which says how; or it reads what follows it by itself.
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let name = match words.first() {
        Some(first) if first == simulate::NAME => first.clone(),
        _ => words.join(" "),
    };
    if name.is_empty() {
        list();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("xtask: no task is called {name}");
        list();
        return ExitCode::from(2);
    };
    match (task.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("xtask {name}: FAILED: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("cargo xtask TASK");
    for task in &TASKS {
        println!("    {:<16} {}", task.name, task.about);
    }
}

struct Task {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<(), Trouble>,
}

const TASKS: [Task; 12] = [
    Task { name: "ci", about: "everything that must be green before a merge; .ci/run calls it", run: ci::all },
    Task { name: "shell", about: "shellcheck on every shell script", run: shell::check },
    Task { name: "deny", about: "licences, bans and sources of the dependencies", run: deny::check },
    Task {
        name: "loom",
        about: "the keyring's fence and a connection's bell under a model checker",
        run: model::check,
    },
    Task { name: "spin", about: "the model of the revocation protocol, right and with every fault", run: spin::check },
    Task {
        name: simulate::NAME,
        about: "histories of the protocol: --histories COUNT (100000), or --seed SEED",
        run: simulate::check,
    },
    Task { name: "fuzz", about: "libFuzzer over every fuzz target, seconds each", run: fuzz::check },
    Task { name: "release", about: "the static release binary, into dist/keyward", run: release::build },
    Task { name: "count", about: "a request's instructions and system calls, against the recorded", run: count::check },
    Task { name: "count --record", about: "records them anew, in tests/bench/counts.toml", run: count::record },
    Task { name: "container", about: "the image around dist/keyward, run as a sidecar", run: container::check },
    Task { name: "image", about: "the whole Dockerfile, from the sources, run once", run: image::check },
];

//! The recorded figures: read, compared with, written anew. The file's form is TOML's, as much of it as this needs: a
//! section for each scenario of each kind of machine, two numbers in it.

use std::fmt::Write as _;
use std::fs;

use crate::place;
use crate::run::Trouble;

/// Where they stand, below the repository's top.
pub(super) const FILE: &str = "tests/bench/counts.toml";

/// What a figure may rise before the check fails: a twentieth.
pub(super) const ALLOWED: f64 = 0.05;

/// What a request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) instructions: f64,
    pub(super) syscalls: f64,
}

/// The cost in each of [`SCENARIOS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures([Cost; SCENARIOS.len()]);

/// In the file and in what is printed.
const SCENARIOS: [&str; 3] = ["permitted", "refused", "logged"];

impl Figures {
    /// In the order of [`SCENARIOS`].
    pub(super) const fn of(costs: [Cost; SCENARIOS.len()]) -> Self {
        Self(costs)
    }

    /// Of each figure the lower.
    pub(super) fn lower(&self, other: &Self) -> Self {
        let mut costs = self.0;
        for (cost, other) in costs.iter_mut().zip(other.0) {
            cost.instructions = cost.instructions.min(other.instructions);
            cost.syscalls = cost.syscalls.min(other.syscalls);
        }
        Self(costs)
    }
}

pub(super) fn read(target: &str) -> Result<Figures, Trouble> {
    find(&text()?, target).ok_or_else(|| {
        Trouble::Wrong(format!(
            "{FILE} has no figures for {target}: `cargo xtask count --record` measures and adds them"
        ))
    })
}

pub(super) fn write(target: &str, figures: &Figures) -> Result<(), Trouble> {
    let anew = with(&text()?, target, figures);
    print!("{}", section(target, figures));
    fs::write(place::root().join(FILE), anew).map_err(Trouble::io(format!("write {FILE}")))
}

/// Prints all, and fails where one has risen too much.
pub(super) fn compare(target: &str, recorded: &Figures, measured: &Figures) -> Result<(), Trouble> {
    println!("count: {target}, a request's, measured (recorded):");
    let mut risen = String::new();
    let mut fallen = false;
    for ((scenario, was), is) in SCENARIOS.iter().zip(recorded.0).zip(measured.0) {
        println!(
            "count: {scenario:<10} {:>6.0} ({:.0}) instructions, {:.2} ({:.2}) system calls",
            is.instructions, was.instructions, is.syscalls, was.syscalls
        );
        for (what, was, is) in
            [("instructions", was.instructions, is.instructions), ("system calls", was.syscalls, is.syscalls)]
        {
            let change = is / was - 1.0;
            if change > ALLOWED {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    risen,
                    "{scenario}: {is:.2} {what} a request, recorded are {was:.2}: {:+.1} %",
                    change * 100.0
                );
            }
            fallen |= change < -ALLOWED;
        }
    }
    if !risen.is_empty() {
        return Err(Trouble::Wrong(format!(
            "more than {:.0} % above {FILE}:\n{risen}if that is what the change is worth, `cargo xtask count --record` \
             records it, and its commit says why",
            ALLOWED * 100.0
        )));
    }
    if fallen {
        println!(
            "count: a figure fell by more than {:.0} %: `cargo xtask count --record` keeps it there",
            ALLOWED * 100.0
        );
    }
    Ok(())
}

fn text() -> Result<String, Trouble> {
    fs::read_to_string(place::root().join(FILE)).map_err(Trouble::io(format!("read {FILE}")))
}

fn find(text: &str, target: &str) -> Option<Figures> {
    let mut costs = [Cost::default(); SCENARIOS.len()];
    for (cost, scenario) in costs.iter_mut().zip(SCENARIOS) {
        let header = header(target, scenario);
        let lines = text.lines().skip_while(|line| *line != header).skip(1);
        let section = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
        let number = |name| section.clone().find(|(key, _)| *key == name)?.1.parse().ok();
        *cost = Cost { instructions: number("instructions")?, syscalls: number("syscalls")? };
    }
    Some(Figures(costs))
}

/// The text with a target's sections written anew, at the end.
fn with(text: &str, target: &str, figures: &Figures) -> String {
    let mut kept = String::new();
    let mut ours = false;
    for line in text.lines() {
        if line.starts_with('[') {
            ours = SCENARIOS.iter().any(|scenario| line == header(target, scenario));
        }
        if !ours {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    format!("{}\n\n{}", kept.trim_end(), section(target, figures))
}

fn section(target: &str, figures: &Figures) -> String {
    let one = |(scenario, cost): (&&str, Cost)| {
        let Cost { instructions, syscalls } = cost;
        format!("{}\ninstructions = {instructions:.0}\nsyscalls = {syscalls:.2}\n", header(target, scenario))
    };
    SCENARIOS.iter().zip(figures.0).map(one).collect::<Vec<_>>().join("\n")
}

fn header(target: &str, scenario: &str) -> String {
    format!("[{target}.{scenario}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(instructions: f64) -> Figures {
        Figures::of([Cost { instructions, syscalls: 4.25 }; 3])
    }

    #[test]
    fn what_is_written_is_read_and_others_stay() {
        let one = with("# why\n", "one", &figures(100.0));
        let both = with(&one, "two", &figures(200.0));
        let anew = with(&both, "one", &figures(300.0));
        assert!(anew.starts_with("# why\n\n[two.permitted]\ninstructions = 200\nsyscalls = 4.25\n"), "{anew}");
        assert_eq!(find(&anew, "one"), Some(figures(300.0)));
        assert_eq!(find(&anew, "two"), Some(figures(200.0)));
        assert_eq!(find(&anew, "three"), None);
    }

    #[test]
    fn a_rise_of_more_than_a_twentieth_fails_with_both_figures() {
        assert!(compare("one", &figures(100.0), &figures(104.9)).is_ok());
        assert!(compare("one", &figures(100.0), &figures(50.0)).is_ok());
        let said = compare("one", &figures(100.0), &figures(106.0)).unwrap_err().to_string();
        assert!(said.contains("permitted: 106.00 instructions a request, recorded are 100.00: +6.0 %"), "{said}");
        assert!(said.contains("cargo xtask count --record"), "{said}");
    }
}

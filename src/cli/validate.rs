//! `keyward validate`: check a configuration without starting anything, and show what would be used.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::output::{print, say};
use super::settings::from;
use crate::config::Problem;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Settings file.
    #[arg(long, env = "KEYWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: `settings`, `sources` and `warnings`, or `problems`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let read = from(arguments.config, Vec::new())?;
    let warnings = read.warnings();
    let shown = if arguments.json {
        let mut value = read.to_json();
        value["warnings"] = warnings.iter().map(to_json).collect();
        format!("{value:#}\n")
    } else {
        read.to_toml()
    };
    if let Err(problems) = read.resolve() {
        if arguments.json {
            print(&format!("{:#}\n", json!({ "problems": problems.0.iter().map(to_json).collect::<Vec<_>>() })))?;
        }
        return Err(problems.into());
    }
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    print(&shown)?;
    Ok(ExitCode::SUCCESS)
}

fn to_json(problem: &Problem) -> serde_json::Value {
    json!({ "place": problem.place.to_string(), "key": problem.key, "message": problem.message })
}

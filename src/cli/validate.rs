//! `keyward validate`: check a configuration without starting anything, and show what would be used.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::CONFIGURATION;
use super::output::print;
use super::settings::from;
use crate::config::{Problem, Problems};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Settings file.
    #[arg(long, env = "KEYWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: `settings` and `sources`, or `problems`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let read = from(arguments.config, Vec::new());
    let problems = read.as_ref().map_or_else(|problems| problems.0.clone(), |read| read.all_problems());
    if !problems.is_empty() {
        if arguments.json {
            print(&format!("{:#}\n", json!({ "problems": problems.iter().map(to_json).collect::<Vec<_>>() })))?;
        }
        eprintln!("keyward: {}", Problems(problems));
        return Ok(ExitCode::from(CONFIGURATION));
    }
    let read = read?;
    print(&if arguments.json { format!("{:#}\n", read.to_json()) } else { read.to_toml() })?;
    Ok(ExitCode::SUCCESS)
}

fn to_json(problem: &Problem) -> serde_json::Value {
    json!({ "place": problem.place.to_string(), "key": problem.key, "message": problem.message })
}

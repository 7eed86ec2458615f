//! `keyward rehearsal`: whom rules in report mode would have refused.

use super::access::{ask_server, unexpected};
use super::output::{print, print_json, say, table};
use super::settings::StoreArguments;
use crate::keyring::command::{Command, Outcome, WouldRefuse};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Begin anew: what is shown is forgotten.
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON: `rows`, and how many requests `more` found no row.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let command = if arguments.forget { Command::ForgetRehearsal } else { Command::ShowRehearsal };
    let rehearsal = match ask_server(&arguments.store.settings()?, command).await? {
        Outcome::Rehearsal(rehearsal) => rehearsal,
        other => return Err(unexpected(&other)),
    };
    if arguments.json {
        return print_json(&rehearsal);
    }
    if rehearsal.rows.is_empty() && rehearsal.more == 0 {
        say("No rule in report mode would have refused anybody.");
        return Ok(());
    }
    let columns = ["key", "route", "reason", "count", "first seen", "last seen"];
    print(&table(&columns, &rehearsal.rows.iter().map(row).collect::<Vec<_>>()))?;
    if rehearsal.more > 0 {
        say(&format!("And {} more requests, for which the table had no row left (keyring.rehearsal).", rehearsal.more));
    }
    Ok(())
}

fn row(WouldRefuse { key, route, reason, count, first_seen, last_seen }: &WouldRefuse) -> Vec<String> {
    let (key, count) = (key.to_string(), count.to_string());
    vec![key, route.clone(), reason.as_str().to_owned(), count, first_seen.to_string(), last_seen.to_string()]
}

//! `keyward revision` and `keyward barrier`: how far a position of the log has come.

use std::time::Duration;

use super::access::{Access, unexpected};
use super::output::print_json;
use super::receipt::{self, Patience};
use super::settings::StoreArguments;
use crate::keyring::command::{Command, Outcome};
use crate::measure::Span;
use crate::store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The revision, as a receipt or the header Keyward-Revision names it.
    rev: u64,
    /// Wait no longer than so until it is in force on every replica.
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    wait: Span,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Barrier {
    /// The revision; the last one where left out.
    rev: Option<u64>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { rev, wait: Span(wait), store, json } = arguments;
    show(store, Some(rev), wait, json).await
}

pub(super) async fn barrier(arguments: Barrier) -> anyhow::Result<()> {
    let Barrier { rev, patience, store, json } = arguments;
    show(store, rev, patience.span(), json).await
}

async fn show(store: StoreArguments, rev: Option<u64>, patience: Duration, json: bool) -> anyhow::Result<()> {
    let mut access = Access::open(&store.settings()?, store::Access::Existing).await?;
    let (outcome, receipt) = access.change(Command::ShowRevision(rev), patience).await?;
    access.close().await;
    match (outcome, receipt) {
        (Outcome::Revision(_), Some(receipt)) if json => print_json(&receipt.json()),
        (Outcome::Revision(_), Some(receipt)) => {
            receipt::say(Some(&receipt));
            Ok(())
        }
        (other, _) => Err(unexpected(&other)),
    }
}

//! `keyward operator`: recover the key that runs keyward, on the machine the store is on.

use clap::Subcommand;

use super::access::change;
use super::key::{bare_key, expect_key};
use super::output::print_secret;
use super::receipt::Patience;
use super::settings::OnStore;
use crate::clock::Clock;
use crate::key::Kind;
use crate::keyring::command::{Command, NewKey};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Revoke every operator key, make a new one and print its secret, once.
    Reset {
        #[command(flatten)]
        patience: Patience,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let OnStore { verb: Verb::Reset { patience }, store, json } = arguments;
    let settings = store.settings()?;
    let (bare, secret) = bare_key(&settings.keys.prefix, Kind::Operator)?;
    let key = NewKey { name: "operator".to_owned(), ..bare };
    let (outcome, receipt) = change(&settings, Command::ResetOperator(Box::new(key)), patience).await?;
    print_secret(json, &expect_key(outcome)?, &secret, Clock::System.now(), receipt.as_ref())
}

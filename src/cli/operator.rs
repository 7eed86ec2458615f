//! `keyward operator`: recover the key that runs keyward, on the machine the store is on.

use anyhow::Context as _;
use clap::Subcommand;

use super::access::carry_out;
use super::key::{expect_key, new_id};
use super::output::print_secret;
use super::settings::OnStore;
use crate::clock::Clock;
use crate::key::{Kind, token};
use crate::keyring::command::{Command, NewKey};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Revoke every operator key, make a new one and print its secret, once.
    Reset,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let OnStore { verb: Verb::Reset, store, json } = arguments;
    let settings = store.settings()?;
    let (secret, imprint) =
        token::mint(&settings.keys.prefix, getrandom::fill).context("the system gives no random bytes")?;
    let key = NewKey { name: "operator".to_owned(), ..NewKey::bare(new_id()?, imprint, Kind::Operator) };
    let outcome = carry_out(&settings, Command::ResetOperator(Box::new(key))).await?;
    print_secret(json, &expect_key(outcome)?, &secret, Clock::System.now())
}

//! `keyward operator`: recover the key that runs keyward, on the machine the store is on.

use anyhow::Context as _;
use clap::Subcommand;

use super::access::carry_out;
use super::key::{expect_key, new_id};
use super::output::print_secret;
use super::settings::StoreArguments;
use crate::clock::Clock;
use crate::key::{Kind, Permissions, token};
use crate::keyring::command::{Command, NewKey};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Revoke every operator key, make a new one and print its secret, once.
    Reset,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { verb: Verb::Reset, store, json } = arguments;
    let settings = store.settings()?;
    let (secret, imprint) =
        token::mint(&settings.keys.prefix, getrandom::fill).context("the system gives no random bytes")?;
    let key = NewKey {
        id: new_id()?,
        imprint,
        kind: Kind::Operator,
        account: None,
        user: None,
        name: "operator".to_owned(),
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
        not_before: None,
        expires_at: None,
    };
    let outcome = carry_out(&settings, Command::ResetOperator(Box::new(key))).await?;
    print_secret(json, &expect_key(outcome)?, &secret, Clock::System.now())
}

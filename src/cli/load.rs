//! `keyward load`: fill a store with keys, for load tests.
//!
//! Batches go the way of an import, beside a running server or without one; a line is written for what is in the store.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context as _;

use super::access::Access;
use super::key::new_id;
use super::output::print;
use super::settings::StoreArguments;
use crate::key::token::{self, Prefix};
use crate::key::{AccountId, Kind, Permissions};
use crate::keyring::command::{Command, NewKey};
use crate::secret::Secret;
use crate::store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many keys to make.
    #[arg(long, value_name = "N")]
    keys: u64,
    /// Over how many accounts, called 1, 2, 3 and so on.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..))]
    accounts: u64,
    /// Where to write `secret,account` lines; a new file that only this user can read.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = arguments.store.settings()?;
    let mut access = Access::open(&settings, store::Access::Create).await?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.out);
    let mut out = BufWriter::new(file.with_context(|| format!("cannot make {}", arguments.out.display()))?);
    out.write_all(b"secret,account\n")?;

    let mut first = 0;
    while first < arguments.keys {
        let end = arguments.keys.min(first + BATCH);
        let made: Vec<_> = (first..end)
            .map(|number| key(&settings.keys.prefix, number % arguments.accounts + 1))
            .collect::<anyhow::Result<_>>()?;
        let (secrets, keys): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        access.run(Command::Import(keys)).await?;
        for (secret, number) in secrets.iter().zip(first..) {
            out.write_all(secret.expose())?;
            writeln!(out, ",{}", number % arguments.accounts + 1)?;
        }
        first = end;
    }
    out.flush()?;
    access.close().await;
    Ok(print(&format!(
        "{} keys over {} accounts, in {}\n",
        arguments.keys,
        arguments.accounts,
        arguments.out.display()
    ))?)
}

/// A service key of account `account`.
fn key(prefix: &Prefix, account: u64) -> anyhow::Result<(Secret, NewKey)> {
    let (secret, imprint) = token::mint(prefix, getrandom::fill).context("the system gives no random bytes")?;
    let account: AccountId = account.to_string().parse()?;
    let key = NewKey {
        id: new_id()?,
        imprint,
        kind: Kind::Service,
        account: Some(account),
        user: None,
        name: String::new(),
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
        not_before: None,
        expires_at: None,
    };
    Ok((secret, key))
}

/// Keys a transaction.
const BATCH: u64 = 10_000;

//! `keyward load`: fill a store with keys, for load tests.
//!
//! Batches go the way of an import, beside a running server or without one; a line is written for what is in the store.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context as _;

use super::access::Access;
use super::key::bare_key;
use super::output::print;
use super::settings::StoreArguments;
use crate::key::Kind;
use crate::key::token::Prefix;
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

    let Arguments { keys, accounts, .. } = arguments;
    let batch = |first: u64| {
        let (prefix, numbers) = (settings.keys.prefix.clone(), first..keys.min(first + BATCH));
        tokio::task::spawn_blocking(move || mint(&prefix, numbers, accounts))
    };
    let mut minting = batch(0);
    for first in (0..keys).step_by(usize::try_from(BATCH)?) {
        let (secrets, minted) = minting.await??;
        // The next are made while these are written.
        minting = batch(first + BATCH);
        access.run(Command::Import(minted)).await?;
        for (secret, number) in secrets.iter().zip(first..) {
            out.write_all(secret.expose())?;
            writeln!(out, ",{}", account(number, accounts))?;
        }
    }
    out.flush()?;
    access.close().await;
    Ok(print(&format!("{keys} keys over {accounts} accounts, in {}\n", arguments.out.display()))?)
}

/// A service key for each number, and its secret.
fn mint(prefix: &Prefix, numbers: Range<u64>, accounts: u64) -> anyhow::Result<(Vec<Secret>, Vec<NewKey>)> {
    let key = |number| {
        let account = account(number, accounts).to_string().parse()?;
        let (bare, secret) = bare_key(prefix, Kind::Service)?;
        Ok((secret, NewKey { account: Some(account), ..bare }))
    };
    numbers.map(key).collect()
}

/// The account of a key by its number: they take turns.
const fn account(number: u64, accounts: u64) -> u64 {
    number % accounts + 1
}

/// Keys a transaction. Digests are random, so each transaction touches most pages of the index, and few large ones write much
/// less than many small ones; beside a server, one still fits into a command.
const BATCH: u64 = 50_000;

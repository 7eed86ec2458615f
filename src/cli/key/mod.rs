//! `keyward key`: mint, list, show, rotate, revoke, suspend, resume.

mod mint;
mod show;

use clap::Subcommand;

use self::show::{print_key, print_keys};
use super::access::{Access, carry_out, unexpected};

use super::output::print_secret;
use super::settings::OnStore;
use crate::clock::Clock;
use crate::config::Settings;
use crate::key::token::Prefix;
use crate::key::{AccountId, Key, KeyId, KeyState, Kind, UserId};
use crate::keyring::command::{Command, KeyFilter, Outcome};
use crate::store;

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a key and print its secret, once.
    Mint(mint::Arguments),
    /// Show keys, without their secrets.
    List {
        /// Only of this account.
        #[arg(long)]
        account: Option<AccountId>,
        /// Only of this user.
        #[arg(long)]
        user: Option<UserId>,
        /// Only of this kind: service, personal, user or operator.
        #[arg(long)]
        kind: Option<Kind>,
    },
    /// Show one key.
    Show {
        /// The key's id, such as key_4fT…
        id: KeyId,
    },
    /// Give a key another secret and print it, once. The old one is refused from then on.
    Rotate {
        /// The key's id.
        id: KeyId,
        /// What the new secret begins with; as the old one did where left out.
        #[arg(long)]
        prefix: Option<Prefix>,
    },
    /// End a key for good.
    Revoke {
        /// The key's id.
        id: KeyId,
    },
    /// Refuse a key until it is resumed.
    Suspend {
        /// The key's id.
        id: KeyId,
    },
    /// Accept a suspended key again.
    Resume {
        /// The key's id.
        id: KeyId,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let OnStore { verb, store, json } = arguments;
    let settings = store.settings()?;
    let now = Clock::System.now();
    let command = match verb {
        Verb::Mint(wanted) => {
            let (key, secret) = wanted.key(&settings.keys.prefix, now)?;
            let key = expect_key(carry_out(&settings, Command::MintKey(Box::new(key))).await?)?;
            return print_secret(json, &key, &secret, now);
        }
        Verb::Rotate { id, prefix } => return rotate(&settings, id, prefix, json).await,
        Verb::List { account, user, kind } => Command::ListKeys(KeyFilter { account, user, kind }),
        Verb::Show { id } => Command::ShowKey(id),
        Verb::Revoke { id } => Command::RevokeKey(id),
        Verb::Suspend { id } => Command::SetKeyState(id, KeyState::Suspended),
        Verb::Resume { id } => Command::SetKeyState(id, KeyState::Active),
    };
    match carry_out(&settings, command).await? {
        Outcome::Key(key) => print_key(json, &key, now),
        Outcome::Keys(keys) => print_keys(json, &keys, now),
        other => Err(unexpected(&other)),
    }
}

async fn rotate(settings: &Settings, id: KeyId, prefix: Option<Prefix>, json: bool) -> anyhow::Result<()> {
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let prefix = match prefix {
        Some(prefix) => prefix,
        None => {
            let key = expect_key(access.run(Command::ShowKey(id.clone())).await?)?;
            key.prefix.unwrap_or_else(|| settings.keys.prefix.clone())
        }
    };
    let (secret, imprint) = mint::new_secret(&prefix)?;
    let key = expect_key(access.run(Command::RotateKey(id, imprint)).await?)?;
    access.close().await;
    print_secret(json, &key, &secret, Clock::System.now())
}

/// The one key an outcome is about.
pub(super) fn expect_key(outcome: Outcome) -> anyhow::Result<Key> {
    match outcome {
        Outcome::Key(key) => Ok(*key),
        other => Err(unexpected(&other)),
    }
}

pub(super) use self::mint::{bare_key, new_id};

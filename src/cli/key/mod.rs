//! `keyward key`: mint, list, show, found, update, rotate, complete, cancel, revoke, suspend, resume.

mod expiry;
mod found;
mod mint;
mod rotate;
mod show;
mod update;

use clap::Subcommand;

use self::show::{print_completed, print_key, print_key_in_use, print_keys};
use super::access::{Access, carry_out, change, unexpected};
use super::output::print_secret;
use super::receipt::Patience;
use super::settings::{OnStore, Site};
use crate::clock::{Clock, Timestamp};
use crate::key::{AccountId, Key, KeyId, KeyState, Kind, Status, UserId};
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
        /// Only those that are this now: active, not_yet_valid, disabled, expired or revoked.
        #[arg(long)]
        status: Option<Status>,
    },
    /// Show one key, and who uses which of its secrets.
    Show {
        /// The key's id, such as key_4fT…
        id: KeyId,
    },
    /// Tell whose secrets are in a text that somebody found, read from standard input; a secret alone will do.
    Found,
    /// Change what is said of a key: its name, permissions, networks or expiry. Its secret stays.
    Update(update::Arguments),
    /// Give a key another secret and print it, once. The old one is refused from then on, or as --grace or --first-use say.
    Rotate(rotate::Arguments),
    /// End a rotation that still runs: the old secret is refused from then on. Tells who had not left it.
    Complete {
        /// The key's id.
        id: KeyId,
        #[command(flatten)]
        patience: Patience,
    },
    /// Take a rotation back that still runs, while nobody has used the new secret: the old one is the only one again.
    Cancel {
        /// The key's id.
        id: KeyId,
        #[command(flatten)]
        patience: Patience,
    },
    /// End a key for good.
    Revoke {
        /// The key's id.
        id: KeyId,
        #[command(flatten)]
        patience: Patience,
    },
    /// Refuse a key until it is resumed.
    Suspend {
        /// The key's id.
        id: KeyId,
        #[command(flatten)]
        patience: Patience,
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
    let (command, patience) = match verb {
        Verb::Mint(wanted) => {
            let (key, secret) = wanted.key(&settings.keys.prefix, now)?;
            let key = expect_key(carry_out(&settings, Command::MintKey(Box::new(key))).await?)?;
            return print_secret(json, &key, &secret, now, None);
        }
        Verb::Found => return found::run(&settings, json).await,
        Verb::Rotate(wanted) => return rotate::run(&settings, wanted, json).await,
        Verb::Update(wanted) => wanted.command(now)?,
        Verb::Complete { id, patience } => (Command::CompleteRotation(id), patience),
        Verb::Cancel { id, patience } => (Command::CancelRotation(id), patience),
        Verb::List { account, user, kind, status } => {
            let filter = KeyFilter { account, user, kind, status, ..KeyFilter::default() };
            (Command::ListKeys(filter), Patience::default())
        }
        Verb::Show { id } => return show(&settings, id, json, now).await,
        Verb::Revoke { id, patience } => (Command::SetKeyState(id, KeyState::Revoked, None), patience),
        Verb::Suspend { id, patience } => (Command::SetKeyState(id, KeyState::Suspended, None), patience),
        Verb::Resume { id } => (Command::SetKeyState(id, KeyState::Active, None), Patience::default()),
    };
    let (outcome, receipt) = change(&settings, command, patience).await?;
    match outcome {
        Outcome::Key(key) => print_key(json, &key, now, receipt.as_ref()),
        Outcome::Keys(keys) => print_keys(json, &keys, now),
        Outcome::Completed(completed) => print_completed(json, &completed, now, receipt.as_ref()),
        other => Err(unexpected(&other)),
    }
}

/// A key, and who uses it.
async fn show(settings: &Site, id: KeyId, json: bool, now: Timestamp) -> anyhow::Result<()> {
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let key = expect_key(access.run(Command::ShowKey(id.clone())).await?)?;
    let secrets = match access.run(Command::ShowCallers(id)).await? {
        Outcome::Callers(secrets) => secrets,
        other => return Err(unexpected(&other)),
    };
    access.close().await;
    print_key_in_use(json, &key, &secrets, now)
}

/// The one key an outcome is about.
pub(super) fn expect_key(outcome: Outcome) -> anyhow::Result<Key> {
    match outcome {
        Outcome::Key(key) => Ok(*key),
        other => Err(unexpected(&other)),
    }
}

pub(super) use self::mint::{bare_key, new_id, new_secret};

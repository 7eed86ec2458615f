//! `keyward account`: create, list, suspend, resume.

use clap::Subcommand;
use serde_json::json;

use super::access::carry_out;
use super::output::{print, print_json, print_list};
use super::settings::OnStore;
use crate::key::{Account, AccountId, AccountState};
use crate::keyring::command::{Command, Outcome};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an account under the text your API uses for it in its own paths.
    Create {
        /// The account, such as 101 or acme.
        id: AccountId,
    },
    /// Show all accounts.
    List,
    /// Refuse every key of an account until it is resumed.
    Suspend {
        /// The account.
        id: AccountId,
    },
    /// Serve a suspended account again.
    Resume {
        /// The account.
        id: AccountId,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let command = match arguments.verb {
        Verb::Create { id } => Command::CreateAccount(id),
        Verb::List => Command::ListAccounts,
        Verb::Suspend { id } => Command::SetAccountState(id, AccountState::Suspended),
        Verb::Resume { id } => Command::SetAccountState(id, AccountState::Active),
    };
    let settings = arguments.store.settings()?;
    match carry_out(&settings, command).await? {
        Outcome::Account(account) if arguments.json => print_json(&account),
        Outcome::Account(account) => Ok(print(&format!("account {} is {}\n", account.id, account.state))?),
        Outcome::Accounts(accounts) => print_list(
            arguments.json,
            "accounts",
            &accounts,
            |account| json!(account),
            &["id", "state", "created"],
            |Account { id, state, created_at }| vec![id.to_string(), state.to_string(), created_at.to_string()],
        ),
        other => Err(super::access::unexpected(&other)),
    }
}

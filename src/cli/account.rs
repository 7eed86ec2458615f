//! `keyward account`: create, list, show, update, suspend, resume.

use clap::Subcommand;
use serde_json::json;

use super::access::{carry_out, change};
use super::output::{cell, print, print_list};
use super::receipt::{self, Patience, print_changed};
use super::settings::{OnStore, edited};
use crate::key::{Account, AccountId, AccountState, Edit, Line};
use crate::keyring::command::{AccountChange, Command, Outcome, Slice};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an account under the text your API uses for it in its own paths.
    Create {
        /// The account, such as 101 or acme.
        id: AccountId,
        /// What people call it.
        #[arg(long)]
        name: Option<Line>,
    },
    /// Show all accounts.
    List,
    /// Show one account.
    Show {
        /// The account.
        id: AccountId,
    },
    /// Change what people call an account.
    Update {
        /// The account.
        id: AccountId,
        /// What people call it; "" takes the name away.
        #[arg(long, value_parser = edited)]
        name: Edit<Line>,
    },
    /// Refuse every key of an account until it is resumed.
    Suspend {
        /// The account.
        id: AccountId,
        #[command(flatten)]
        patience: Patience,
    },
    /// Serve a suspended account again.
    Resume {
        /// The account.
        id: AccountId,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut waited = None;
    let command = match arguments.verb {
        Verb::Create { id, name } => Command::CreateAccount(id, name),
        Verb::List => Command::ListAccounts(Slice::ALL),
        Verb::Show { id } => Command::ShowAccount(id),
        Verb::Update { id, name } => Command::ChangeAccount(id, AccountChange { name, state: None }),
        Verb::Suspend { id, patience } => {
            waited = Some(patience);
            Command::SetAccountState(id, AccountState::Suspended)
        }
        Verb::Resume { id } => Command::SetAccountState(id, AccountState::Active),
    };
    let settings = arguments.store.settings()?;
    let (outcome, receipt) = match waited {
        Some(patience) => change(&settings, command, patience).await?,
        None => (carry_out(&settings, command).await?, None),
    };
    match outcome {
        Outcome::Account(account) if arguments.json => print_changed(&account, receipt.as_ref()),
        Outcome::Account(Account { id, name, state, .. }) => {
            let called = name.map_or_else(String::new, |name| format!(", called {name},"));
            print(&format!("account {id}{called} is {state}\n"))?;
            receipt::say(receipt.as_ref());
            Ok(())
        }
        Outcome::Accounts(accounts) => print_list(
            arguments.json,
            "accounts",
            &accounts,
            |account| json!(account),
            &["id", "state", "created", "name"],
            |Account { id, state, created_at, name, .. }| {
                vec![id.to_string(), state.to_string(), created_at.to_string(), cell(name.as_ref())]
            },
        ),
        other => Err(super::access::unexpected(&other)),
    }
}

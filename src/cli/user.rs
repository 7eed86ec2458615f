//! `keyward user`: create, list.

use clap::Subcommand;
use serde_json::json;

use super::access::carry_out;
use super::output::{print, print_json, print_list};
use super::settings::OnStore;
use crate::key::{User, UserId};
use crate::keyring::command::{Command, Outcome};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a user under the text your API uses for them.
    Create {
        /// The user, such as 7 or paul@example.com.
        id: UserId,
    },
    /// Show all users.
    List,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let command = match arguments.verb {
        Verb::Create { id } => Command::CreateUser(id),
        Verb::List => Command::ListUsers,
    };
    let settings = arguments.store.settings()?;
    match carry_out(&settings, command).await? {
        Outcome::User(user) if arguments.json => print_json(&user),
        Outcome::User(user) => Ok(print(&format!("user {} is there\n", user.id))?),
        Outcome::Users(users) => print_list(
            arguments.json,
            "users",
            &users,
            |user| json!(user),
            &["id", "created"],
            |User { id, created_at }| vec![id.to_string(), created_at.to_string()],
        ),
        other => Err(super::access::unexpected(&other)),
    }
}

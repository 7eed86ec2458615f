//! `keyward user`: create, list, show, update.

use clap::Subcommand;
use serde_json::json;

use super::access::carry_out;
use super::output::{cell, print, print_json, print_list};
use super::settings::{OnStore, edited};
use crate::key::{Edit, Line, User, UserId};
use crate::keyring::command::{Command, Outcome, Slice, UserChange};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a user under the text your API uses for them.
    Create {
        /// The user, such as 7 or paul@example.com.
        id: UserId,
        /// What people call them.
        #[arg(long)]
        name: Option<Line>,
        /// Where mail reaches them.
        #[arg(long)]
        email: Option<Line>,
    },
    /// Show all users.
    List,
    /// Show one user.
    Show {
        /// The user.
        id: UserId,
    },
    /// Change what people call a user, or where mail reaches them.
    Update {
        /// The user.
        id: UserId,
        /// What people call them; "" takes the name away.
        #[arg(long, value_parser = edited, required_unless_present = "email")]
        name: Option<Edit<Line>>,
        /// Where mail reaches them; "" takes the address away.
        #[arg(long, value_parser = edited)]
        email: Option<Edit<Line>>,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let command = match arguments.verb {
        Verb::Create { id, name, email } => {
            Command::CreateUser(id, UserChange { name: name.into(), email: email.into() })
        }
        Verb::List => Command::ListUsers(Slice::ALL),
        Verb::Show { id } => Command::ShowUser(id),
        Verb::Update { id, name, email } => {
            Command::ChangeUser(id, UserChange { name: name.unwrap_or_default(), email: email.unwrap_or_default() })
        }
    };
    let settings = arguments.store.settings()?;
    match carry_out(&settings, command).await? {
        Outcome::User(user) if arguments.json => print_json(&user),
        Outcome::User(User { id, name, email, .. }) => {
            let called = name.map_or_else(String::new, |name| format!(", called {name},"));
            let mail = email.map_or_else(String::new, |email| format!(", with mail to {email}"));
            Ok(print(&format!("user {id}{called} is there{mail}\n"))?)
        }
        Outcome::Users(users) => print_list(
            arguments.json,
            "users",
            &users,
            |user| json!(user),
            &["id", "created", "email", "name"],
            |User { id, created_at, email, name, .. }| {
                vec![id.to_string(), created_at.to_string(), cell(email.as_ref()), cell(name.as_ref())]
            },
        ),
        other => Err(super::access::unexpected(&other)),
    }
}

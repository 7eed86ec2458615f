//! `keyward member`: add, list, remove.

use clap::Subcommand;
use serde_json::json;

use super::access::change;
use super::output::{cell, print, print_list};
use super::receipt::{self, Patience, print_changed};
use super::settings::{OnStore, edited};
use crate::key::{AccountId, Edit, Line, Membership, Permission, UserId};
use crate::keyring::command::{Command, MemberChange, MemberFilter, Outcome};

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a user a member of an account, or change what they may do there.
    Add {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// The user.
        #[arg(long)]
        user: UserId,
        /// What they may do there, such as jobs:run, jobs:* or *; may be given more than once.
        #[arg(long = "permission", value_name = "P")]
        permissions: Vec<Permission>,
        /// The licence they have there; left out it stays, and "" takes it away. See the setting keys.developer_licences.
        #[arg(long, value_parser = edited)]
        licence: Option<Edit<Line>>,
        #[command(flatten)]
        patience: Patience,
    },
    /// Show memberships.
    List {
        /// Only of this account.
        #[arg(long)]
        account: Option<AccountId>,
    },
    /// End a membership, and with it the user's personal keys there.
    Remove {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// The user.
        #[arg(long)]
        user: UserId,
        #[command(flatten)]
        patience: Patience,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut became = "is a member of";
    let (command, patience) = match arguments.verb {
        Verb::Add { account, user, permissions, licence, patience } => {
            let (permissions, licence) = (permissions.into(), licence.unwrap_or_default());
            (Command::AddMember(MemberChange { account, user, permissions, licence }), patience)
        }
        Verb::List { account } => {
            (Command::ListMembers(MemberFilter { account, ..MemberFilter::default() }), Patience::default())
        }
        Verb::Remove { account, user, patience } => {
            became = "is no longer a member of";
            (Command::RemoveMember(account, user), patience)
        }
    };
    let settings = arguments.store.settings()?;
    let (outcome, receipt) = change(&settings, command, patience).await?;
    match outcome {
        Outcome::Member(member) if arguments.json => print_changed(&member, receipt.as_ref()),
        Outcome::Member(member) => {
            print(&format!("user {} {became} account {}\n", member.user, member.account))?;
            receipt::say(receipt.as_ref());
            Ok(())
        }
        Outcome::Members(members) => print_list(
            arguments.json,
            "members",
            &members,
            |member| json!(member),
            &["account", "user", "licence", "permissions"],
            |Membership { account, user, permissions, licence }| {
                vec![account.to_string(), user.to_string(), cell(licence.as_ref()), permissions.to_string()]
            },
        ),
        other => Err(super::access::unexpected(&other)),
    }
}

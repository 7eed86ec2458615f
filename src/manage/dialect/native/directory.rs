//! Accounts, users and memberships on the wire.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::query::{Query, cursor};
use super::receipt::changed;
use super::wanted::{given, said};
use super::{Asked, json};
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, AccountState, Edit, Line, Membership, Permission, Permissions, User, UserId};
use crate::keyring::command::{AccountChange, Command, MemberChange, MemberFilter, Outcome, Slice, UserChange};
use crate::manage::desk::Desk;
use crate::manage::problem::{Code, Problem};

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum Directory {
    ListAccounts,
    CreateAccount,
    ShowAccount,
    ChangeAccount,
    ListMembers,
    PutMember,
    RemoveMember,
    ListUsers,
    CreateUser,
    ShowUser,
    ChangeUser,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: AccountId,
    name: Option<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEdit {
    #[serde(default, deserialize_with = "given")]
    status: Option<AccountState>,
    #[serde(default, deserialize_with = "said")]
    name: Edit<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    id: UserId,
    name: Option<Line>,
    email: Option<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEdit {
    #[serde(default, deserialize_with = "said")]
    name: Edit<Line>,
    #[serde(default, deserialize_with = "said")]
    email: Edit<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default, deserialize_with = "said")]
    licence: Edit<Line>,
}

impl Directory {
    /// Whether it reads a body.
    pub(super) const fn takes_body(self) -> bool {
        match self {
            Self::CreateAccount | Self::ChangeAccount | Self::PutMember | Self::CreateUser | Self::ChangeUser => true,
            Self::ListAccounts
            | Self::ShowAccount
            | Self::ListMembers
            | Self::RemoveMember
            | Self::ListUsers
            | Self::ShowUser => false,
        }
    }

    /// Whether it changes something.
    pub(super) const fn changes(self) -> bool {
        match self {
            Self::CreateAccount
            | Self::ChangeAccount
            | Self::PutMember
            | Self::RemoveMember
            | Self::CreateUser
            | Self::ChangeUser => true,
            Self::ListAccounts | Self::ShowAccount | Self::ListMembers | Self::ListUsers | Self::ShowUser => false,
        }
    }

    /// Whether it comes by pages.
    pub(super) const fn is_list(self) -> bool {
        matches!(self, Self::ListAccounts | Self::ListMembers | Self::ListUsers)
    }

    /// What is asked for, and how many of a list: one more is looked for than is shown.
    pub(super) fn command(self, asked: &Asked<'_>) -> Result<(Command, u32), Problem> {
        let account = || asked.name::<AccountId>(0, Code::AccountNotFound);
        let user = |at| asked.name::<UserId>(at, Code::UserNotFound);
        let one = |command| Ok((command, 1));
        match self {
            Self::ListAccounts => {
                let (after, limit) = page(asked)?;
                Ok((Command::ListAccounts(Slice { after, most: Some(limit + 1) }), limit))
            }
            Self::CreateAccount => {
                let NewAccount { id, name } = asked.body.parse()?;
                one(Command::CreateAccount(id, name))
            }
            Self::ShowAccount => one(Command::ShowAccount(account()?)),
            Self::ChangeAccount => {
                let AccountEdit { status, name } = asked.body.parse()?;
                let change = AccountChange { name, state: status };
                if change == AccountChange::default() {
                    return Err(nothing_said());
                }
                one(Command::ChangeAccount(account()?, change))
            }
            Self::ListMembers => {
                let (after, limit) = page(asked)?;
                let filter = MemberFilter { account: Some(account()?), after, most: Some(limit + 1), user: None };
                Ok((Command::ListMembers(filter), limit))
            }
            Self::PutMember => {
                let Place { permissions, licence } = asked.body.parse()?;
                let (account, user) = (account()?, user(1)?);
                one(Command::AddMember(MemberChange { account, user, permissions: permissions.into(), licence }))
            }
            Self::RemoveMember => one(Command::RemoveMember(account()?, user(1)?)),
            Self::ListUsers => {
                let (after, limit) = page(asked)?;
                Ok((Command::ListUsers(Slice { after, most: Some(limit + 1) }), limit))
            }
            Self::CreateUser => {
                let NewUser { id, name, email } = asked.body.parse()?;
                one(Command::CreateUser(id, UserChange { name: name.into(), email: email.into() }))
            }
            Self::ShowUser => one(Command::ShowUser(user(0)?)),
            Self::ChangeUser => {
                let UserEdit { name, email } = asked.body.parse()?;
                let change = UserChange { name, email };
                if change == UserChange::default() {
                    return Err(nothing_said());
                }
                one(Command::ChangeUser(user(0)?, change))
            }
        }
    }
}

fn nothing_said() -> Problem {
    Problem::detailed(Code::ValidationFailed, "Say what is to change.")
}

/// Behind which id a page begins, and how many stand on it.
fn page<T: std::str::FromStr>(asked: &Asked<'_>) -> Result<(Option<T>, u32), Problem> {
    let mut query = Query::read(asked.query)?;
    let limit = query.limit();
    let after = query.cursor(|id| String::from_utf8(id).ok()?.parse().ok());
    query.end()?;
    Ok((after, limit))
}

/// The first `limit` of `all`, and where the next ones begin.
fn first<'a, T>(all: &'a [T], limit: u32, id: impl FnOnce(&'a T) -> &'a str) -> (&'a [T], Option<String>) {
    let shown = &all[..all.len().min(limit as usize)];
    (shown, shown.last().filter(|_| all.len() > shown.len()).map(|last| cursor(id(last).as_bytes())))
}

/// What came of it.
pub(super) fn encode(
    call: Directory,
    desk: &Desk<'_>,
    outcome: Outcome,
    limit: u32,
) -> Result<Response<Full<Bytes>>, Problem> {
    let made = matches!(call, Directory::CreateAccount | Directory::CreateUser);
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(match outcome {
        Outcome::Account(account) => {
            changed(desk, status, &One { account: Some(AccountBody::of(&account)), ..One::default() })
        }
        Outcome::Accounts(accounts) => {
            let (shown, next_cursor) = first(&accounts, limit, |account| account.id.as_str());
            json(status, &Accounts { accounts: shown.iter().map(AccountBody::of).collect(), next_cursor })
        }
        Outcome::User(user) => changed(desk, status, &One { user: Some(UserBody::of(&user)), ..One::default() }),
        Outcome::Users(users) => {
            let (shown, next_cursor) = first(&users, limit, |user| user.id.as_str());
            json(status, &Users { users: shown.iter().map(UserBody::of).collect(), next_cursor })
        }
        Outcome::Member(member) => {
            changed(desk, status, &One { member: Some(MemberBody::of(&member)), ..One::default() })
        }
        Outcome::Members(members) => {
            let (shown, next_cursor) = first(&members, limit, |member| member.user.as_str());
            json(status, &Members { members: shown.iter().map(MemberBody::of).collect(), next_cursor })
        }
        Outcome::Key(_)
        | Outcome::Found(_)
        | Outcome::Keys(_)
        | Outcome::Audit(_)
        | Outcome::Callers(_)
        | Outcome::Completed(_)
        | Outcome::Migration(_)
        | Outcome::Replaced(_)
        | Outcome::Imported(_)
        | Outcome::Tried(_)
        | Outcome::Rehearsal(_)
        | Outcome::Revision(_)
        | Outcome::Replicas(_)
        | Outcome::Evicted(_) => {
            return Err(Problem::new(Code::StoreUnavailable));
        }
    })
}

/// The one thing an answer is about.
#[derive(Default, Serialize)]
struct One<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberBody<'a>>,
}

#[derive(Serialize)]
struct Accounts<'a> {
    accounts: Vec<AccountBody<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Users<'a> {
    users: Vec<UserBody<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Members<'a> {
    members: Vec<MemberBody<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct AccountBody<'a> {
    id: &'a AccountId,
    object: &'static str,
    serial: i64,
    name: Option<&'a Line>,
    status: AccountState,
    created_at: Timestamp,
}

impl<'a> AccountBody<'a> {
    fn of(account: &'a Account) -> Self {
        Self {
            id: &account.id,
            object: "account",
            serial: account.serial,
            name: account.name.as_ref(),
            status: account.state,
            created_at: account.created_at,
        }
    }
}

#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a UserId,
    object: &'static str,
    serial: i64,
    name: Option<&'a Line>,
    email: Option<&'a Line>,
    created_at: Timestamp,
}

impl<'a> UserBody<'a> {
    fn of(user: &'a User) -> Self {
        Self {
            id: &user.id,
            object: "user",
            serial: user.serial,
            name: user.name.as_ref(),
            email: user.email.as_ref(),
            created_at: user.created_at,
        }
    }
}

#[derive(Serialize)]
struct MemberBody<'a> {
    object: &'static str,
    account_id: &'a AccountId,
    user_id: &'a UserId,
    permissions: &'a Permissions,
    licence: Option<&'a Line>,
}

impl<'a> MemberBody<'a> {
    fn of(member: &'a Membership) -> Self {
        Self {
            object: "member",
            account_id: &member.account,
            user_id: &member.user,
            permissions: &member.permissions,
            licence: member.licence.as_ref(),
        }
    }
}

//! Accounts, users and memberships on the wire.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::{Asked, json};
use crate::clock::Timestamp;
use crate::key::{Account, AccountId, AccountState, Membership, Permission, Permissions, User, UserId};
use crate::keyring::command::{Command, Outcome};
use crate::manage::problem::{Code, Problem};

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum Directory {
    ListAccounts,
    CreateAccount,
    ChangeAccount,
    ListMembers,
    PutMember,
    RemoveMember,
    ListUsers,
    CreateUser,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    id: AccountId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    status: AccountState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    id: UserId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default)]
    permissions: Vec<Permission>,
}

impl Directory {
    /// Whether it reads a body.
    pub(super) const fn takes_body(self) -> bool {
        match self {
            Self::CreateAccount | Self::ChangeAccount | Self::PutMember | Self::CreateUser => true,
            Self::ListAccounts | Self::ListMembers | Self::RemoveMember | Self::ListUsers => false,
        }
    }

    /// What is asked for.
    pub(super) fn command(self, asked: &Asked<'_>) -> Result<Command, Problem> {
        let account = || asked.name::<AccountId>(0, Code::AccountNotFound);
        let user = || asked.name::<UserId>(1, Code::UserNotFound);
        Ok(match self {
            Self::ListAccounts => Command::ListAccounts,
            Self::CreateAccount => Command::CreateAccount(asked.body.parse::<NewAccount>()?.id),
            Self::ChangeAccount => {
                let change = asked.body.parse::<AccountChange>()?;
                Command::SetAccountState(account()?, change.status)
            }
            Self::ListMembers => Command::ListMembers(Some(account()?)),
            Self::PutMember => {
                let permissions = asked.body.parse::<Place>()?.permissions.into();
                Command::AddMember(Membership { account: account()?, user: user()?, permissions })
            }
            Self::RemoveMember => Command::RemoveMember(account()?, user()?),
            Self::ListUsers => Command::ListUsers,
            Self::CreateUser => Command::CreateUser(asked.body.parse::<NewUser>()?.id),
        })
    }
}

/// What came of it.
pub(super) fn encode(call: Directory, outcome: Outcome) -> Result<Response<Full<Bytes>>, Problem> {
    let made = matches!(call, Directory::CreateAccount | Directory::CreateUser);
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(match outcome {
        Outcome::Account(account) => json(status, &One { account: Some(AccountBody::of(&account)), ..One::default() }),
        Outcome::Accounts(accounts) => {
            json(status, &Accounts { accounts: accounts.iter().map(AccountBody::of).collect() })
        }
        Outcome::User(user) => json(status, &One { user: Some(UserBody::of(&user)), ..One::default() }),
        Outcome::Users(users) => json(status, &Users { users: users.iter().map(UserBody::of).collect() }),
        Outcome::Member(member) => json(status, &One { member: Some(MemberBody::of(&member)), ..One::default() }),
        Outcome::Members(members) => json(status, &Members { members: members.iter().map(MemberBody::of).collect() }),
        Outcome::Key(_)
        | Outcome::Found(_)
        | Outcome::Keys(_)
        | Outcome::Imported(_)
        | Outcome::Tried(_)
        | Outcome::Rehearsal(_) => {
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
}

#[derive(Serialize)]
struct Users<'a> {
    users: Vec<UserBody<'a>>,
}

#[derive(Serialize)]
struct Members<'a> {
    members: Vec<MemberBody<'a>>,
}

#[derive(Serialize)]
struct AccountBody<'a> {
    id: &'a AccountId,
    object: &'static str,
    status: AccountState,
    created_at: Timestamp,
}

impl<'a> AccountBody<'a> {
    fn of(account: &'a Account) -> Self {
        Self { id: &account.id, object: "account", status: account.state, created_at: account.created_at }
    }
}

#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a UserId,
    object: &'static str,
    created_at: Timestamp,
}

impl<'a> UserBody<'a> {
    fn of(user: &'a User) -> Self {
        Self { id: &user.id, object: "user", created_at: user.created_at }
    }
}

#[derive(Serialize)]
struct MemberBody<'a> {
    object: &'static str,
    account_id: &'a AccountId,
    user_id: &'a UserId,
    permissions: &'a Permissions,
}

impl<'a> MemberBody<'a> {
    fn of(member: &'a Membership) -> Self {
        Self { object: "member", account_id: &member.account, user_id: &member.user, permissions: &member.permissions }
    }
}

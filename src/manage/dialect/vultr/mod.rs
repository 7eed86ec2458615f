//! The key endpoints of Vultr's API v2, for clients that speak it: create, list, show and delete; nothing rotates.
//!
//! ```text
//!  path, query, body --wire--> desk --wire--> {"api_key": ...} | {"api_keys": [...], "meta": ...} | {"error": ...}
//! ```
//!
//! Each path is answered with a slash at its end and without, and never redirected: that would turn a POST into a GET. What
//! else lies below `/v2/` is the origin's.

mod id;
#[cfg(test)]
mod tests;
mod wire;

use std::net::IpAddr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;

use super::native::json;
use crate::key::token::Prefix;
use crate::key::{AccountId, Key, KeyId, KeyState, Kind, User, UserId};
use crate::keyring::command::{Command, KeyFilter, Outcome};
use crate::manage::JSON;
use crate::manage::body::Document;
use crate::manage::caller::Caller;
use crate::manage::desk::{Desk, unexpected};
use crate::manage::holder::Holder;
use crate::manage::problem::{Code, Problem};
use crate::manage::routes::{Route, holders};
use crate::manage::row;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    List,
    Create,
    Show,
    Delete,
    Account,
}

/// The table. The longer paths name whose keys are meant, the shorter ones mean those of the caller.
const ROUTES: &[Route<Call>] = &[
    holders(KEYS, &[(Method::GET, Call::List), (Method::POST, Call::Create)]),
    holders("/v2/apikeys/{key}", &[(Method::GET, Call::Show), (Method::DELETE, Call::Delete)]),
    holders("/v2/users/{user}/apikeys", &[(Method::GET, Call::List), (Method::POST, Call::Create)]),
    holders("/v2/users/{user}/apikeys/{key}", &[(Method::GET, Call::Show), (Method::DELETE, Call::Delete)]),
    holders(ACCOUNT, &[(Method::GET, Call::Account)]),
];

const KEYS: &str = "/v2/apikeys";
const ACCOUNT: &str = "/v2/account";

/// Whether what is read at this path is nothing about keys.
pub(in crate::manage) fn tells_no_keys(path: &str) -> bool {
    bare(path) == ACCOUNT
}

/// Whether this path is answered here.
pub(in crate::manage) fn has(path: &str) -> bool {
    let path = bare(path);
    let of_user = || path.strip_prefix("/v2/users/").and_then(|rest| rest.split_once('/'));
    let is_keys = |rest: &str| rest.is_empty() || rest.starts_with('/');
    path == ACCOUNT
        || path.strip_prefix(KEYS).is_some_and(is_keys)
        || of_user().and_then(|(_, rest)| rest.strip_prefix("apikeys")).is_some_and(is_keys)
}

/// Whether clients at this path expect these words.
pub(in crate::manage) fn words(path: &str) -> bool {
    path.starts_with("/v2/") || path == "/v2"
}

/// The path without the slash that may stand at its end.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

impl Call {
    /// Whether it reads a body.
    const fn takes_body(self) -> bool {
        matches!(self, Self::Create)
    }
}

/// One call, apart from who asks.
struct Asked<'a> {
    /// What stands in the path, decoded once.
    names: Vec<String>,
    query: Option<&'a str>,
    body: Document,
}

/// Answers one request. New secrets begin with `prefix`.
pub(in crate::manage) async fn answer<B>(
    prefix: &Prefix,
    desk: &Desk<'_>,
    head: &request::Parts,
    body: &mut Option<B>,
) -> Result<Response<Full<Bytes>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (row, path, names, body) = match row::asked(ROUTES, bare(head.uri.path()), head, body, Call::takes_body).await?
    {
        row::Asked::Options(answer) => return Ok(answer),
        row::Asked::Row { call, path, names, body } => (call, path, names, body),
    };
    call(row, path, desk, &Asked { names, query: head.uri.query(), body }, prefix).await
}

/// Carries a call out. `path` is its row's, and `prefix` is what new secrets begin with.
async fn call(
    call: Call,
    path: &str,
    desk: &Desk<'_>,
    asked: &Asked<'_>,
    prefix: &Prefix,
) -> Result<Response<Full<Bytes>>, Problem> {
    let Caller::Holder(holder) = desk.caller else { return Err(Problem::new(Code::ScopeInsufficient)) };
    let whose = Whose::of(path, holder, &asked.names)?;
    match call {
        Call::List => {
            let page = wire::page(asked.query)?;
            let keys = living(whose.keys(desk).await?);
            Ok(json(StatusCode::OK, &wire::List::of(&keys, page)))
        }
        Call::Create => {
            let wanted = asked.body.parse::<wire::Create>()?;
            let (kind, account, user) = whose.owner(holder);
            let draft = |id, imprint| wanted.draft(id, imprint, kind, account, user);
            let (key, secret) = desk.mint(prefix, draft).await?;
            Ok(json(StatusCode::CREATED, &wire::One::made(&key, &secret)))
        }
        Call::Show => Ok(json(StatusCode::OK, &wire::One::of(&whose.key(desk, asked).await?))),
        Call::Delete => {
            let key = whose.key(desk, asked).await?;
            desk.revoke(key.id, None).await?;
            let mut gone = Response::new(Full::default());
            *gone.status_mut() = StatusCode::NO_CONTENT;
            Ok(gone)
        }
        Call::Account => Ok(json(StatusCode::OK, &account(desk, holder).await?)),
    }
}

/// The caller as the directory knows them: a user, or the account itself.
async fn account(desk: &Desk<'_>, holder: &Holder) -> Result<wire::Account, Problem> {
    let home = holder.home();
    let acls = home.and_then(|account| holder.permissions_in(account)).unwrap_or_default();
    let command = match (holder.user(), home) {
        (Some(user), _) => Command::ShowUser(user.clone()),
        (None, Some(account)) => Command::ShowAccount(account.clone()),
        (None, None) => return Err(unexpected()),
    };
    match desk.carry_out(command).await? {
        Outcome::User(User { id, name, email, .. }) => Ok(wire::Account::of(id.as_str(), name, email, acls)),
        Outcome::Account(found) => Ok(wire::Account::of(found.id.as_str(), found.name, None, acls)),
        _ => Err(unexpected()),
    }
}

/// A refusal in the words that clients of this API expect. The headers say what they say in any form: which challenge, which
/// methods, when to try again.
pub(in crate::manage) fn refusal(
    problem: Problem,
    status: StatusCode,
    client: IpAddr,
    realm: &str,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let error = wire::Error::of(&problem, status, client);
    let (mut head, _) = problem.into_response(realm, request_id).into_parts();
    (head.status, _) = (error.status(), head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON)));
    let (_, body) = json(head.status, &error).into_parts();
    Response::from_parts(head, body)
}

/// Whose keys are meant.
enum Whose {
    /// The caller's.
    Own,
    /// A user's in the account whose keys the caller manages.
    Of(UserId, AccountId),
}

impl Whose {
    fn of(path: &str, holder: &Holder, names: &[String]) -> Result<Self, Problem> {
        if !path.contains("{user}") {
            return Ok(Self::Own);
        }
        let user = names.first().and_then(|name| name.parse().ok());
        if user.is_some() && user.as_ref() == holder.user() {
            return Ok(Self::Own);
        }
        let managed = holder.home().filter(|account| holder.manages(account));
        let account = managed.ok_or_else(|| Problem::new(Code::ScopeInsufficient))?;
        let user = user.ok_or_else(|| Problem::new(Code::UserNotFound))?;
        Ok(Self::Of(user, account.clone()))
    }

    async fn keys(&self, desk: &Desk<'_>) -> Result<Vec<Key>, Problem> {
        match self {
            Self::Own => desk.keys(KeyFilter::default(), false).await,
            Self::Of(user, account) => {
                let of = KeyFilter { user: Some(user.clone()), account: Some(account.clone()), ..KeyFilter::default() };
                desk.keys(of, true).await
            }
        }
    }

    /// The key in the path, where it is one of these. What was deleted is gone.
    async fn key(&self, desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Key, Problem> {
        let missing = || Problem::new(Code::KeyNotFound);
        let id: KeyId = asked.names.last().and_then(|name| id::read(name)).ok_or_else(missing)?;
        let key = desk.key(id).await?;
        let is_meant = match self {
            Self::Own => true,
            Self::Of(user, account) => key.user.as_ref() == Some(user) && key.account.as_ref() == Some(account),
        };
        if is_meant && key.state != KeyState::Revoked { Ok(key) } else { Err(missing()) }
    }

    /// Who owns a key that is made here.
    fn owner(&self, holder: &Holder) -> (Kind, Option<AccountId>, Option<UserId>) {
        match self {
            Self::Own if holder.user().is_none() => (Kind::Service, holder.home().cloned(), None),
            Self::Own => (Kind::Personal, holder.home().cloned(), holder.user().cloned()),
            Self::Of(user, account) => (Kind::Personal, Some(account.clone()), Some(user.clone())),
        }
    }
}

fn living(mut keys: Vec<Key>) -> Vec<Key> {
    keys.retain(|key| key.state != KeyState::Revoked);
    keys
}

//! The native API: what an operator asks in its words, carried out by the keyring.
//!
//! ```text
//!  path, query, body --decode--> Command --keyring::operate--> Outcome | Problem --encode--> answer
//! ```
//!
//! The conversions stand in [`key`], [`wanted`], [`directory`] and [`query`]; here is which call takes which.

mod audit;
mod callers;
mod directory;
mod introspect;
mod key;
mod migration;
pub(in crate::manage) mod once;
pub(in crate::manage) mod query;
mod receipt;
mod tag;
#[cfg(test)]
mod tests;
mod theirs;
mod wanted;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use zeroize::Zeroizing;

pub(in crate::manage) use self::directory::Directory;
use self::query::Query;
pub(in crate::manage) use self::receipt::wait;
#[cfg(test)]
use self::theirs::THEIRS;
pub(in crate::manage) use self::theirs::{answer as answer_holder, described, rotates_self};
use crate::clock::Timestamp;
use crate::key::token::Prefix;
use crate::key::{Key, KeyId};
use crate::keyring::Denied;
use crate::keyring::command::{Command, Outcome, Replaced};
use crate::keyring::once::Made;
use crate::manage::body::Document;
use crate::manage::caller::Caller;
use crate::manage::desk::{Desk, Told, fresh, unexpected};
use crate::manage::problem::{Code, Problem};
use crate::manage::{JSON, answer};
use crate::secret::Secret;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum Call {
    Describe,
    WhoAmI,
    Verify,
    Introspect,
    ListKeys,
    MintKey,
    ShowKey,
    ShowCallers,
    ChangeKey,
    RevokeKey,
    RotateKey,
    CompleteRotation,
    CancelRotation,
    ListAudit,
    ShowRehearsal,
    ForgetRehearsal,
    ShowMigration,
    ReplaceKey,
    ShowRevision,
    Barrier,
    ShowReplicas,
    Directory(Directory),
}

/// What stands behind the question mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameters {
    Nothing,
    /// How long to wait until the change is true everywhere.
    Wait,
    /// What the call reads itself.
    Own,
}

impl Call {
    /// What parameters it has.
    const fn parameters(self) -> Parameters {
        match self {
            Self::ListKeys | Self::ListAudit | Self::ShowMigration => Parameters::Own,
            Self::MintKey
            | Self::ChangeKey
            | Self::RevokeKey
            | Self::RotateKey
            | Self::CompleteRotation
            | Self::CancelRotation
            | Self::ReplaceKey
            | Self::ShowRevision
            | Self::Barrier => Parameters::Wait,
            Self::Directory(call) if call.is_list() => Parameters::Own,
            Self::Directory(call) if call.changes() => Parameters::Wait,
            Self::Directory(_)
            | Self::Describe
            | Self::WhoAmI
            | Self::Verify
            | Self::Introspect
            | Self::ShowKey
            | Self::ShowCallers
            | Self::ShowRehearsal
            | Self::ForgetRehearsal
            | Self::ShowReplicas => Parameters::Nothing,
        }
    }

    /// Whether it reads a body.
    pub(in crate::manage) const fn takes_body(self) -> bool {
        match self {
            Self::Verify
            | Self::Introspect
            | Self::MintKey
            | Self::ChangeKey
            | Self::RotateKey
            | Self::ReplaceKey
            | Self::Barrier => true,
            Self::Directory(call) => call.takes_body(),
            Self::Describe
            | Self::WhoAmI
            | Self::ListKeys
            | Self::ShowKey
            | Self::ShowCallers
            | Self::RevokeKey
            | Self::CompleteRotation
            | Self::CancelRotation
            | Self::ListAudit
            | Self::ShowRehearsal
            | Self::ForgetRehearsal
            | Self::ShowMigration
            | Self::ShowRevision
            | Self::ShowReplicas => false,
        }
    }
}

/// One call, apart from who asks.
pub(in crate::manage) struct Asked<'a> {
    /// What stands before the API's own paths.
    pub(in crate::manage) base: &'a str,
    /// The path as it came.
    pub(in crate::manage) path: &'a str,
    /// What stands in the path, decoded once.
    pub(in crate::manage) names: Vec<String>,
    pub(in crate::manage) query: Option<&'a str>,
    pub(in crate::manage) headers: &'a HeaderMap,
    pub(in crate::manage) body: Document,
    /// What can be called here: [`OPENAPI`], or what [`described`] makes of it.
    pub(in crate::manage) description: Bytes,
}

impl Asked<'_> {
    /// The key in the path. What cannot be an id is no key's; to a holder, `self` is the key they ask with.
    fn key(&self, caller: &Caller) -> Result<KeyId, Problem> {
        match caller {
            Caller::Holder(holder) if self.names.first().is_some_and(|name| name == "self") => Ok(holder.key().clone()),
            Caller::Holder(_) | Caller::Operator(_) => self.name(0, Code::KeyNotFound),
        }
    }

    fn name<T: std::str::FromStr>(&self, at: usize, missing: Code) -> Result<T, Problem> {
        self.names.get(at).and_then(|name| name.parse().ok()).ok_or_else(|| Problem::new(missing))
    }
}

/// Carries a call out. `prefix` is what new secrets begin with where nothing else is said.
pub(in crate::manage) async fn call(
    call: Call,
    desk: &Desk<'_>,
    asked: &Asked<'_>,
    prefix: &Prefix,
) -> Result<Response<Full<Bytes>>, Problem> {
    match call.parameters() {
        Parameters::Nothing => Query::read(asked.query)?.end()?,
        Parameters::Wait => desk.wait(receipt::wait(asked.query, desk.hand.keyring.longest_wait())?),
        Parameters::Own => {}
    }
    let id = || asked.key(desk.caller);
    match call {
        Call::Describe => Ok(answer(StatusCode::OK, JSON, asked.description.clone())),
        Call::WhoAmI => Ok(shown(&desk.key(desk.caller.key().clone()).await?, desk.now())),
        Call::Verify => verify(desk, asked).await,
        Call::Introspect => introspect(desk, asked).await,
        Call::ListKeys => {
            let key::Listing { filter, limit, all } = key::listing(asked.query)?;
            let keys = desk.keys(filter, all).await?;
            Ok(json(StatusCode::OK, &key::Page::of(&keys, limit, desk.now())))
        }
        Call::MintKey => mint(desk, asked, prefix).await,
        Call::ShowKey => {
            let key = desk.key(id()?).await?;
            let tag = tag::tag(&key.seen_at(desk.now()));
            if asked.headers.get_all(IF_NONE_MATCH).iter().any(|line| tag::names(line, &tag)) {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(with(response, ETAG, &tag));
            }
            Ok(shown(&key, desk.now()))
        }
        Call::ShowCallers => Ok(json(StatusCode::OK, &callers::Secrets { secrets: &desk.callers(id()?).await? })),
        Call::ChangeKey => {
            let change = asked.body.parse::<wanted::Change>()?.change(desk.now())?;
            changed(desk, desk.change(id()?, change, tag::seen(asked.headers)).await)
        }
        Call::RevokeKey => changed(desk, desk.revoke(id()?, tag::seen(asked.headers)).await),
        Call::RotateKey => rotate(desk, asked, prefix).await,
        Call::CompleteRotation => {
            let completed = desk.complete(id()?).await?;
            let body = callers::Ended::of(&completed, desk.now());
            Ok(with(receipt::changed(desk, StatusCode::OK, &body), ETAG, &tag::tag(&completed.key.seen_at(desk.now()))))
        }
        Call::ShowRevision => receipt::revision(desk, asked).await,
        Call::Barrier => receipt::barrier(desk, asked).await,
        Call::CancelRotation => match once::came_before(desk, asked, true).await? {
            Some(made) => made_again(desk, asked, made).await,
            None => changed(desk, desk.cancel(id()?).await),
        },
        // From here on operators' alone: no other table has such a row.
        Call::ListAudit
        | Call::ShowRehearsal
        | Call::ForgetRehearsal
        | Call::ShowMigration
        | Call::ReplaceKey
        | Call::ShowReplicas
        | Call::Directory(_)
            if matches!(desk.caller, Caller::Holder(_)) =>
        {
            Err(Problem::new(Code::ScopeInsufficient))
        }
        Call::ListAudit => list_audit(desk, asked).await,
        Call::ShowRehearsal => rehearsal(desk, Command::ShowRehearsal).await,
        Call::ForgetRehearsal => rehearsal(desk, Command::ForgetRehearsal).await,
        Call::ShowMigration => {
            let (after, limit) = migration::page(asked.query)?;
            match desk.carry_out(Command::ShowMigration(after, limit + 1)).await? {
                Outcome::Migration(keys) => Ok(json(StatusCode::OK, &migration::Page::of(&keys, limit, desk.now()))),
                _ => Err(unexpected()),
            }
        }
        Call::ReplaceKey => replace(desk, asked, prefix).await,
        Call::ShowReplicas => receipt::replicas(desk).await,
        Call::Directory(call) => {
            let (command, limit) = call.command(asked)?;
            directory::encode(call, desk, desk.carry_out(command).await?, limit)
        }
    }
}

async fn mint(desk: &Desk<'_>, asked: &Asked<'_>, usual: &Prefix) -> Result<Response<Full<Bytes>>, Problem> {
    let wanted = asked.body.parse::<wanted::Mint>()?;
    if let Some(made) = once::came_before(desk, asked, false).await? {
        return made_again(desk, asked, made).await;
    }
    let prefix = wanted.prefix.clone();
    let (now, owner) = (desk.now(), desk.caller);
    let (key, secret) =
        desk.mint(prefix.as_ref().unwrap_or(usual), |id, imprint| wanted.draft(id, imprint, owner, now)).await?;
    Ok(with_place(shown_once(desk, &key, &secret), asked, &key))
}

/// Of two who rotate what both have seen, one is told that it was overtaken.
async fn rotate(desk: &Desk<'_>, asked: &Asked<'_>, usual: &Prefix) -> Result<Response<Full<Bytes>>, Problem> {
    let wanted = asked.body.parse::<wanted::Rotate>()?;
    // Before what was seen is looked at: who asks again has seen what was there before.
    if let Some(made) = once::came_before(desk, asked, true).await? {
        return made_again(desk, asked, made).await;
    }
    let before = desk.key(asked.key(desk.caller)?).await?;
    if tag::seen(asked.headers).is_some_and(|seen| !seen.contains(&before.seen_at(desk.now()))) {
        return Err(Problem::new(Code::PreconditionFailed));
    }
    let rotation = wanted.rotation(before.generation, desk.now())?;
    let prefix = wanted.prefix.as_ref().or(before.prefix.as_ref()).unwrap_or(usual);
    let (key, secret) = desk.rotate(&before, prefix, rotation).await?;
    Ok(shown_once(desk, &key, &secret))
}

/// The answer once more: the same secret, and the key as it is now.
pub(in crate::manage) async fn made_again(
    desk: &Desk<'_>,
    asked: &Asked<'_>,
    made: Made,
) -> Result<Response<Full<Bytes>>, Problem> {
    let key = desk.key(made.key).await?;
    Ok(match made.secret {
        Some(secret) if asked.names.is_empty() => with_place(shown_once(desk, &key, &secret), asked, &key),
        Some(secret) => shown_once(desk, &key, &secret),
        None => changed(desk, Ok(key))?,
    })
}

async fn list_audit(desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    let (filter, limit) = audit::filter(asked.query)?;
    match desk.carry_out(Command::ListAudit(Box::new(filter))).await? {
        Outcome::Audit(entries) => Ok(json(StatusCode::OK, &audit::Page::of(&entries, limit))),
        _ => Err(unexpected()),
    }
}

/// Whether a secret is a living key's. It is an answer either way; only our own trouble is none.
async fn verify(desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    let wanted = asked.body.parse::<wanted::Verify>()?;
    let code = match desk.hand.keyring.verify(&wanted.secret).await {
        Ok(_) => None,
        Err(Denied::Refused(refusal)) => Some(Code::of(&refusal)),
        Err(Denied::Failed(_)) => return Err(Problem::new(Code::AuthUnavailable)),
    };
    Ok(json(StatusCode::OK, &key::Verdict::of(code)))
}

/// Makes what takes the place of a user's key.
async fn replace(desk: &Desk<'_>, asked: &Asked<'_>, usual: &Prefix) -> Result<Response<Full<Bytes>>, Problem> {
    let wanted = asked.body.parse::<migration::Wanted>()?;
    if let Some(Made { key, instead, .. }) = once::came_before(desk, asked, wanted.ends_old()).await? {
        let (mut keys, mut secrets) = (Vec::new(), Vec::new());
        for (id, secret) in instead {
            keys.push(desk.key(id).await?);
            secrets.push(secret);
        }
        return Ok(replaced(desk, &Replaced { keys, old: desk.key(key).await? }, &secrets));
    }
    let (mut keys, mut secrets) = (Vec::new(), Vec::new());
    for account in &wanted.account_ids {
        let (id, secret, imprint) = fresh(wanted.prefix.as_ref().unwrap_or(usual))?;
        keys.push((account.clone(), id, imprint));
        secrets.push(secret);
    }
    let replacement = wanted.replacement(asked.key(desk.caller)?, keys, desk.now())?;
    let done = desk.replace(replacement, &secrets).await;
    match done.map_err(migration::not_replaced)? {
        Outcome::Replaced(done) => Ok(replaced(desk, &done, &secrets)),
        _ => Err(unexpected()),
    }
}

fn replaced(desk: &Desk<'_>, done: &Replaced, secrets: &[Secret]) -> Response<Full<Bytes>> {
    receipt::changed(desk, StatusCode::CREATED, &migration::Done::of(done, secrets, desk.now()))
}

async fn rehearsal(desk: &Desk<'_>, command: Command) -> Result<Response<Full<Bytes>>, Problem> {
    match desk.carry_out(command).await? {
        Outcome::Rehearsal(rehearsal) => Ok(json(StatusCode::OK, &rehearsal)),
        _ => Err(unexpected()),
    }
}

/// Whose secret it is, and until when.
async fn introspect(desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    let verified = match desk.hand.keyring.verify(&introspect::token(&asked.body)?).await {
        Ok(verified) => Some(verified),
        Err(Denied::Refused(_)) => None,
        Err(Denied::Failed(_)) => return Err(Problem::new(Code::AuthUnavailable)),
    };
    Ok(json(StatusCode::OK, &introspect::Told::of(verified.as_ref())))
}

fn changed(desk: &Desk<'_>, key: Result<Key, Problem>) -> Result<Response<Full<Bytes>>, Problem> {
    let (key, now) = (key?, desk.now());
    let body = key::Shown { key: key::Body::of(&key, now) };
    Ok(with(receipt::changed(desk, StatusCode::OK, &body), ETAG, &tag::tag(&key.seen_at(now))))
}

fn shown(key: &Key, now: Timestamp) -> Response<Full<Bytes>> {
    let body = key::Shown { key: key::Body::of(key, now) };
    with(json(StatusCode::OK, &body), ETAG, &tag::tag(&key.seen_at(now)))
}

fn shown_once(desk: &Desk<'_>, key: &Key, secret: &Secret) -> Response<Full<Bytes>> {
    let now = desk.now();
    let body = key::Made::of(key, secret, now);
    with(receipt::changed(desk, StatusCode::CREATED, &body), ETAG, &tag::tag(&key.seen_at(now)))
}

/// The answer to a rotation once more, to the holder of the secret that it retired.
pub(in crate::manage) fn rotated_again(
    key: &Key,
    secret: &Secret,
    told: &Told,
    now: Timestamp,
) -> Response<Full<Bytes>> {
    let body = key::Made::of(key, secret, now);
    with(receipt::changed_before(told, StatusCode::CREATED, &body), ETAG, &tag::tag(&key.seen_at(now)))
}

/// The description, by hand; a test holds it to the routes and the catalogue.
pub(in crate::manage) const OPENAPI: &str = include_str!("openapi.json");

/// Wiped once it is sent, as far as it is ours: some hold a secret. The room is taken at once, since a buffer that grows
/// leaves copies behind; an answer with a secret is smaller.
pub(in crate::manage) fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
    // What is written is ours, and a vector takes all of it.
    let _ = serde_json::to_writer(&mut *text, body);
    answer(status, JSON, Bytes::from_owner(text))
}

/// Where a key that was made is.
fn with_place(response: Response<Full<Bytes>>, asked: &Asked<'_>, key: &Key) -> Response<Full<Bytes>> {
    with(response, LOCATION, &format!("{}/v1/keys/{}", asked.base, key.id))
}

fn with(mut response: Response<Full<Bytes>>, name: http::HeaderName, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

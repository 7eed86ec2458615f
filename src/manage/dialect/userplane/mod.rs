//! Userplane's form. The vendor has a dashboard for keys and documents no calls, so the paths and the members of a key are ours;
//! envelope, lists, codes, prefix and the five expirations are the vendor's.
//!
//! ```text
//!  /api/v1/public/me/api-keys/**   answered here
//!  /api/v1/public/**               the origin's; but a refusal there reads as it would at the vendor's
//! ```
//!
//! `/api/v1/public/me` is the origin's too: most of what it tells (pictures, recordings, links) is nothing keyward knows.

mod key;
mod refusal;

use bytes::Bytes;
use http::{Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;

pub(in crate::manage) use self::refusal::{refusal, word};
use super::native::{json, once};
use crate::key::token::Prefix;
use crate::key::{Key, KeyId};
use crate::keyring::command::KeyFilter;
use crate::keyring::once::Made;
use crate::manage::body::Document;
use crate::manage::desk::Desk;
use crate::manage::problem::{Code, Problem};
use crate::manage::routes::{Route, To, find_in, holders};
use crate::manage::row;
use crate::secret::Secret;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    List,
    Mint,
    Rotate,
    Revoke,
}

/// The table.
const THEIRS: &[Route<Call>] = &[
    holders("/api/v1/public/me/api-keys", &[(Method::GET, Call::List), (Method::POST, Call::Mint)]),
    holders("/api/v1/public/me/api-keys/{key}", &[(Method::DELETE, Call::Revoke)]),
    holders("/api/v1/public/me/api-keys/{key}/rotate", &[(Method::POST, Call::Rotate)]),
];

/// What is answered here.
pub(in crate::manage) const KEYS: &str = "/api/v1/public/me/api-keys";
/// Where refusals read so.
pub(in crate::manage) const BASE: &str = "/api/v1/public";

impl Call {
    /// Whether it reads a body.
    const fn takes_body(self) -> bool {
        matches!(self, Self::Mint | Self::Rotate)
    }
}

/// A success.
#[derive(Serialize)]
struct Said<T> {
    message: &'static str,
    data: T,
}

/// One call, apart from who asks.
struct Asked<'a> {
    path: &'a str,
    /// What stands in the path, decoded once.
    names: Vec<String>,
    query: Option<&'a str>,
    /// Under which the request may come again (`Idempotency-Key`).
    name: Option<String>,
    body: Document,
}

/// The path of a request; a slash at its end is taken or left.
fn path(head: &request::Parts) -> &str {
    let path = head.uri.path();
    path.strip_suffix('/').unwrap_or(path)
}

/// The path of a request at which a key is rotated.
pub(in crate::manage) fn rotates(head: &request::Parts) -> Option<&str> {
    let rotates =
        |path: &&str| matches!(find_in(THEIRS, path, &Method::POST), Some((_, Ok(To::Row { row: Call::Rotate, .. }))));
    Some(path(head)).filter(rotates)
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
    let path = path(head);
    let (row, names, body) = match row::asked(THEIRS, path, head, body, Call::takes_body).await? {
        row::Asked::Options(answer) => return Ok(answer),
        row::Asked::Row { call, names, body, .. } => (call, names, body),
    };
    let name = once::named(&head.headers)?.filter(|_| row.takes_body());
    call(row, desk, &Asked { path, names, query: head.uri.query(), name, body }, prefix).await
}

/// Carries a call out. New secrets begin with `prefix`.
async fn call(
    call: Call,
    desk: &Desk<'_>,
    asked: &Asked<'_>,
    prefix: &Prefix,
) -> Result<Response<Full<Bytes>>, Problem> {
    let Asked { names, query, body, .. } = asked;
    // What cannot be an id is no key's.
    let id = || -> Result<KeyId, Problem> {
        names.first().and_then(|name| name.parse().ok()).ok_or_else(|| Problem::new(Code::KeyNotFound))
    };
    match call {
        Call::List => {
            let page = key::Page::read(*query)?;
            let keys = desk.keys(KeyFilter { unrevoked: true, ..KeyFilter::default() }, false).await?;
            Ok(said(StatusCode::OK, "API keys retrieved", &page.of(&keys)))
        }
        Call::Mint => {
            let wanted = body.parse::<key::Wanted>()?;
            if let Some((key, secret)) = came_before(desk, asked, false).await? {
                return Ok(created(&key, &secret));
            }
            let (key, secret) = desk.mint_alike(prefix, wanted.name(), wanted.expires_at(desk.now())).await?;
            Ok(created(&key, &secret))
        }
        Call::Rotate => {
            let wanted = body.parse::<key::Wanted>()?;
            if let Some((key, secret)) = came_before(desk, asked, true).await? {
                return Ok(rotated(&key, &secret));
            }
            let before = desk.key(id()?).await?;
            let done = desk.rotate(&before, prefix, wanted.rotation(before.generation, desk.now())).await;
            let (key, secret) = done.map_err(|problem| match problem.code {
                // Who lost to another who rotated the key they asked with, asked with a dead one.
                Code::RotationConflict if before.id == *desk.caller.key() => Problem::new(Code::KeyInvalid),
                _ => problem,
            })?;
            Ok(rotated(&key, &secret))
        }
        Call::Revoke => {
            let key = desk.revoke(id()?, None).await?;
            Ok(said(StatusCode::OK, "API key revoked", &key::Gone { id: &key.id }))
        }
    }
}

/// What the request made, where it came before under the same name.
async fn came_before(desk: &Desk<'_>, asked: &Asked<'_>, narrows: bool) -> Result<Option<(Key, Secret)>, Problem> {
    let Some(name) = &asked.name else { return Ok(None) };
    match desk.came_before(name, &[asked.path.as_bytes(), asked.body.bytes()], narrows).await? {
        Some(Made { key, secret: Some(secret), .. }) => Ok(Some((desk.key(key).await?, secret))),
        _ => Ok(None),
    }
}

fn created(key: &Key, secret: &Secret) -> Response<Full<Bytes>> {
    said(StatusCode::CREATED, "API key created", &key::Made::of(key, secret))
}

/// The answer to a rotation.
pub(in crate::manage) fn rotated(key: &Key, secret: &Secret) -> Response<Full<Bytes>> {
    said(StatusCode::OK, "API key rotated", &key::Made::of(key, secret))
}

fn said(status: StatusCode, message: &'static str, data: &impl Serialize) -> Response<Full<Bytes>> {
    json(status, &Said { message, data })
}

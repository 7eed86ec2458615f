//! What stands on the wire, and nothing else: each answer has exactly the members it has here, in this order.
//!
//! The names of a key's members are not published by the vendor; those here are ours.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::id;
use crate::clock::Timestamp;
use crate::key::{AccountId, Imprint, Key, KeyId, Kind, Line, Permissions, UserId};
use crate::keyring::command::NewKey;
use crate::manage::dialect::native::query::Query;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    #[serde(default)]
    name: String,
    expire: Option<bool>,
    #[serde(default)]
    date_expire: String,
}

impl Create {
    pub(super) fn draft(
        self,
        id: KeyId,
        secret: Imprint,
        kind: Kind,
        account: Option<AccountId>,
        user: Option<UserId>,
    ) -> Result<NewKey, Problem> {
        let expires_at = self.expires_at()?;
        Ok(NewKey { account, user, name: self.name, expires_at, ..NewKey::bare(id, secret, kind) })
    }

    /// Who names a date wants it, unless they say otherwise.
    fn expires_at(&self) -> Result<Option<Timestamp>, Problem> {
        let fault = |detail: &str| Problem::member("/date_expire", detail);
        match (self.expire, self.date_expire.as_str()) {
            (Some(false), _) | (None, "") => Ok(None),
            (Some(true), "") => Err(fault("say when, or leave out expire")),
            (_, date) => date.parse().map(Some).map_err(|_| fault("give a time such as 2030-01-01T00:00:00Z")),
        }
    }
}

/// A key.
#[derive(Serialize)]
struct Body<'a> {
    id: String,
    name: &'a str,
    /// Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    expire: bool,
    date_expire: String,
    date_created: String,
}

impl<'a> Body<'a> {
    fn of(key: &'a Key, secret: Option<&'a Secret>) -> Self {
        Self {
            id: id::shown(&key.id),
            name: &key.name,
            api_key: secret.and_then(Secret::expose_str),
            expire: key.expires_at.is_some(),
            date_expire: key.expires_at.map(seconds).unwrap_or_default(),
            date_created: seconds(key.created_at),
        }
    }
}

/// One key.
#[derive(Serialize)]
pub(super) struct One<'a> {
    api_key: Body<'a>,
}

impl<'a> One<'a> {
    pub(super) fn of(key: &'a Key) -> Self {
        Self { api_key: Body::of(key, None) }
    }

    pub(super) fn made(key: &'a Key, secret: &'a Secret) -> Self {
        Self { api_key: Body::of(key, Some(secret)) }
    }
}

/// Some keys, and where those before and after them are.
#[derive(Serialize)]
pub(super) struct List<'a> {
    api_keys: Vec<Body<'a>>,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    total: usize,
    links: Links,
}

/// Empty where there are no more.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Links {
    pub(super) next: String,
    pub(super) prev: String,
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// The serial of the key before it.
    after: i64,
    most: usize,
}

/// What the query says. Parameters that only other lists have are passed over.
pub(super) fn page(query: Option<&str>) -> Result<Page, Problem> {
    let mut query = Query::read(query)?;
    let most = query.take_by("per_page", |text| text.parse().ok().filter(|most| (1..=500).contains(most)), MOST_SAID);
    let after = query.take_by("cursor", serial, "give the next or prev of a list");
    query.end_of_known()?;
    Ok(Page { after: after.unwrap_or_default(), most: most.unwrap_or(100) })
}

const MOST_SAID: &str = "give a number from 1 to 500";

impl<'a> List<'a> {
    /// One page of all `keys`, the oldest first.
    pub(super) fn of(keys: &'a [Key], page: Page) -> Self {
        let serials: Vec<i64> = keys.iter().map(|key| key.serial).collect();
        let (shown, links) = cut(&serials, page);
        let api_keys = keys[shown].iter().map(|key| Body::of(key, None)).collect();
        Self { api_keys, meta: Meta { total: keys.len(), links } }
    }
}

/// Where a page begins and ends among rising serials. What was deleted meanwhile shifts nothing: a cursor names a key.
pub(super) fn cut(serials: &[i64], page: Page) -> (std::ops::Range<usize>, Links) {
    let start = serials.partition_point(|serial| *serial <= page.after);
    let end = (start + page.most).min(serials.len());
    let mut links = Links::default();
    if end < serials.len() {
        links.next = cursor(serials[..end].last().copied().unwrap_or_default());
    }
    if start > 0 {
        let before = start.saturating_sub(page.most);
        links.prev = cursor(serials[..before].last().copied().unwrap_or_default());
    }
    (start..end, links)
}

fn cursor(serial: i64) -> String {
    URL_SAFE_NO_PAD.encode(serial.to_be_bytes())
}

/// An empty cursor is what the last page names: the first.
fn serial(cursor: &str) -> Option<i64> {
    if cursor.is_empty() {
        return Some(0);
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?)).filter(|serial| *serial >= 0)
}

/// The caller's account.
#[derive(Serialize)]
pub(super) struct Account {
    account: AccountBody,
}

/// keyward knows of no money.
#[derive(Serialize)]
struct AccountBody {
    name: String,
    email: String,
    acls: Permissions,
    balance: u8,
    pending_charges: u8,
    last_payment_date: &'static str,
    last_payment_amount: u8,
}

impl Account {
    /// Who has no name is called by their id.
    pub(super) fn of(id: &str, name: Option<Line>, email: Option<Line>, acls: Permissions) -> Self {
        let account = AccountBody {
            name: name.map_or_else(|| id.to_owned(), |name| name.to_string()),
            email: email.map(|email| email.to_string()).unwrap_or_default(),
            acls,
            balance: 0,
            pending_charges: 0,
            last_payment_date: "",
            last_payment_amount: 0,
        };
        Self { account }
    }
}

/// A refusal.
#[derive(Serialize)]
pub(super) struct Error {
    error: String,
    status: u16,
}

impl Error {
    /// All that makes a key unfit reads alike; and an address that it may not come from is a 401 here.
    pub(super) fn of(problem: &Problem, status: StatusCode, client: IpAddr) -> Self {
        let (status, error) = match (problem.code, status) {
            (Code::IpNotAllowed, _) => (StatusCode::UNAUTHORIZED, format!("Unauthorized IP address: {client}")),
            (_, StatusCode::UNAUTHORIZED) => (status, "Invalid API token.".to_owned()),
            (_, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT) => {
                (StatusCode::BAD_REQUEST, problem.sentence())
            }
            _ => (status, problem.sentence()),
        };
        Self { error, status: status.as_u16() }
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// RFC 3339 without a fraction, as the vendor's own examples have it.
fn seconds(moment: Timestamp) -> String {
    let text = moment.to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

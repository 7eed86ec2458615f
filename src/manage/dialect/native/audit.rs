//! The audit log on the wire.

use std::net::IpAddr;

use serde::Serialize;

use super::key::serial;
use super::query::{Query, cursor};
use crate::clock::Timestamp;
use crate::key::{AccountId, KeyId, UserId};
use crate::keyring::command::{AuditFilter, Entry, Who};
use crate::manage::problem::Problem;
use crate::store::audit::{Action, Details, Ending};

/// Which entries a query asks for, and how many: one more is looked for than is shown.
pub(super) fn filter(query: Option<&str>) -> Result<(AuditFilter, u32), Problem> {
    let mut query = Query::read(query)?;
    let limit = query.limit();
    let filter = AuditFilter {
        key: query.take("key"),
        account: query.take("account"),
        user: query.take("user"),
        action: query.take("action"),
        outcome: query.take("outcome"),
        who: query.take("who"),
        by_key: query.take("by_key"),
        since: query.take("since"),
        until: query.take("until"),
        before: query.cursor(serial),
        most: Some(limit + 1),
    };
    query.end()?;
    Ok((filter, limit))
}

/// Some entries, and where the next ones begin.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    entries: Vec<Body<'a>>,
    next_cursor: Option<String>,
}

impl<'a> Page<'a> {
    /// The first `limit` of `entries`; one more among them says that there is another page.
    pub(super) fn of(entries: &'a [Entry], limit: u32) -> Self {
        let shown = &entries[..entries.len().min(limit as usize)];
        let next = shown.last().filter(|_| entries.len() > shown.len());
        Self {
            entries: shown.iter().map(Body::of).collect(),
            next_cursor: next.map(|last| cursor(&last.seq.to_be_bytes())),
        }
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    object: &'static str,
    seq: i64,
    at: Timestamp,
    last_at: Timestamp,
    count: u64,
    action: Action,
    outcome: Ending,
    who: Caller<'a>,
    address: Option<IpAddr>,
    request_id: Option<&'a str>,
    key_id: Option<&'a KeyId>,
    account_id: Option<&'a AccountId>,
    user_id: Option<&'a UserId>,
    details: &'a Details,
}

#[derive(Debug, Serialize)]
struct Caller<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    key_id: Option<&'a KeyId>,
    uid: Option<u32>,
}

impl<'a> Body<'a> {
    fn of(entry: &'a Entry) -> Self {
        let (key_id, uid) = match &entry.by.who {
            Who::Operator { key } | Who::Holder { key } => (Some(key), None),
            Who::CommandLine { uid } => (None, Some(*uid)),
            Who::Keyward | Who::Stranger => (None, None),
        };
        Self {
            object: "audit_entry",
            seq: entry.seq,
            at: entry.at,
            last_at: entry.last_at,
            count: entry.count,
            action: entry.action,
            outcome: entry.outcome,
            who: Caller { kind: entry.by.who.kind().as_str(), key_id, uid },
            address: entry.by.address,
            request_id: entry.by.request_id.as_deref(),
            key_id: entry.key.as_ref(),
            account_id: entry.account.as_ref(),
            user_id: entry.user.as_ref(),
            details: &entry.details,
        }
    }
}

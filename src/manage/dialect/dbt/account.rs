//! Accounts, and who asks.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::envelope::{Filters, List, Moment, one};
use super::json;
use super::number::Number;
use super::page::MOST;
use crate::key::{Account, AccountState, Line, User};

/// An account, as far as keyward knows it; what it does not know is null.
#[derive(Debug, Serialize)]
struct Body<'a> {
    id: Number,
    name: &'a str,
    plan: Option<&'a str>,
    state: u8,
    locked: bool,
    lock_reason: Option<&'a str>,
    pending_cancel: bool,
    run_slots: Option<u32>,
    developer_seats: Option<u32>,
    read_only_seats: Option<u32>,
    identifier: &'a str,
    created_at: Moment,
    updated_at: Moment,
}

impl<'a> Body<'a> {
    fn of(account: &'a Account) -> Self {
        let id = account.id.as_str();
        Self {
            id: number(account),
            name: account.name.as_ref().map_or(id, Line::as_str),
            plan: None,
            state: 1,
            locked: account.state == AccountState::Suspended,
            lock_reason: None,
            pending_cancel: false,
            run_slots: None,
            developer_seats: None,
            read_only_seats: None,
            identifier: id,
            created_at: Moment(account.created_at),
            updated_at: Moment(account.created_at),
        }
    }
}

fn number(account: &Account) -> Number {
    Number::known(account.id.as_str(), account.serial)
}

/// The accounts of a key. There is one page: no user belongs to so many that there could be two.
pub(super) fn listed(accounts: &[Account]) -> Response<Full<Bytes>> {
    let filters = Filters { limit: MOST, offset: 0, ids: Some(accounts.iter().map(number).collect()) };
    json(StatusCode::OK, &List::of(accounts.iter().map(Body::of).collect(), filters, None, accounts.len()))
}

#[derive(Debug, Serialize)]
struct Who<'a> {
    user: Option<Person<'a>>,
}

#[derive(Debug, Serialize)]
struct Person<'a> {
    id: Number,
    email: Option<&'a str>,
    permissions: Vec<Place>,
}

#[derive(Debug, Serialize)]
struct Place {
    account_id: Number,
    /// keyward has none.
    groups: [u8; 0],
}

/// The user of a token, and where they belong as far as the token reaches. A service token is nobody's.
pub(super) fn who_am_i(user: Option<&User>, accounts: &[Account]) -> Response<Full<Bytes>> {
    let user = user.map(|user| Person {
        id: Number::known(user.id.as_str(), user.serial),
        email: user.email.as_ref().map(Line::as_str),
        permissions: accounts.iter().map(|account| Place { account_id: number(account), groups: [] }).collect(),
    });
    one(Who { user })
}

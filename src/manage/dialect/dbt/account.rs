//! Accounts, and who asks.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::envelope::{Filters, List, Moment, one};
use super::json;
use super::number::Number;
use super::page::MOST;
use crate::key::{Account, AccountState};
use crate::manage::holder::Holder;

/// An account, as far as keyward knows it; what it does not know is null.
#[derive(Debug, Serialize)]
struct Body<'a> {
    id: Number<'a>,
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
        Self {
            id: Number(account.id.as_str()),
            name: account.id.as_str(),
            plan: None,
            state: 1,
            locked: account.state == AccountState::Suspended,
            lock_reason: None,
            pending_cancel: false,
            run_slots: None,
            developer_seats: None,
            read_only_seats: None,
            identifier: account.id.as_str(),
            created_at: Moment(account.created_at),
            updated_at: Moment(account.created_at),
        }
    }
}

/// The accounts of a key. There is one page: no user belongs to so many that there could be two.
pub(super) fn listed(accounts: &[Account]) -> Response<Full<Bytes>> {
    let ids = accounts.iter().map(|account| Number(account.id.as_str())).collect();
    let filters = Filters { limit: MOST, offset: 0, ids: Some(ids) };
    json(StatusCode::OK, &List::of(accounts.iter().map(Body::of).collect(), filters, None, accounts.len()))
}

#[derive(Debug, Serialize)]
struct Who<'a> {
    user: Option<User<'a>>,
}

#[derive(Debug, Serialize)]
struct User<'a> {
    id: Number<'a>,
    email: Option<&'a str>,
    permissions: Vec<Place<'a>>,
}

#[derive(Debug, Serialize)]
struct Place<'a> {
    account_id: Number<'a>,
    /// keyward has none.
    groups: [u8; 0],
}

/// Whose token asks, and where they belong.
pub(super) fn who_am_i(holder: &Holder) -> Response<Full<Bytes>> {
    let place = |account| Place { account_id: account, groups: [] };
    let user = holder.user().map(|user| User {
        id: Number(user.as_str()),
        email: None,
        permissions: holder.accounts().map(|account| place(Number(account.as_str()))).collect(),
    });
    one(Who { user })
}

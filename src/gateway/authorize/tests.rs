//! Every key at every route: report mode against what its rules would say one by one.

use std::sync::Arc;

use super::*;
use crate::clock::Timestamp;
use crate::gateway::config::{AccountPlace, ReportConfig, RouteConfig};
use crate::key::{AccountState, Digest, KeyState, Kind, Permissions, Presented, Standing, judge};

const HERE: [u8; 4] = [192, 0, 2, 7];

/// How a route treats the account that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    Unread,
    Enforced,
    Reported,
}

/// A key of account 101, or of a user in 101 and in 102, which is suspended.
fn key(kind: Kind, held: &str, network: &str) -> Verified {
    let permissions: Permissions = held.split_terminator(' ').map(|name| name.parse().unwrap()).collect();
    let member = |id: &str, state| (id.parse().unwrap(), state, permissions.clone());
    let bound = matches!(kind, Kind::Service | Kind::Personal);
    let standing = Standing {
        id: "key_1".parse().unwrap(),
        serial: 1,
        kind,
        state: KeyState::Active,
        secret: Presented::Current,
        number: 1,
        not_before: None,
        expires_at: None,
        account: bound.then(|| ("101".parse().unwrap(), AccountState::Active)),
        user: None,
        memberships: match kind {
            Kind::Personal => vec![member("101", AccountState::Active)],
            Kind::User => vec![member("101", AccountState::Active), member("102", AccountState::Suspended)],
            Kind::Service | Kind::Operator => Vec::new(),
        },
        licensed: true,
        permissions: if kind == Kind::Service { permissions } else { Permissions::default() },
        allowed_ips: vec![network.parse().unwrap()],
    };
    judge(&Arc::new(standing), &Digest::from_bytes([0; 32]), Timestamp::from_millis(0)).unwrap()
}

fn keys() -> Vec<Verified> {
    let kinds = [Kind::Service, Kind::Personal, Kind::User, Kind::Operator];
    let networks = ["192.0.2.0/24", "198.51.100.0/24"];
    let held = ["", "a", "b", "*"].map(|held| networks.map(|network| kinds.map(|kind| key(kind, held, network))));
    held.into_iter().flatten().flatten().collect()
}

fn route(account: Account, enforced: Option<&str>, reported: Option<&str>) -> Route {
    let place = |wanted| (account == wanted).then(|| AccountPlace::Path("id".into()));
    let named = |name: Option<&str>| name.map(|name| name.parse().unwrap());
    let report = ReportConfig { permission: named(reported), account: place(Account::Reported) };
    let said = RouteConfig {
        path: Some("/{id}".into()),
        service: Some("api".into()),
        permission: named(enforced),
        account: place(Account::Enforced),
        report: (report != ReportConfig::default()).then_some(report),
        ..RouteConfig::default()
    };
    Route::new(0, &said, &["api"], &crate::gateway::test_config()).unwrap()
}

/// The grant of a route with these rules, all of them enforced.
fn judged(key: &Verified, account: Option<&str>, needed: &[Option<&str>]) -> Option<Grant> {
    let granted = grant(key, &Ask { client: HERE.into(), account, permission: None }).ok()?;
    let mut needed = needed.iter().flatten().map(|name| name.parse().unwrap());
    needed.all(|needed| granted.permissions.cover(&needed)).then_some(granted)
}

/// How one request fares: granted, reported or refused.
fn fares(
    key: &Verified,
    named: Option<&str>,
    account: Account,
    permissions: [Option<&str>; 2],
    route: &Route,
) -> usize {
    let context = format!("{key:?} {named:?} {route:?}");
    let all = judged(key, named, &permissions);
    // A permission is enforced in the account that is named, where the key belongs there.
    let elsewhere = || judged(key, None, &permissions[..1]).filter(|_| account == Account::Reported);
    let enforced = judged(key, named, &permissions[..1]).or_else(elsewhere);
    match permit(route, key.clone(), HERE.into(), Ok(named.map(Cow::Borrowed))) {
        Ok(permit) => {
            let holder = permit.holder().unwrap();
            assert!(enforced.is_some(), "{context}");
            assert_eq!(permit.rehearsed().is_none(), all.is_some(), "{context}");
            // Whom every rule lets pass is told of as if all were enforced, and a bound key always of its own account.
            assert!(all.is_none_or(|all| all == holder.grant), "{context}");
            let own = key.standing().account.as_ref().map(|(own, _)| own);
            assert!(own.is_none() || holder.grant.account.as_ref() == own, "{context}");
            usize::from(permit.rehearsed().is_some())
        }
        Err(stop) => {
            assert!(all.is_none(), "{context}");
            // Of what the enforced rules let pass, only a suspended account is refused.
            assert!(enforced.is_none() || matches!(stop, Stop::Refused(Refusal::AccountSuspended)), "{context}");
            2
        }
    }
}

#[test]
fn what_is_reported_refuses_nobody_and_lets_nobody_past_what_is_enforced() {
    let (keys, mut fared) = (keys(), [0; 3]);
    for account in [Account::Unread, Account::Enforced, Account::Reported] {
        for permissions in [[None, None], [None, Some("a")], [Some("a"), None], [Some("a"), Some("b")]] {
            let route = route(account, permissions[0], permissions[1]);
            let named =
                if account == Account::Unread { &[None][..] } else { &[None, Some("101"), Some("102"), Some("103")] };
            for (key, named) in keys.iter().flat_map(|key| named.iter().map(move |named| (key, *named))) {
                fared[fares(key, named, account, permissions, &route)] += 1;
            }
        }
    }
    assert!(fared.iter().all(|count| *count > 50), "{fared:?}");
}

#[test]
fn two_accounts_are_malformed_where_the_account_is_enforced() {
    let key = key(Kind::Service, "", "192.0.2.0/24");
    let ask = |account| {
        permit(&route(account, None, None), key.clone(), HERE.into(), Err(Malformed::TwoAccounts))
            .map(|p| p.rehearsed())
    };
    assert!(matches!(ask(Account::Enforced), Err(Stop::Malformed(Malformed::TwoAccounts))));
    assert_eq!(ask(Account::Reported).unwrap(), Some(Rehearsed::Malformed));
}

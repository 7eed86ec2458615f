//! May a living key ask what this request asks? Client network, then account, then permission.

use std::net::IpAddr;

use super::id::{AccountId, Permission, Permissions};
use super::judge::Verified;
use super::record::{AccountState, Kind, Standing};
use super::refusal::Refusal;

/// What a request wants, in the vocabulary of scopes.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The account the request names, as plain text; none where the route has no account.
    pub account: Option<&'a str>,
    /// The permission the route needs.
    pub permission: Option<&'a Permission>,
}

/// What a key was granted for one request: where it acts, and with which permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The account the request acts in; none for a user key on a route without one.
    pub account: Option<AccountId>,
    /// All the key may do there, for the origin to read.
    pub permissions: Permissions,
}

/// Holds a verified key to what the request asks.
///
/// # Errors
/// [`Refusal::IpNotAllowed`], [`Refusal::AccountMismatch`], [`Refusal::AccountSuspended`] or
/// [`Refusal::ScopeInsufficient`], the first that applies.
pub fn grant(verified: &Verified, ask: &Ask<'_>) -> Result<Grant, Refusal> {
    let key = verified.standing();
    if !key.allowed_ips.is_empty() && !key.allowed_ips.iter().any(|net| net.contains(&ask.client)) {
        return Err(Refusal::IpNotAllowed);
    }
    let grant = match key.kind {
        Kind::Operator => return Err(Refusal::ScopeInsufficient { needed: ask.permission.cloned() }),
        Kind::User => across_accounts(key, ask.account)?,
        Kind::Personal | Kind::Service => in_own_account(key, ask.account)?,
    };
    match ask.permission {
        Some(needed) if !grant.permissions.cover(needed) => {
            Err(Refusal::ScopeInsufficient { needed: Some(needed.clone()) })
        }
        _ => Ok(grant),
    }
}

/// A key bound to one account: the request may name that one, or none.
fn in_own_account(key: &Standing, asked: Option<&str>) -> Result<Grant, Refusal> {
    // A bound key without an account cannot be made; refusing it here keeps that true for rows edited by hand.
    let Some((own, _)) = &key.account else { return Err(Refusal::AccountMismatch) };
    if asked.is_some_and(|asked| asked != own.as_str()) {
        return Err(Refusal::AccountMismatch);
    }
    let permissions = match key.memberships.first() {
        Some((_, _, of_user)) if key.kind == Kind::Personal => bounded(of_user, &key.permissions),
        _ => key.permissions.clone(),
    };
    Ok(Grant { account: Some(own.clone()), permissions })
}

/// A legacy user key: any account its user belongs to. Where the request names none, it has no permissions either.
fn across_accounts(key: &Standing, asked: Option<&str>) -> Result<Grant, Refusal> {
    let Some(asked) = asked else { return Ok(Grant { account: None, permissions: Permissions::default() }) };
    let place = key.memberships.iter().find(|(account, _, _)| account.as_str() == asked);
    let Some((account, state, of_user)) = place else { return Err(Refusal::AccountMismatch) };
    if *state == AccountState::Suspended {
        return Err(Refusal::AccountSuspended);
    }
    Ok(Grant { account: Some(account.clone()), permissions: bounded(of_user, &key.permissions) })
}

/// The user's permissions, cut to the key's own where it names any.
#[must_use]
pub fn bounded(of_user: &Permissions, of_key: &Permissions) -> Permissions {
    if of_key.is_empty() { of_user.clone() } else { of_user.within(of_key) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::digest::Digest;
    use super::super::judge::{judge, tests::standing};
    use super::*;
    use crate::clock::Timestamp;

    fn permissions(names: &[&str]) -> Permissions {
        names.iter().map(|name| name.parse::<Permission>().unwrap()).collect()
    }

    fn ask(key: &Standing, account: Option<&str>, needed: Option<&str>) -> Result<Grant, Refusal> {
        let verified = judge(&Arc::new(key.clone()), &Digest::from_bytes([0; 32]), Timestamp::from_millis(0)).unwrap();
        let needed = needed.map(|name| name.parse().unwrap());
        grant(&verified, &Ask { client: [192, 0, 2, 7].into(), account, permission: needed.as_ref() })
    }

    fn member(account: &str, state: AccountState, names: &[&str]) -> (AccountId, AccountState, Permissions) {
        (account.parse().unwrap(), state, permissions(names))
    }

    #[test]
    fn a_bound_key_reaches_its_own_account_and_no_other_spelling_of_it() {
        let key = standing();
        assert!(ask(&key, Some("101"), None).is_ok());
        assert_eq!(ask(&key, None, None).unwrap().account.unwrap().as_str(), "101");
        for other in ["102", "0101", "+101", "101 ", "", "1O1"] {
            assert_eq!(ask(&key, Some(other), None), Err(Refusal::AccountMismatch), "{other}");
        }
    }

    #[test]
    fn ids_that_differ_in_case_are_two_accounts() {
        let mut key = standing();
        key.account = Some(("acme".parse().unwrap(), AccountState::Active));
        assert_eq!(ask(&key, Some("ACME"), None), Err(Refusal::AccountMismatch));
        key.kind = Kind::User;
        key.account = None;
        key.memberships = vec![member("acme", AccountState::Active, &[])];
        assert!(ask(&key, Some("acme"), None).is_ok());
        assert_eq!(ask(&key, Some("Acme"), None), Err(Refusal::AccountMismatch));
    }

    #[test]
    fn a_service_key_has_only_its_own_permissions() {
        let mut key = standing();
        assert!(matches!(ask(&key, None, Some("jobs:run")), Err(Refusal::ScopeInsufficient { .. })));
        key.permissions = permissions(&["jobs:*"]);
        assert!(ask(&key, None, Some("jobs:run")).is_ok());
    }

    #[test]
    fn a_personal_key_has_its_users_permissions_bounded_by_its_own() {
        let mut key = standing();
        key.kind = Kind::Personal;
        key.memberships = vec![member("101", AccountState::Active, &["jobs:*", "users:read"])];
        assert_eq!(ask(&key, None, None).unwrap().permissions, permissions(&["jobs:*", "users:read"]));
        key.permissions = permissions(&["jobs:run", "billing:read"]);
        assert_eq!(ask(&key, None, None).unwrap().permissions, permissions(&["jobs:run"]));
    }

    #[test]
    fn a_user_key_reaches_every_account_of_its_user() {
        let mut key = standing();
        key.kind = Kind::User;
        key.account = None;
        key.memberships =
            vec![member("101", AccountState::Active, &["jobs:run"]), member("102", AccountState::Suspended, &["*"])];
        assert!(ask(&key, Some("101"), Some("jobs:run")).is_ok());
        assert_eq!(ask(&key, Some("102"), None), Err(Refusal::AccountSuspended));
        assert_eq!(ask(&key, Some("103"), None), Err(Refusal::AccountMismatch));
        assert_eq!(ask(&key, None, None).unwrap().account, None);
        assert!(matches!(ask(&key, None, Some("jobs:run")), Err(Refusal::ScopeInsufficient { .. })));
    }

    #[test]
    fn an_operator_key_is_never_forwarded() {
        let mut key = standing();
        key.kind = Kind::Operator;
        key.account = None;
        assert!(matches!(ask(&key, None, None), Err(Refusal::ScopeInsufficient { needed: None })));
    }

    #[test]
    fn the_client_network_is_checked_before_the_account() {
        let mut key = standing();
        key.allowed_ips = vec!["198.51.100.0/24".parse().unwrap()];
        assert_eq!(ask(&key, Some("102"), None), Err(Refusal::IpNotAllowed));
        key.allowed_ips.push("192.0.2.7/32".parse().unwrap());
        assert_eq!(ask(&key, Some("102"), None), Err(Refusal::AccountMismatch));
    }
}

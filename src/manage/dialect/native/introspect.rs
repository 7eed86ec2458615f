//! Token introspection (RFC 7662), for services that ask whose key they were shown.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::key::{AccountId, KeyId, Kind, Permissions, UserId, Verified, bounded};
use crate::manage::body::Document;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// The secret that a form names (RFC 7662, 2.1). What else it says is not read.
///
/// # Errors
/// It names none, or more than one.
pub(super) fn token(form: &Document) -> Result<Secret, Problem> {
    let mut named = form_urlencoded::parse(form.bytes()).filter(|(name, _)| name == "token");
    match (named.next(), named.next()) {
        (Some((_, token)), None) if !token.is_empty() => Ok(Secret::from(token.into_owned())),
        _ => Err(Problem::detailed(Code::ValidationFailed, "The form names one `token`.")),
    }
}

/// What is told of a secret (RFC 7662, 2.2): of one that is no living key's, only that it is not active.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// Seconds since 1970, as in JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a AccountId>,
}

impl<'a> Told<'a> {
    /// Of a living key; an operator's is no client's.
    pub(super) fn of(verified: Option<&'a Verified>) -> Self {
        let Some(verified) = verified.filter(|verified| verified.standing().kind != Kind::Operator) else {
            return Self::default();
        };
        let key = verified.standing();
        let account = key.account.as_ref().map(|(account, _)| account);
        // A legacy key may something in each of its accounts, and nothing that can be said of all.
        let permissions = match (key.kind, key.memberships.first()) {
            (Kind::Personal, Some((_, _, of_user))) => bounded(of_user, &key.permissions),
            (Kind::Service, _) => key.permissions.clone(),
            _ => Permissions::default(),
        };
        let scope: Vec<_> = permissions.iter().map(|permission| permission.as_str()).collect();
        // The secret in its grace ends before its key does.
        let end = verified.superseded_until().into_iter().chain(key.expires_at).min();
        let seconds = |moment: Timestamp| moment.as_millis().div_euclid(1000);
        Self {
            active: true,
            scope: Some(scope.join(" ")).filter(|scope| !scope.is_empty()),
            client_id: Some(&key.id),
            username: key.user.as_ref(),
            token_type: Some("Bearer"),
            exp: end.map(seconds),
            nbf: key.not_before.map(seconds),
            sub: key.user.as_ref().map(UserId::as_str).or_else(|| account.map(AccountId::as_str)),
            kind: Some(key.kind),
            account_id: account,
        }
    }
}

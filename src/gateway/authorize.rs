//! Minting the [`Permit`], without which nothing is forwarded. There are three ways to one, and all are here.
//!
//! ```text
//!  open route ------------------------------------------> Open
//!  Verified --every rule lets it pass-------------------> Granted
//!          '--only a rule in report mode would not------> Reported     forwarded all the same, and told
//!          '--an enforced rule does not-----------------> a refusal
//! ```

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use super::canon::Malformed;
use super::refuse::Stop;
use super::route::Route;
use crate::key::{AccountId, Ask, Grant, Refusal, Verified, grant};
use crate::telemetry::label::Rehearsed;

/// Proof that this request may go on, and in whose name.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    route: &'a Route,
    grounds: Grounds,
}

/// Why it may.
#[derive(Debug)]
enum Grounds {
    /// Its route asks for no key.
    Open,
    /// Every rule lets it pass.
    Granted(Holder),
    /// Every rule that is enforced does.
    Reported(Holder, Rehearsed),
}

/// The key that asked, and what it was granted: never more than is its own, whatever is only reported.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) verified: Verified,
    pub(super) grant: Grant,
}

impl<'a> Permit<'a> {
    /// A route that asks for no key, because its rule says `open = true`.
    pub(super) fn open(route: &'a Route) -> Option<Self> {
        route.open.then_some(Self { route, grounds: Grounds::Open })
    }

    /// The rule the request falls under.
    pub(super) fn route(&self) -> &'a Route {
        self.route
    }

    /// In whose name; nobody's on an open route.
    pub(super) fn holder(&self) -> Option<&Holder> {
        match &self.grounds {
            Grounds::Open => None,
            Grounds::Granted(holder) | Grounds::Reported(holder, _) => Some(holder),
        }
    }

    /// The account the request acts in.
    pub(super) fn account(&self) -> Option<&AccountId> {
        self.holder()?.grant.account.as_ref()
    }

    /// What it would have been refused for, had every rule been enforced.
    pub(super) fn rehearsed(&self) -> Option<Rehearsed> {
        match &self.grounds {
            Grounds::Open | Grounds::Granted(_) => None,
            Grounds::Reported(_, why) => Some(*why),
        }
    }
}

/// Holds a verified key to what the request asks under its rule; `account` is what the request names.
///
/// # Errors
/// The first refusal that applies and is enforced; see [`grant`].
pub(super) fn permit<'a>(
    route: &'a Route,
    verified: Verified,
    client: IpAddr,
    account: Result<Option<Cow<'_, str>>, Malformed>,
) -> Result<Permit<'a>, Stop> {
    let (account, why) = match account {
        Err(Malformed::TwoAccounts) if route.reported.account => (None, Some(Rehearsed::Malformed)),
        named => (named?, None),
    };
    held(route, verified, client, account.as_deref(), why)
}

/// The same where the request names accounts that have to agree and do not: at least one of them is not the key's.
///
/// # Errors
/// As [`permit`].
pub(super) fn disagreeing(route: &Route, verified: Verified, client: IpAddr) -> Result<Permit<'_>, Stop> {
    if !route.reported.account {
        // Where the key may not be used at all comes first.
        grant(&verified, &Ask { client, account: None, permission: None })?;
        return Err(Refusal::AccountMismatch.into());
    }
    held(route, verified, client, None, Some(Rehearsed::AccountMismatch))
}

/// Holds a key to its route; `why` is what the request would have been refused for already.
fn held<'a>(
    route: &'a Route,
    verified: Verified,
    client: IpAddr,
    account: Option<&str>,
    why: Option<Rehearsed>,
) -> Result<Permit<'a>, Stop> {
    let reported = &route.reported;
    let ask = Ask { client, account, permission: route.permission.as_ref() };
    let (grant, elsewhere) = match grant(&verified, &ask) {
        // As if it named none: where the key does not belong it is granted nothing, and the origin is told of its own account.
        Err(Refusal::AccountMismatch) if reported.account => {
            (grant(&verified, &Ask { account: None, ..ask })?, Some(Rehearsed::AccountMismatch))
        }
        judged => (judged?, None),
    };
    let lacks = reported.permission.as_ref().is_some_and(|needed| !grant.permissions.cover(needed));
    let why = why.or(elsewhere).or_else(|| lacks.then_some(Rehearsed::ScopeInsufficient));
    let holder = Holder { verified, grant };
    let grounds = match why {
        None => Grounds::Granted(holder),
        Some(why) => Grounds::Reported(holder, why),
    };
    Ok(Permit { route, grounds })
}

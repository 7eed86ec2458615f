//! Minting the [`Permit`], without which nothing is forwarded. There are two ways to one, and both are here.

use super::route::Route;
use crate::key::{Ask, Grant, Refusal, Verified, grant};

/// Proof that this request may go on, and in whose name.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    route: &'a Route,
    holder: Option<Holder>,
}

/// The key that asked, and what it was granted.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) verified: Verified,
    pub(super) grant: Grant,
}

impl<'a> Permit<'a> {
    /// A route that asks for no key, because its rule says `open = true`.
    pub(super) fn open(route: &'a Route) -> Option<Self> {
        route.open.then_some(Self { route, holder: None })
    }

    /// The rule the request falls under.
    pub(super) fn route(&self) -> &'a Route {
        self.route
    }

    /// In whose name; nobody's on an open route.
    pub(super) fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }
}

/// Holds a verified key to what the request asks under its rule.
///
/// # Errors
/// The first refusal that applies; see [`grant`].
pub(super) fn permit<'a>(route: &'a Route, verified: Verified, ask: &Ask<'_>) -> Result<Permit<'a>, Refusal> {
    let grant = grant(&verified, ask)?;
    Ok(Permit { route, holder: Some(Holder { verified, grant }) })
}

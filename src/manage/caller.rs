//! Who asks: the holder of an operator key, verified by the keyring as any key is, or of any other key, verified by the
//! gateway before it comes here.
//!
//! [`Operator`] is the proof of the one, and is made here only; [`Holder`] that of the other. Nothing of what was asked is
//! looked at or told before.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue};

use super::holder::Holder;
use super::problem::{Code, Problem};
use crate::key::scheme::{self, Scheme};
use crate::key::{KeyId, Kind, Refusal, Verified};
use crate::keyring::receipt::{AT_LEAST, position};
use crate::keyring::{self, Denied, Keyring};
use crate::secret::Secret;

/// Who asks, and may.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// May do everything.
    Operator(Operator),
    /// May do what is said in [`holder`](super::holder).
    Holder(Holder),
}

impl Caller {
    /// The key they asked with.
    pub(super) fn key(&self) -> &KeyId {
        match self {
            Self::Operator(operator) => &operator.key,
            Self::Holder(holder) => holder.key(),
        }
    }
}

/// Proof that an operator asks.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    key: KeyId,
    /// What they presented: a retry is theirs only under the same.
    secret: Secret,
}

impl Operator {
    /// The key they asked with.
    pub(super) const fn key(&self) -> &KeyId {
        &self.key
    }

    /// The secret they presented.
    pub(super) const fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// Takes the credential out of `headers` and finds out whose it is.
///
/// # Errors
/// The first of the catalogue's reasons, or that we could not tell.
pub(super) async fn identify(
    keyring: &Keyring,
    headers: &mut HeaderMap,
    client: IpAddr,
    request_id: &str,
) -> Result<Operator, Problem> {
    let at_least = at_least(headers)?;
    let secret = take(headers).map_err(|refusal| Problem::new(Code::of(&refusal)))?;
    let verified = match keyring.verify_at_least(&secret, at_least).await {
        Ok(verified) => verified,
        Err(denied) if denied.is_reuse() => {
            reused(keyring, &secret, client, request_id).await;
            return Err(Problem::new(Code::KeyInvalid));
        }
        Err(Denied::Refused(refusal)) => return Err(Problem::new(Code::of(&refusal))),
        Err(Denied::Failed(failure)) => {
            tracing::warn!(reason = failure.reason(), "an operator's key could not be checked");
            return Err(Problem::new(Code::AuthUnavailable));
        }
    };
    permit(&verified, client).map_err(Problem::new)?;
    let agent = headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let caller = keyring::Caller { address: client, agent, route: ROUTE, account: None };
    keyring.used(&verified, &secret, &caller);
    Ok(Operator { key: verified.key().clone(), secret })
}

/// Tells the keyring of a dead secret that was presented to manage keys.
pub(super) async fn reused(keyring: &Keyring, secret: &Secret, client: IpAddr, request_id: &str) {
    if let Err(problem) = keyring.reused_to_manage(secret, client, request_id).await {
        tracing::warn!(error = %problem, "the key of a dead secret could not be revoked");
    }
}

/// What is told as the route of whoever asks here.
const ROUTE: &str = "admin";

/// Client network, then kind; and whoever holds only a superseded secret shall not be able to take the key over.
fn permit(verified: &Verified, client: IpAddr) -> Result<(), Code> {
    let key = verified.standing();
    if !key.allowed_ips.is_empty() && !key.allowed_ips.iter().any(|net| net.contains(&client)) {
        return Err(Code::IpNotAllowed);
    }
    if key.kind != Kind::Operator {
        return Err(Code::ScopeInsufficient);
    }
    if verified.superseded_until().is_some() {
        return Err(Code::KeySuperseded);
    }
    Ok(())
}

/// The position of the log that the caller has been told of; the first where they say nothing.
fn at_least(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut lines = headers.get_all(AT_LEAST).iter();
    let Some(line) = lines.next() else { return Ok(0) };
    let read = position(line.as_bytes()).filter(|_| lines.next().is_none());
    read.ok_or_else(|| Problem::unread_header("Keyward-At-Least", "give one revision, which is a number"))
}

/// The one secret in `Authorization`.
fn take(headers: &mut HeaderMap) -> Result<Secret, Refusal> {
    if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Refusal::CredentialAmbiguous);
    }
    let line = headers.remove(AUTHORIZATION).ok_or(Refusal::KeyRequired)?;
    let (_, rest) = Scheme::of(line.as_bytes()).ok_or(Refusal::KeyRequired)?;
    scheme::secret(rest).map(Secret::new)
}

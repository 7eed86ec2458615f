//! Refusals in the words of this API: of what was asked here, and of whatever the gateway refuses below the same paths.
//!
//! Here a 404 stands for whatever is not there for who asks, be it that they lack the permission, and a 401 for whatever is
//! wrong with the token.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::envelope::{One, Status};
use super::json;
use super::number::Number;
use crate::key::{Kind, Standing};
use crate::manage::problem::{Part, Problem};
use crate::manage::self_service::Refused;

/// What was asked here and is refused; `whose` token asked, where that is known.
pub(in crate::manage) fn refusal(
    problem: Problem,
    whose: Option<&Standing>,
    method: &Method,
    realm: &str,
) -> Response<Full<Bytes>> {
    let code = problem.code;
    let faults = problem.faults.iter().map(|fault| {
        let (Part::Pointer(place) | Part::Parameter(place) | Part::Header(place)) = &fault.part;
        let place = place.trim_start_matches('/').replace('/', ".");
        if place.is_empty() { fault.detail.clone() } else { format!("{place}: {}", fault.detail) }
    });
    let faults = faults.collect::<Vec<_>>().join("; ");
    let said = match &problem.allow {
        Some(_) => format!("Method \"{method}\" not allowed."),
        None if faults.is_empty() => problem.detail.unwrap_or_else(|| code.title().to_owned()),
        None => faults,
    };
    let mut response = worded(code.status(), code.as_str(), said.into(), whose, realm);
    if let Some(allow) = problem.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// What the gateway refuses.
pub(in crate::manage) fn word(refused: &Refused<'_>, realm: &str) -> Response<Full<Bytes>> {
    let said = refused.status.canonical_reason().unwrap_or_default();
    let mut response = worded(refused.status, refused.code, said.into(), refused.whose, realm);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A code of the catalogue; `said` is for those that have no words of their own.
fn worded(
    status: StatusCode,
    code: &str,
    said: Cow<'_, str>,
    whose: Option<&Standing>,
    realm: &str,
) -> Response<Full<Bytes>> {
    use StatusCode as S;
    let (status, message, developer) = match code {
        "API_KEY_REQUIRED" => (S::UNAUTHORIZED, "Authentication credentials were not provided.".into(), None),
        "API_KEY_INVALID" | "API_KEY_NOT_YET_VALID" | "API_KEY_EXPIRED" | "API_KEY_SUPERSEDED" => {
            (S::UNAUTHORIZED, "Invalid token.".into(), None)
        }
        "ACCOUNT_NOT_FOUND" | "ACCOUNT_MISMATCH" | "USER_NOT_FOUND" | "MEMBER_NOT_FOUND" | "API_KEY_NOT_FOUND"
        | "SCOPE_INSUFFICIENT" | "SCOPE_ESCALATION" => (S::NOT_FOUND, NOT_YOURS.into(), Some("")),
        // To rotate or to delete what is deleted.
        "ROUTE_NOT_FOUND" | "API_KEY_STATE_CONFLICT" => (S::NOT_FOUND, NOT_THERE.into(), Some("")),
        "IP_NOT_ALLOWED" => (S::FORBIDDEN, "Forbidden: Access denied".into(), None),
        "API_KEY_DISABLED" => (S::FORBIDDEN, "The token is switched off.".into(), None),
        "ACCOUNT_SUSPENDED" => (S::FORBIDDEN, "The account is suspended.".into(), None),
        "CREDENTIAL_AMBIGUOUS" => (S::BAD_REQUEST, "The request carries more than one token.".into(), None),
        "AUTH_UNAVAILABLE" => (S::SERVICE_UNAVAILABLE, "The token cannot be checked at the moment.".into(), None),
        "API_KEY_LIMIT_REACHED" | "LICENCE_REQUIRED" | "EXPIRY_TOO_LONG" | "VALIDATION_FAILED" => {
            (S::BAD_REQUEST, said, None)
        }
        _ => (status, said, None),
    };
    let denied = whose.filter(|_| code == "IP_NOT_ALLOWED").map(Denied::of);
    let status_line = Status::refused(status, message, developer);
    let mut response = json(status, &One { status: status_line, data: denied });
    let headers = response.headers_mut();
    if status == S::UNAUTHORIZED {
        let error = if code == "API_KEY_REQUIRED" { "" } else { ", error=\"invalid_token\"" };
        // One field line a scheme, since several challenges in one are read wrongly by many.
        for line in [format!("Bearer realm=\"{realm}\"{error}"), format!("Token realm=\"{realm}\"")] {
            // The settings let only visible characters into a realm.
            headers.extend(HeaderValue::try_from(line).ok().map(|line| (WWW_AUTHENTICATE, line)));
        }
    }
    if status == S::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

const NOT_YOURS: &str = "The requested resource was not found. Please check that you have the proper permissions.";
const NOT_THERE: &str = "The requested resource was not found.";

/// Whose token came from where it may not come from.
#[derive(Debug, Serialize)]
struct Denied {
    account_id: Option<Number>,
    user_id: Option<Number>,
    is_service_token: bool,
    account_access_denied: bool,
}

impl Denied {
    fn of(key: &Standing) -> Self {
        Self {
            account_id: key.account.as_ref().map(|(account, _)| Number::of(account.as_str())),
            user_id: key.user.as_ref().map(|user| Number::of(user.as_str())),
            is_service_token: key.kind == Kind::Service,
            account_access_denied: true,
        }
    }
}

/// What was answered at a path that is gone.
pub(super) fn gone() -> Response<Full<Bytes>> {
    let said = "This endpoint is gone: a token belongs to one account.";
    json(StatusCode::GONE, &One { status: Status::refused(StatusCode::GONE, said, None), data: None::<()> })
}

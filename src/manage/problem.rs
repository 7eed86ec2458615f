//! Refusals of the management face, as problem details (RFC 9457).
//!
//! [`Code`] is the catalogue: what a cause looks like from outside, in one table that the OpenAPI document is held to.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::health::Report;
use super::{JSON, answer};
use crate::key::Refusal;
use crate::keyring::command::{self, Clash};

/// The catalogue, a line a cause: its code, its status, and a sentence that is the same for all of its kind.
macro_rules! codes {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($name,)+ }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    Unparsable = "VALIDATION_FAILED", BAD_REQUEST, "The body is no JSON object.";
    Unread = "VALIDATION_FAILED", BAD_REQUEST, "A part of the request cannot be read.";
    CredentialAmbiguous = "CREDENTIAL_AMBIGUOUS", BAD_REQUEST, "The request carries more than one credential.";
    KeyRequired = "API_KEY_REQUIRED", UNAUTHORIZED, "An API key is required.";
    KeyInvalid = "API_KEY_INVALID", UNAUTHORIZED, "The API key is not valid.";
    KeyNotYetValid = "API_KEY_NOT_YET_VALID", UNAUTHORIZED, "The API key is not valid yet.";
    KeyExpired = "API_KEY_EXPIRED", UNAUTHORIZED, "The API key has expired.";
    KeyDisabled = "API_KEY_DISABLED", FORBIDDEN, "The API key is switched off.";
    AccountSuspended = "ACCOUNT_SUSPENDED", FORBIDDEN, "The account is suspended.";
    IpNotAllowed = "IP_NOT_ALLOWED", FORBIDDEN, "The API key may not be used from this address.";
    ScopeInsufficient = "SCOPE_INSUFFICIENT", FORBIDDEN, "The API key lacks the permission this needs.";
    SignatureInvalid = "SIGNATURE_INVALID", FORBIDDEN, "The request is not signed by a key that is known.";
    ScopeEscalation = "SCOPE_ESCALATION", FORBIDDEN, "The key asked for could do more than the one that asks.";
    KeySuperseded = "API_KEY_SUPERSEDED", FORBIDDEN, "The secret was rotated away; use the new one.";
    RouteNotFound = "ROUTE_NOT_FOUND", NOT_FOUND, "Nothing is served at this path.";
    KeyNotFound = "API_KEY_NOT_FOUND", NOT_FOUND, "There is no such key.";
    AccountNotFound = "ACCOUNT_NOT_FOUND", NOT_FOUND, "There is no such account.";
    UserNotFound = "USER_NOT_FOUND", NOT_FOUND, "There is no such user.";
    RevisionNotFound = "REVISION_NOT_FOUND", NOT_FOUND, "The log has not reached this revision.";
    MemberNotFound = "MEMBER_NOT_FOUND", NOT_FOUND, "The user is no member of the account.";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED, "The path takes other methods.";
    RequestTimeout = "REQUEST_TIMEOUT", REQUEST_TIMEOUT, "The request body did not come in time.";
    AlreadyExists = "ALREADY_EXISTS", CONFLICT, "Something is called so already.";
    LimitReached = "API_KEY_LIMIT_REACHED", CONFLICT, "The holder has as many keys as they may.";
    LicenceRequired = "LICENCE_REQUIRED", CONFLICT, "The user has no licence under which keys are held.";
    StateConflict = "API_KEY_STATE_CONFLICT", CONFLICT, "The key's state does not allow this.";
    RotationInProgress = "ROTATION_IN_PROGRESS", CONFLICT, "A rotation of the key runs.";
    RotationConflict = "ROTATION_CONFLICT", CONFLICT, "The key was rotated meanwhile.";
    IdempotencyKeyInProgress = "IDEMPOTENCY_KEY_IN_PROGRESS", CONFLICT, "The same request is still being carried out.";
    PreconditionFailed = "PRECONDITION_FAILED", PRECONDITION_FAILED, "The key is no longer as it was seen.";
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", PAYLOAD_TOO_LARGE, "The request body is too large.";
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE, "The request body must be JSON.";
    ValidationFailed = "VALIDATION_FAILED", UNPROCESSABLE_ENTITY, "The request does not make sense.";
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", UNPROCESSABLE_ENTITY, "The Idempotency-Key came with another request.";
    GraceTooLong = "GRACE_TOO_LONG", UNPROCESSABLE_ENTITY, "The second secret would be good for too long.";
    ExpiryTooLong = "EXPIRY_TOO_LONG", UNPROCESSABLE_ENTITY, "The key would be accepted for too long.";
    RateLimited = "RATE_LIMITED", TOO_MANY_REQUESTS, "More is asked than is taken at once.";
    AuthUnavailable = "AUTH_UNAVAILABLE", SERVICE_UNAVAILABLE, "The key cannot be checked at the moment.";
    StoreUnavailable = "STORE_UNAVAILABLE", SERVICE_UNAVAILABLE, "The store did not carry this out.";
    NotReady = "NOT_READY", SERVICE_UNAVAILABLE, "keyward should not be sent requests.";
}

impl Code {
    /// What a refused key is told of: one answer for whatever makes it invalid.
    pub(super) const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::CredentialAmbiguous => Self::CredentialAmbiguous,
            Refusal::KeyRequired => Self::KeyRequired,
            Refusal::KeyInvalid(_) => Self::KeyInvalid,
            Refusal::KeyNotYetValid => Self::KeyNotYetValid,
            Refusal::KeyExpired => Self::KeyExpired,
            Refusal::KeyDisabled => Self::KeyDisabled,
            Refusal::AccountSuspended => Self::AccountSuspended,
            Refusal::IpNotAllowed => Self::IpNotAllowed,
            Refusal::AccountMismatch => Self::AccountNotFound,
            Refusal::ScopeInsufficient { .. } => Self::ScopeInsufficient,
            Refusal::RouteNotFound => Self::RouteNotFound,
        }
    }

    /// What stands behind the realm in the challenge (RFC 6750, 3); none where no credential is asked for.
    const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::KeyRequired => Some(""),
            Self::KeyInvalid | Self::KeyNotYetValid | Self::KeyExpired => Some(", error=\"invalid_token\""),
            Self::CredentialAmbiguous => Some(", error=\"invalid_request\""),
            Self::ScopeInsufficient | Self::ScopeEscalation | Self::KeySuperseded => {
                Some(", error=\"insufficient_scope\"")
            }
            _ => None,
        }
    }
}

/// One refusal.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: Option<String>,
    pub(super) faults: Vec<Fault>,
    most_seconds: Option<u64>,
    limit: Option<u32>,
    pub(super) allow: Option<String>,
    /// After how many seconds it may be asked again, where that is worth while.
    wait: u64,
}

/// What is wrong with one part of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    #[serde(flatten)]
    pub(super) part: Part,
    pub(super) detail: String,
}

/// Which part that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// A member of the body, as a JSON pointer (RFC 6901).
    Pointer(String),
    /// A parameter of the query.
    Parameter(String),
    /// A header.
    Header(String),
}

impl Problem {
    pub(super) const fn new(code: Code) -> Self {
        Self { code, detail: None, faults: Vec::new(), most_seconds: None, limit: None, allow: None, wait: 1 }
    }

    pub(super) fn detailed(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(code) }
    }

    /// The caller asks for too much, and may ask again after so long.
    pub(super) fn limited(wait: Duration) -> Self {
        Self { wait: wait.as_secs(), ..Self::new(Code::RateLimited) }
    }

    pub(super) fn method_not_allowed(methods: String) -> Self {
        Self { allow: Some(methods), ..Self::new(Code::MethodNotAllowed) }
    }

    pub(super) fn not_ready(report: &Report) -> Self {
        Self::detailed(Code::NotReady, report.failures().join("; "))
    }

    /// The request does not make sense, and where.
    pub(super) fn faults(faults: Vec<Fault>) -> Self {
        Self { faults, ..Self::new(Code::ValidationFailed) }
    }

    /// A parameter of the query cannot be read, whoever asks.
    pub(super) fn unread_parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::unread(Part::Parameter(name.to_owned()), detail.into())
    }

    /// A header cannot be read.
    pub(super) fn unread_header(name: &str, detail: impl Into<String>) -> Self {
        Self::unread(Part::Header(name.to_owned()), detail.into())
    }

    fn unread(part: Part, detail: String) -> Self {
        Self { faults: vec![Fault { part, detail }], ..Self::new(Code::Unread) }
    }

    /// One member of the body makes no sense.
    pub(super) fn member(pointer: &str, detail: impl Into<String>) -> Self {
        Self::faults(vec![Fault { part: Part::Pointer(pointer.to_owned()), detail: detail.into() }])
    }

    /// What is wrong, in one line.
    pub(super) fn sentence(&self) -> String {
        let said = |fault: &Fault| match &fault.part {
            Part::Pointer(place) => format!("{}: {}", place.trim_start_matches('/'), fault.detail),
            Part::Parameter(name) | Part::Header(name) => format!("{name}: {}", fault.detail),
        };
        match &self.detail {
            Some(detail) => detail.clone(),
            None if self.faults.is_empty() => self.code.title().to_owned(),
            None => self.faults.iter().map(said).collect::<Vec<_>>().join("; "),
        }
    }

    /// The same request, refused for another reason.
    pub(super) fn taken_for(self, code: Code) -> Self {
        if code == self.code { self } else { Self::new(code) }
    }

    pub(super) fn into_response(self, realm: &str, request_id: &str) -> Response<Full<Bytes>> {
        let status = self.code.status();
        let wire = Wire {
            kind: format_args!("urn:keyward:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: self.detail.as_deref(),
            instance: format_args!("urn:keyward:request:{request_id}"),
            code: self.code.as_str(),
            request_id,
            errors: &self.faults,
            max_seconds: self.most_seconds,
            limit: self.limit,
        };
        // Nothing in it can fail to be written.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        self.with_headers(answer(status, "application/problem+json", body), realm)
    }

    /// The same with a body in another form, which may have its own status for it.
    pub(super) fn into_answer(self, status: StatusCode, body: Vec<u8>, realm: &str) -> Response<Full<Bytes>> {
        self.with_headers(answer(status, JSON, body), realm)
    }

    fn with_headers(self, mut response: Response<Full<Bytes>>, realm: &str) -> Response<Full<Bytes>> {
        let status = response.status();
        let headers = response.headers_mut();
        if let Some(allow) = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(ALLOW, allow);
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.wait));
        }
        if let Some(parameters) = self.code.challenge() {
            // One field line a scheme, since several challenges in one are read wrongly by many.
            for line in [format!("Bearer realm=\"{realm}\"{parameters}"), format!("Token realm=\"{realm}\"")] {
                // The settings let only visible characters into a realm.
                headers.extend(HeaderValue::try_from(line).ok().map(|line| (WWW_AUTHENTICATE, line)));
            }
        }
        response
    }
}

impl From<command::Problem> for Problem {
    fn from(problem: command::Problem) -> Self {
        use command::Problem as P;
        let code = match &problem {
            P::NotFound { what, .. } => match what.as_str() {
                "account" => Code::AccountNotFound,
                "user" => Code::UserNotFound,
                "member" => Code::MemberNotFound,
                "revision" => Code::RevisionNotFound,
                _ => Code::KeyNotFound,
            },
            P::Exists { .. } => Code::AlreadyExists,
            P::Conflict(Clash::State | Clash::Owner, _) => Code::StateConflict,
            P::Conflict(Clash::Licence, _) => Code::LicenceRequired,
            P::Conflict(Clash::Rotation, _) => Code::RotationInProgress,
            P::Conflict(Clash::Overtaken, _) => Code::RotationConflict,
            P::Conflict(Clash::Seen, _) => Code::PreconditionFailed,
            P::Conflict(Clash::Reused, _) => Code::IdempotencyKeyReused,
            P::Conflict(Clash::Running, _) => Code::IdempotencyKeyInProgress,
            P::Invalid(_) => Code::ValidationFailed,
            P::TooLong(_, seconds) => {
                let most_seconds = Some(*seconds);
                return Self { most_seconds, ..Self::detailed(Code::GraceTooLong, problem.to_string()) };
            }
            P::ExpiryTooLong(_, seconds) => {
                let most_seconds = Some(*seconds);
                return Self { most_seconds, ..Self::detailed(Code::ExpiryTooLong, problem.to_string()) };
            }
            P::LimitReached(_, most) => {
                return Self { limit: Some(*most), ..Self::detailed(Code::LimitReached, problem.to_string()) };
            }
            P::Unavailable(why) => {
                // The store's words name files: they are for the log.
                tracing::warn!(error = %why, "an operator's request was not carried out");
                return Self::detailed(Code::StoreUnavailable, UNSURE);
            }
        };
        Self::detailed(code, problem.to_string())
    }
}

const UNSURE: &str = "It may have been carried out all the same; look before you try again.";

/// As it is written.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: std::fmt::Arguments<'a>,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    instance: std::fmt::Arguments<'a>,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

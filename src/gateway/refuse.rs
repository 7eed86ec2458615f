//! The answers that are ours: problem+json (RFC 9457) for refusals, failures and broken requests.
//!
//! One exhaustive table says what each cause looks like from outside. What the log is told is another matter: its reason
//! never reaches the client, and the client's sentence never carries a secret, a path or the store's words.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;

use super::body::Outgoing;
use super::canon::Malformed;
use super::config::Mismatch;
use super::origin::OriginError;
use super::plan::Plan;
use crate::key::{Invalid, Refusal};
use crate::keyring::{Denied, Failure};

/// Why a request goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It cannot be taken for one certain thing.
    Malformed(Malformed),
    /// It names a host that this TLS connection was not made for (RFC 9110, 15.5.20).
    Misdirected,
    /// The caller's matter.
    Refused(Refusal),
    /// Our matter.
    Failed(Failure),
    /// Its body is larger than the route allows.
    TooLarge,
    /// Its body stopped coming.
    Stalled,
    /// The origin's matter.
    Origin(OriginError),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Refused(refusal) => Self::Refused(refusal),
            Denied::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Stop {
    /// The word the log and the metrics use; a closed set.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Misdirected => "misdirected",
            Self::Refused(refusal) => refusal.reason(),
            Self::Failed(failure) => failure.reason(),
            Self::TooLarge => "body_too_large",
            Self::Stalled => "body_stalled",
            Self::Origin(error) => error.reason(),
        }
    }
}

/// Every word the access log gives as a reason, for the metrics to know beforehand.
pub const REASONS: &[&str] = &[
    "permitted",
    "open",
    "client_left",
    "origin_broke_off",
    "malformed",
    "misdirected",
    "body_too_large",
    "body_stalled",
    "credential_ambiguous",
    "key_required",
    "key_malformed",
    "key_unknown",
    "key_rotated",
    "key_revoked",
    "not_a_member",
    "key_not_yet_valid",
    "key_expired",
    "key_disabled",
    "account_suspended",
    "ip_not_allowed",
    "account_mismatch",
    "scope_insufficient",
    "route_not_found",
    "store_unavailable",
    "store_timeout",
    "store_overloaded",
    "origin_unreachable",
    "origin_connect_timed_out",
    "origin_answer_timed_out",
    "origin_busy",
    "origin_broken",
    "origin_not_answered",
    "origin_unasked",
    "origin_ambiguous",
];

/// What a cause looks like from outside.
struct Face {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    challenge: Challenge,
}

enum Challenge {
    None,
    /// A credential is wanted; no error is told (RFC 6750, 3.1).
    Plain,
    Error(&'static str),
}

const fn face(status: StatusCode, code: &'static str, title: &'static str) -> Face {
    Face { status, code, title, challenge: Challenge::None }
}

const fn challenged(status: StatusCode, code: &'static str, title: &'static str, error: &'static str) -> Face {
    Face { status, code, title, challenge: Challenge::Error(error) }
}

fn face_of(stop: &Stop, mismatch: Mismatch) -> Face {
    use StatusCode as S;
    match stop {
        Stop::Malformed(_) => {
            face(S::BAD_REQUEST, "REQUEST_MALFORMED", "The request can be read in more than one way.")
        }
        Stop::Misdirected => face(
            S::MISDIRECTED_REQUEST,
            "MISDIRECTED_REQUEST",
            "This connection was not made for the host the request names.",
        ),
        Stop::TooLarge => face(S::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The request body is too large."),
        Stop::Stalled => face(S::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The request body stopped coming."),
        Stop::Failed(_) => face(S::SERVICE_UNAVAILABLE, "AUTH_UNAVAILABLE", "The key cannot be checked at the moment."),
        Stop::Origin(error) => match error {
            OriginError::Unreachable(_) => {
                face(S::BAD_GATEWAY, "UPSTREAM_UNREACHABLE", "The service behind cannot be reached.")
            }
            OriginError::Broken(_) | OriginError::NotAnswered | OriginError::Unasked | OriginError::Ambiguous => {
                face(S::BAD_GATEWAY, "UPSTREAM_BROKEN", "The service behind gave no valid answer.")
            }
            OriginError::ConnectTimedOut | OriginError::AnswerTimedOut => {
                face(S::GATEWAY_TIMEOUT, "UPSTREAM_TIMEOUT", "The service behind did not answer in time.")
            }
            OriginError::Busy => {
                face(S::SERVICE_UNAVAILABLE, "UPSTREAM_BUSY", "Too many requests wait for the service behind.")
            }
        },
        Stop::Refused(refusal) => match refusal {
            Refusal::CredentialAmbiguous => challenged(
                S::BAD_REQUEST,
                "CREDENTIAL_AMBIGUOUS",
                "The request carries more than one credential.",
                "invalid_request",
            ),
            Refusal::KeyRequired => Face {
                challenge: Challenge::Plain,
                ..face(S::UNAUTHORIZED, "API_KEY_REQUIRED", "An API key is required.")
            },
            Refusal::KeyInvalid(_) => {
                challenged(S::UNAUTHORIZED, "API_KEY_INVALID", "The API key is not valid.", "invalid_token")
            }
            Refusal::KeyNotYetValid => {
                challenged(S::UNAUTHORIZED, "API_KEY_NOT_YET_VALID", "The API key is not valid yet.", "invalid_token")
            }
            Refusal::KeyExpired => {
                challenged(S::UNAUTHORIZED, "API_KEY_EXPIRED", "The API key has expired.", "invalid_token")
            }
            Refusal::KeyDisabled => face(S::FORBIDDEN, "API_KEY_DISABLED", "The API key is switched off."),
            Refusal::AccountSuspended => face(S::FORBIDDEN, "ACCOUNT_SUSPENDED", "The account is suspended."),
            Refusal::IpNotAllowed => {
                face(S::FORBIDDEN, "IP_NOT_ALLOWED", "The API key may not be used from this address.")
            }
            Refusal::AccountMismatch => match mismatch {
                Mismatch::NotFound => face(S::NOT_FOUND, "ACCOUNT_NOT_FOUND", "There is no such account."),
                Mismatch::Forbidden => {
                    face(S::FORBIDDEN, "ACCOUNT_MISMATCH", "The API key belongs to another account.")
                }
            },
            Refusal::ScopeInsufficient { .. } => challenged(
                S::FORBIDDEN,
                "SCOPE_INSUFFICIENT",
                "The API key lacks the permission this needs.",
                "insufficient_scope",
            ),
            Refusal::RouteNotFound => face(S::NOT_FOUND, "ROUTE_NOT_FOUND", "Nothing is served at this path."),
        },
    }
}

/// The answer to a request that goes no further.
pub(super) fn answer(stop: &Stop, plan: &Plan, request_id: &str) -> Response<Outgoing> {
    let face = face_of(stop, plan.mismatch);
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if face.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    match face.challenge {
        Challenge::None => {}
        Challenge::Plain => challenge(&mut headers, &plan.realm, ""),
        Challenge::Error(error) => challenge(&mut headers, &plan.realm, &error_parameters(error, stop)),
    }
    let mut answer = Response::new(Outgoing::whole(body(stop, &face, plan.verbose_refusals, request_id)));
    *answer.status_mut() = face.status;
    *answer.headers_mut() = headers;
    answer
}

/// What HEAD is answered: the length is told, the body is not sent. Over HTTP/2 hyper would send it, which clients take
/// for a broken stream; over HTTP/1.1 it would not, and the record would take that for a client that left.
pub(super) fn without_body(answer: Response<Outgoing>) -> Response<Outgoing> {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Outgoing::whole(Bytes::new()))
}

/// One field line a scheme, since several challenges in one are read wrongly by many. The same two on every path: which
/// carriers a route takes is told to nobody without a key.
fn challenge(headers: &mut HeaderMap, realm: &str, parameters: &str) {
    for scheme in ["Bearer", "Token"] {
        let parameters = if scheme == "Bearer" { parameters } else { "" };
        if let Ok(line) = HeaderValue::try_from(format!("{scheme} realm=\"{realm}\"{parameters}")) {
            headers.append(header::WWW_AUTHENTICATE, line);
        }
    }
}

fn error_parameters(error: &str, stop: &Stop) -> String {
    match stop {
        Stop::Refused(Refusal::ScopeInsufficient { needed: Some(needed) }) => {
            format!(", error=\"{error}\", scope=\"{needed}\"")
        }
        Stop::Refused(Refusal::KeyExpired) => format!(", error=\"{error}\", error_description=\"The key has expired\""),
        _ => format!(", error=\"{error}\""),
    }
}

fn body(stop: &Stop, face: &Face, verbose: bool, request_id: &str) -> Bytes {
    let mut text = String::with_capacity(320);
    text.push_str("{\"type\":\"urn:keyward:problem:");
    text.push_str(face.code);
    text.push_str("\",\"title\":\"");
    text.push_str(face.title);
    text.push_str("\",\"status\":");
    text.push_str(face.status.as_str());
    if let Stop::Malformed(malformed) = stop {
        text.push_str(",\"detail\":\"");
        text.push_str(&malformed.to_string());
        text.push('"');
    }
    text.push_str(",\"code\":\"");
    text.push_str(face.code);
    text.push_str("\",\"request_id\":\"");
    text.push_str(request_id);
    text.push('"');
    if let (true, Stop::Refused(Refusal::KeyInvalid(invalid @ (Invalid::Revoked | Invalid::Rotated)))) = (verbose, stop)
    {
        text.push_str(if *invalid == Invalid::Revoked { ",\"reason\":\"revoked\"" } else { ",\"reason\":\"rotated\"" });
    }
    text.push_str("}\n");
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_stop() -> Vec<Stop> {
        let refusals = [
            Refusal::CredentialAmbiguous,
            Refusal::KeyRequired,
            Refusal::KeyInvalid(Invalid::Revoked),
            Refusal::KeyNotYetValid,
            Refusal::KeyExpired,
            Refusal::KeyDisabled,
            Refusal::AccountSuspended,
            Refusal::IpNotAllowed,
            Refusal::AccountMismatch,
            Refusal::ScopeInsufficient { needed: Some("jobs:run".parse().unwrap()) },
            Refusal::RouteNotFound,
        ];
        let malformed = [Malformed::Method, Malformed::Host, Malformed::Connection, Malformed::Body];
        let mut stops: Vec<Stop> = refusals.into_iter().map(Stop::Refused).collect();
        stops.extend(malformed.into_iter().map(Stop::Malformed));
        stops.extend([Stop::Misdirected, Stop::TooLarge, Stop::Stalled, Stop::Origin(OriginError::Busy)]);
        stops
    }

    #[test]
    fn every_answer_is_a_problem_with_a_code_and_the_request_id() {
        for stop in every_stop() {
            for verbose in [true, false] {
                let face = face_of(&stop, Mismatch::NotFound);
                let json: serde_json::Value = serde_json::from_slice(&body(&stop, &face, verbose, "id-1")).unwrap();
                assert_eq!(json["status"], face.status.as_u16(), "{stop:?}");
                assert_eq!(json["code"], face.code);
                assert_eq!(json["request_id"], "id-1");
                assert!(json["type"].as_str().unwrap().ends_with(face.code));
            }
        }
    }

    #[test]
    fn a_401_always_challenges_and_nothing_tells_why_a_key_is_invalid() {
        let body_of = |invalid| {
            let stop = Stop::Refused(Refusal::KeyInvalid(invalid));
            body(&stop, &face_of(&stop, Mismatch::NotFound), false, "id")
        };
        assert_eq!(body_of(Invalid::Unknown), body_of(Invalid::Revoked));
        assert_eq!(body_of(Invalid::Unknown), body_of(Invalid::Malformed));
        for stop in every_stop() {
            let face = face_of(&stop, Mismatch::NotFound);
            if face.status == StatusCode::UNAUTHORIZED {
                assert!(!matches!(face.challenge, Challenge::None), "{stop:?}");
            }
        }
    }
}

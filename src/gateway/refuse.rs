//! The answers that are ours: problem+json (RFC 9457) for refusals, failures and broken requests.
//!
//! One exhaustive table says what each cause looks like from outside. What the log is told is another matter: its reason
//! never reaches the client, and the client's sentence never carries a secret, a path or the store's words.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;

use super::body::Outgoing;
use super::canon::Malformed;
use super::challenge::{Challenge, Challenges};
use super::config::Mismatch;
use super::filter::Unfilterable;
use super::origin::OriginError;
use super::plan::Plan;
use super::tunnel::Crowded;
use crate::key::{Invalid, Refusal};
use crate::keyring::{Denied, Failure};

/// Why a request goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It cannot be taken for one certain thing.
    Malformed(Malformed),
    /// Its head is larger than the settings allow (RFC 6585, 5).
    HeadTooLarge,
    /// It names a host that this TLS connection was not made for (RFC 9110, 15.5.20).
    Misdirected,
    /// The caller's matter.
    Refused(Refusal),
    /// Our matter.
    Failed(Failure),
    /// Our matter too: there are as many requests in flight as may be.
    Overloaded,
    /// There are as many upgraded connections as may be.
    Tunnels(Crowded),
    /// Its body is larger than the route allows.
    TooLarge,
    /// Its body stopped coming.
    Stalled,
    /// Its body came too slowly.
    TooSlow,
    /// Its body has to be looked into, and is no plain JSON.
    UnsupportedBody,
    /// Its route is there no longer; what is told of what takes its place. Boxed, for it is large, and rare.
    Gone(Box<HeaderMap>),
    /// The origin's matter.
    Origin(OriginError),
    /// The origin's matter too: its answer cannot be narrowed to what the key may see.
    Unfilterable(Unfilterable),
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
            Self::HeadTooLarge => "head_too_large",
            Self::Misdirected => "misdirected",
            Self::Refused(refusal) => refusal.reason(),
            Self::Failed(failure) => failure.reason(),
            Self::Overloaded => "overloaded",
            Self::Tunnels(Crowded::All) => "tunnels_full",
            Self::Tunnels(Crowded::Key) => "tunnels_of_key_full",
            Self::TooLarge => "body_too_large",
            Self::Stalled => "body_stalled",
            Self::TooSlow => "body_too_slow",
            Self::UnsupportedBody => "body_unsupported",
            Self::Gone(_) => "route_gone",
            Self::Origin(error) => error.reason(),
            Self::Unfilterable(_) => "answer_unfilterable",
        }
    }
}

/// What a client gets that does not come from the origin.
#[derive(Debug)]
pub(super) enum Ours {
    /// It goes no further.
    Stop(Stop),
    /// It goes no further, and the words for it are not the gateway's.
    Worded(Stop, Box<Response<Full<Bytes>>>),
    /// keyward itself was asked.
    Answer(Box<Response<Full<Bytes>>>),
}

impl From<Stop> for Ours {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Ours {
    /// Why it goes no further, where it does not.
    pub(super) const fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stop(stop) | Self::Worded(stop, _) => Some(stop),
            Self::Answer(_) => None,
        }
    }
}

/// Every word the access log gives as a reason, for the metrics to know beforehand.
pub const REASONS: &[&str] = &[
    "permitted",
    "open",
    "self_service",
    "client_left",
    "key_ended",
    "origin_broke_off",
    "origin_stalled",
    "overloaded",
    "tunnels_full",
    "tunnels_of_key_full",
    "malformed",
    "head_too_large",
    "misdirected",
    "body_too_large",
    "body_stalled",
    "body_too_slow",
    "body_unsupported",
    "credential_ambiguous",
    "key_required",
    "key_malformed",
    "key_unknown",
    "key_rotated",
    "key_revoked",
    "not_a_member",
    "key_sunset",
    "key_brownout",
    "key_not_yet_valid",
    "key_expired",
    "key_disabled",
    "account_suspended",
    "ip_not_allowed",
    "account_mismatch",
    "scope_insufficient",
    "route_not_found",
    "route_gone",
    "store_unavailable",
    "store_timeout",
    "store_overloaded",
    "store_behind",
    "origin_unreachable",
    "origin_connect_timed_out",
    "origin_answer_timed_out",
    "origin_busy",
    "origin_queue_full",
    "origin_broken",
    "origin_not_answered",
    "origin_unasked",
    "origin_ambiguous",
    "origin_head_too_large",
    "answer_unfilterable",
];

/// What a cause looks like from outside.
struct Face {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    challenge: Challenge,
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
        Stop::HeadTooLarge => {
            face(S::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", "The request's head is too large.")
        }
        Stop::Misdirected => face(
            S::MISDIRECTED_REQUEST,
            "MISDIRECTED_REQUEST",
            "This connection was not made for the host the request names.",
        ),
        Stop::TooLarge => face(S::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The request body is too large."),
        Stop::Stalled => face(S::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The request body stopped coming."),
        Stop::TooSlow => face(S::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "The request body came too slowly."),
        Stop::UnsupportedBody => face(
            S::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "The request body is of a type that is not accepted here.",
        ),
        Stop::Gone(_) => face(S::GONE, "ROUTE_GONE", "What was served at this path is gone."),
        Stop::Unfilterable(_) => face(
            S::BAD_GATEWAY,
            "UPSTREAM_UNFILTERABLE",
            "The service behind gave an answer of which the key's own part cannot be told.",
        ),
        Stop::Overloaded => {
            face(S::SERVICE_UNAVAILABLE, "OVERLOADED", "More requests than can be served are on their way.")
        }
        Stop::Tunnels(Crowded::All) => {
            face(S::SERVICE_UNAVAILABLE, "OVERLOADED", "There are as many upgraded connections as can be served.")
        }
        Stop::Tunnels(Crowded::Key) => face(
            S::TOO_MANY_REQUESTS,
            "TUNNEL_LIMIT_REACHED",
            "The API key has as many upgraded connections as it may.",
        ),
        Stop::Failed(_) => face(S::SERVICE_UNAVAILABLE, "AUTH_UNAVAILABLE", "The key cannot be checked at the moment."),
        Stop::Origin(error) => match error {
            OriginError::Unreachable(_) => {
                face(S::BAD_GATEWAY, "UPSTREAM_UNREACHABLE", "The service behind cannot be reached.")
            }
            OriginError::Broken(_)
            | OriginError::NotAnswered
            | OriginError::Unasked
            | OriginError::Ambiguous
            | OriginError::HeadTooLarge => {
                face(S::BAD_GATEWAY, "UPSTREAM_BROKEN", "The service behind gave no valid answer.")
            }
            OriginError::ConnectTimedOut | OriginError::AnswerTimedOut => {
                face(S::GATEWAY_TIMEOUT, "UPSTREAM_TIMEOUT", "The service behind did not answer in time.")
            }
            OriginError::Busy | OriginError::QueueFull => {
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

/// The status of a refusal, and its code in the catalogue.
pub(super) fn status_and_code(stop: &Stop, mismatch: Mismatch) -> (StatusCode, &'static str) {
    let Face { status, code, .. } = face_of(stop, mismatch);
    (status, code)
}

/// The answer that is ours.
pub(super) fn answer(ours: Ours, plan: &Plan, challenges: &Challenges, request_id: &str) -> Response<Outgoing> {
    match ours {
        Ours::Stop(stop) => refusal(&stop, plan, challenges, request_id),
        Ours::Worded(stop, answer) => {
            let mut face = face_of(&stop, plan.mismatch);
            if answer.status() == StatusCode::UNAUTHORIZED && matches!(face.challenge, Challenge::None) {
                // There every 401 has one (RFC 9110, 15.5.2).
                face.challenge = Challenge::Plain;
            }
            let mut headers = headers_of(&stop, &face, challenges);
            let mut answer = answer.map(Outgoing::ours);
            headers.extend(std::mem::take(answer.headers_mut()));
            *answer.headers_mut() = headers;
            answer
        }
        Ours::Answer(answer) => answer.map(Outgoing::ours),
    }
}

/// The answer to a request that goes no further.
fn refusal(stop: &Stop, plan: &Plan, challenges: &Challenges, request_id: &str) -> Response<Outgoing> {
    let face = face_of(stop, plan.mismatch);
    let mut answer = Response::new(Outgoing::whole(body(stop, &face, plan.verbose_refusals, request_id)));
    *answer.status_mut() = face.status;
    *answer.headers_mut() = headers_of(stop, &face, challenges);
    answer
}

/// What is said in headers, whatever the words.
fn headers_of(stop: &Stop, face: &Face, challenges: &Challenges) -> HeaderMap {
    let mut headers = challenges.headers(face.challenge, &more(stop));
    if face.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Stop::Gone(told) = stop {
        headers.extend((**told).clone());
    }
    headers
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

/// What is said of the error beside its code.
fn more(stop: &Stop) -> Cow<'static, str> {
    match stop {
        Stop::Refused(Refusal::ScopeInsufficient { needed: Some(needed) }) => format!(", scope=\"{needed}\"").into(),
        Stop::Refused(Refusal::KeyExpired) => ", error_description=\"The key has expired\"".into(),
        _ => "".into(),
    }
}

fn body(stop: &Stop, face: &Face, verbose: bool, request_id: &str) -> Bytes {
    let mut text = String::with_capacity(448);
    text.push_str("{\"type\":\"urn:keyward:problem:");
    text.push_str(face.code);
    text.push_str("\",\"title\":\"");
    text.push_str(face.title);
    text.push_str("\",\"status\":");
    text.push_str(face.status.as_str());
    text.push_str(",\"detail\":\"");
    match stop {
        Stop::Malformed(malformed) => text.push_str(&malformed.to_string()),
        stop => text.push_str(advice(stop)),
    }
    // Request ids are plain (`client::is_plain_id`), so nothing here needs escaping.
    text.push_str("\",\"instance\":\"urn:keyward:request:");
    text.push_str(request_id);
    text.push_str("\",\"code\":\"");
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

/// What the client can do about it. It tells no more than the code does.
const fn advice(stop: &Stop) -> &'static str {
    match stop {
        Stop::Malformed(_) => "Send it in its canonical form.",
        Stop::HeadTooLarge => "Send fewer or shorter headers.",
        Stop::Misdirected => "Open another connection for this host.",
        Stop::TooLarge => "Send less.",
        Stop::Stalled => "Send the body without a long pause.",
        Stop::TooSlow => "Send the body faster.",
        Stop::UnsupportedBody => "Send application/json in UTF-8, without a Content-Encoding.",
        Stop::Gone(_) => "The Link header names what takes its place, where there is something.",
        Stop::Unfilterable(_) => "The key was accepted; tell whoever runs this service.",
        Stop::Tunnels(_) => "Close some, or try again later.",
        Stop::Overloaded => "Nothing was done about this request; try again in a moment.",
        Stop::Failed(_) => "Nothing is wrong with the key as far as is known; try again.",
        Stop::Origin(OriginError::Busy | OriginError::QueueFull) => "Try again in a moment.",
        Stop::Origin(_) => "The key was accepted; what failed is the service behind.",
        Stop::Refused(refusal) => match refusal {
            Refusal::CredentialAmbiguous => "Send one key, in one place.",
            Refusal::KeyRequired => "Send a key, such as in the Authorization header after Bearer or Token.",
            Refusal::KeyInvalid(_) => {
                "It is unknown, revoked or was rotated; ask whoever gave it to you for the current one."
            }
            Refusal::KeyNotYetValid => "Use it once its time has come.",
            Refusal::KeyExpired => "Ask whoever gave it to you for another.",
            Refusal::KeyDisabled => "It can be switched on again by whoever gave it to you.",
            Refusal::AccountSuspended => "It can be resumed by whoever runs this service.",
            Refusal::IpNotAllowed => "Use it from one of the networks it is bound to.",
            Refusal::AccountMismatch => "Check the account in the request.",
            Refusal::ScopeInsufficient { .. } => "Use a key with the permission, or have it added.",
            Refusal::RouteNotFound => "Check the method, the host and the path.",
        },
    }
}

#[cfg(test)]
mod tests;

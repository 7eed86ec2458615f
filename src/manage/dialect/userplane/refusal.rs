//! Refusals as Userplane's clients read them: its codes where it has one, else those of the catalogue.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::manage::problem::{Code, Problem};
use crate::manage::self_service::Refused;

#[derive(Serialize)]
struct Wire<'a> {
    error: &'a str,
    message: &'a str,
}

/// A refusal of the management face.
pub(in crate::manage) fn refusal(problem: Problem, realm: &str) -> Response<Full<Bytes>> {
    let code = known(problem.code);
    let problem = problem.taken_for(code);
    let (status, error) = face(code);
    let (title, sentence) = (code.title(), problem.sentence());
    let message = if sentence == title { sentence } else { format!("{title} {sentence}") };
    // Nothing in it can fail to be written.
    let body = serde_json::to_vec(&Wire { error, message: &message }).unwrap_or_default();
    problem.into_answer(status, body, realm)
}

/// A refusal of the gateway's, which it has nothing to add to; none for what is the matter of neither a key nor its check.
pub(in crate::manage) fn word(refused: &Refused<'_>, realm: &str) -> Option<Response<Full<Bytes>>> {
    let code = match refused.refusal {
        Some(refusal) => Code::of(refusal),
        None if refused.status == StatusCode::SERVICE_UNAVAILABLE => Code::AuthUnavailable,
        None => return None,
    };
    Some(refusal(Problem::new(code), realm))
}

/// What the vendor knows no other name for reads as this.
const fn known(code: Code) -> Code {
    match code {
        Code::KeyNotYetValid | Code::KeySuperseded => Code::KeyInvalid,
        Code::AccountSuspended | Code::AccountNotFound => Code::MemberNotFound,
        other => other,
    }
}

const fn face(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::MemberNotFound => (StatusCode::FORBIDDEN, "NOT_A_MEMBER"),
        Code::AuthUnavailable | Code::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        other => match other.status() {
            StatusCode::UNPROCESSABLE_ENTITY => (StatusCode::BAD_REQUEST, other.as_str()),
            status => (status, other.as_str()),
        },
    }
}

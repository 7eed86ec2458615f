//! What an answer says of the key it was asked with.

use http::StatusCode;
use serde::Deserialize;

/// Whether the key was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was: the request went on to what is behind, or was refused for what only a good key is told.
    Accepted,
    /// It was not, in this keyward's own words.
    Refused(String),
    /// Nobody can tell, and why.
    Unclear(String),
}

impl Said {
    /// What an answer says. A 401 or a 403 is a refusal where keyward says so: an API behind it has its own, and then the request
    /// had been forwarded, or something before it, and then nobody knows.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        let code = code(body);
        match (status, code) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(code)) => Self::Refused(code),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                Self::Unclear(format!("{status} in words that are not keyward's"))
            }
            (StatusCode::SERVICE_UNAVAILABLE, Some(code)) => Self::Unclear(format!("503 {code}")),
            (StatusCode::SERVICE_UNAVAILABLE, None) => Self::Unclear(status.to_string()),
            _ => Self::Accepted,
        }
    }
}

/// The code of a problem of keyward's.
pub(super) fn code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
        code: String,
    }
    let Problem { r#type, code } = serde_json::from_slice(body).ok()?;
    (r#type.strip_prefix("urn:keyward:problem:") == Some(code.as_str())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_keywards_own_and_anything_that_only_a_good_key_gets_is_none() {
        let problem = |code: &str| format!(r#"{{"type":"urn:keyward:problem:{code}","title":"t","code":"{code}"}}"#);
        for (status, body, said) in [
            (401, problem("API_KEY_INVALID"), Said::Refused("API_KEY_INVALID".to_owned())),
            (403, problem("SCOPE_INSUFFICIENT"), Said::Refused("SCOPE_INSUFFICIENT".to_owned())),
            (503, problem("AUTH_UNAVAILABLE"), Said::Unclear("503 AUTH_UNAVAILABLE".to_owned())),
            (503, String::new(), Said::Unclear("503 Service Unavailable".to_owned())),
            (200, String::new(), Said::Accepted),
            (302, String::new(), Said::Accepted),
            (404, problem("ROUTE_NOT_FOUND"), Said::Accepted),
            (502, problem("UPSTREAM_UNREACHABLE"), Said::Accepted),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Said::of(status, body.as_bytes()), said, "{status} {body}");
        }
        // Of the API behind, or of something before: it says nothing of the key.
        for body in ["", "{}", r#"{"type":"about:blank","code":"API_KEY_INVALID"}"#, r#"{"code":"API_KEY_INVALID"}"#] {
            assert!(matches!(Said::of(StatusCode::UNAUTHORIZED, body.as_bytes()), Said::Unclear(_)), "{body}");
        }
    }
}

//! Refusals of the management face, as problem details (RFC 9457).

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::health::Report;
use super::{text, with_allow};

/// One refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Option<String>,
    allow: Option<String>,
}

impl Problem {
    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "ROUTE_NOT_FOUND", detail: None, allow: None }
    }

    pub(super) fn method_not_allowed(methods: &[Method]) -> Self {
        let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        Self { status: StatusCode::METHOD_NOT_ALLOWED, code: "METHOD_NOT_ALLOWED", detail: None, allow: Some(allow) }
    }

    pub(super) fn not_ready(report: &Report) -> Self {
        let detail = Some(report.failures().join("; "));
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "NOT_READY", detail, allow: None }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let wire = Wire {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            code: self.code,
        };
        // Nothing in it can fail to be written.
        let body = serde_json::to_vec(&wire).unwrap_or_default();
        let response = text(self.status, "application/problem+json", body);
        match self.allow {
            Some(methods) => with_allow(response, &methods),
            None => response,
        }
    }
}

/// As it is written.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    code: &'a str,
}

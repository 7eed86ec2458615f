//! The management face: what operators and their machines ask keyward about itself.
//!
//! It has a listener, limits and a thread of its own, so that a flood of clients cannot silence it, and it answers only
//! what stands in its table of routes. Knows neither the gateway nor, yet, a key: `app` hands in what it tells.

pub mod config;
pub mod health;
pub mod socket;

mod problem;
mod routes;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use self::health::Health;
use self::problem::Problem;
use self::routes::Row;
use crate::measure::{Size, Span};
use crate::net::config::{Limits, Terms, Timeouts};
use crate::net::{Handler, Peer};
use crate::telemetry::exposition::Form;
use crate::telemetry::metrics::Metrics;

/// Answers the management listener's requests.
#[derive(Clone, Debug)]
pub struct Admin {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Admin {
    /// A face that tells these.
    #[must_use]
    pub fn new(health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        Self { health, metrics }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = match routes::find(request.uri().path(), request.method()) {
            Ok(row) => self.tell(row, request),
            Err(problem) => problem.into_response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn tell<B>(&self, row: Row, request: &Request<B>) -> Response<Full<Bytes>> {
        // `?verbose` and `?verbose=1` alike.
        let query = request.uri().query();
        let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
        match row {
            Row::Live => text(StatusCode::OK, TEXT, "alive\n"),
            Row::Ready => {
                let report = self.health.report();
                let status = if report.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                match (verbose, report.ready()) {
                    (true, _) => text(status, TEXT, report.to_string()),
                    (false, true) => text(status, TEXT, "ready\n"),
                    (false, false) => Problem::not_ready(&report).into_response(),
                }
            }
            Row::Metrics => {
                let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
                let form = Form::accepted(accept);
                text(StatusCode::OK, form.content_type(), self.metrics.render(form))
            }
        }
    }
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(self: Rc<Self>, _: Rc<Peer>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.answer(&request)
    }
}

/// How much of anything the management listener takes: few connections, short requests. All else is the data
/// plane's.
#[must_use]
pub fn terms(clients: &Terms) -> Terms {
    let limits = Limits {
        connections: 128,
        connections_per_address: 0,
        handshakes: 32,
        connection_requests: 0,
        header_bytes: Size(16 * 1024),
        buffer_bytes: Size(16 * 1024),
        streams: 16,
        ..clients.limits.clone()
    };
    let timeouts = Timeouts { connection_age: Span(Duration::ZERO), ..clients.timeouts.clone() };
    Terms { limits, timeouts, ..clients.clone() }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn with_allow(mut response: Response<Full<Bytes>>, methods: &str) -> Response<Full<Bytes>> {
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

#[cfg(test)]
mod tests;

//! The management face: what operators and their machines ask keyward about itself, and have it do.
//!
//! ```text
//!  request -> routes (row) -> caller (proof) -> body -> dialect (decode) -> keyring::operate -> dialect (encode)
//! ```
//!
//! It has a listener, limits and a thread of its own, so that a flood of clients cannot silence it, and it answers only
//! what stands in its table of routes. Knows nothing of the gateway: `app` hands in what it tells.

pub mod commands;
pub mod config;
pub mod health;
pub mod socket;

mod body;
mod caller;
mod desk;
mod dialect;
mod holder;
mod leaks;
mod pace;
mod problem;
mod routes;
mod row;
pub mod self_service;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;

use self::body::Document;
use self::caller::{Caller, Operator};
use self::commands::Reply;
use self::desk::Desk;
pub use self::desk::Hand;
use self::dialect::native::query::Query;
use self::dialect::native::{self, Asked, Call};
use self::health::Health;
pub use self::leaks::tally::Tally as LeakTally;
use self::problem::{Code, Problem};
use self::routes::{Found, Right, Row, To};
use crate::key::token::{self, Prefix};
use crate::keyring::command::{By, Who};
use crate::measure::{Size, Span};
use crate::net::config::{Limits, Terms, Timeouts};
use crate::net::newest::Newest;
use crate::net::{Handler, Peer};
use crate::telemetry::exposition::Form;
use crate::telemetry::metrics::Metrics;

/// Answers the management listener's requests.
#[derive(Clone, Debug)]
pub struct Admin {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    manner: Newest<Manner>,
    hand: Hand,
}

/// What an [`Admin`] is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Whether to send requests.
    pub health: Arc<Health>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// What settings say of it now.
    pub manner: Newest<Manner>,
    /// What carries out what is asked.
    pub hand: Hand,
}

/// What settings say of it, and may say otherwise while it runs.
#[derive(Clone, Debug)]
pub struct Manner {
    /// In `WWW-Authenticate`.
    pub realm: String,
    /// What new secrets begin with.
    pub prefix: Prefix,
}

impl Admin {
    /// A face that tells and does these.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { health, metrics, manner, hand } = parts;
        Self { health, metrics, manner, hand }
    }

    async fn answer<B>(&self, client: IpAddr, request: Request<B>) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let manner = self.manner.get();
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let request_id = request_id(&head.headers);
        let answer = self.judged(client, &request_id, head, body, &manner).await;
        let refused = |problem: Problem| problem.into_response(&manner.realm, &request_id).map(Reply::Whole);
        let mut response = answer.unwrap_or_else(refused);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(HeaderValue::try_from(request_id).ok().map(|id| (X_REQUEST_ID, id)));
        if is_head { without_body(response) } else { response }
    }

    async fn judged<B>(
        &self,
        client: IpAddr,
        request_id: &str,
        mut head: request::Parts,
        body: B,
        manner: &Manner,
    ) -> Result<Response<Reply>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let whole = |answer: Response<Full<Bytes>>| answer.map(Reply::Whole);
        let Found { right, to } = routes::find(head.uri.path(), &head.method);
        // Before anything else is told, be it that there is no such path.
        let caller = match right {
            Right::Anyone => None,
            Right::Operator => Some(caller::identify(&self.hand.keyring, &mut head.headers, client, request_id).await?),
            Right::Holder => return Err(Problem::new(Code::RouteNotFound)),
        };
        let (path, row, names) = match to? {
            To::Options(methods) => return Ok(whole(options(&methods))),
            To::Row { path, row, names } => (path, row, names),
        };
        // The table's rows of the other kinds all name the right; one that did not would still answer nobody.
        let caller = caller.ok_or_else(|| Problem::new(Code::KeyRequired));
        let by = |caller: &Operator| {
            let who = Who::Operator { key: caller.key().clone() };
            By { who, address: Some(client), request_id: Some(request_id.into()) }
        };
        let call = match row {
            Row::Live => return Ok(whole(answer(StatusCode::OK, TEXT, "alive\n"))),
            Row::Ready => return self.readiness(&head).map(whole),
            Row::Metrics => return Ok(whole(self.numbers(&head))),
            Row::Greet | Row::Command => {
                let operator = caller?;
                Query::read(head.uri.query())?.end()?;
                return match row {
                    Row::Command => commands::reply(&self.hand, &operator, by(&operator), &head.headers, body).await,
                    _ => Ok(whole(commands::greeting())),
                };
            }
            Row::Native(call) => call,
        };
        let operator = caller?;
        let body = match call {
            Call::Introspect => Document::form(&head.headers, body).await?,
            call if call.takes_body() => Document::read(&head.headers, body).await?,
            _ => Document::default(),
        };
        let (secret, by) = (Some(operator.secret().clone()), by(&operator));
        let caller = Caller::Operator(operator);
        let desk = Desk::new(&self.hand, &caller, by, secret);
        let query = head.uri.query();
        let description = Bytes::from_static(native::OPENAPI.as_bytes());
        let asked = Asked { base: "", path: head.uri.path(), names, query, headers: &head.headers, body, description };
        let done = native::call(call, &desk, &asked, &manner.prefix).await;
        if head.method != Method::GET && head.method != Method::HEAD {
            let status = done.as_ref().map_or_else(|problem| problem.code.status(), Response::status);
            tracing::info!(
                operator.key = %caller.key(),
                request.id = request_id,
                method = %head.method,
                route = path,
                status = status.as_u16(),
                "an operator asked for a change"
            );
        }
        done.map(whole)
    }

    fn readiness(&self, head: &request::Parts) -> Result<Response<Full<Bytes>>, Problem> {
        // `?verbose` and `?verbose=1` alike.
        let query = head.uri.query();
        let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
        let report = self.health.report();
        let status = if report.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match (verbose, report.ready()) {
            (true, _) => Ok(answer(status, TEXT, report.to_string())),
            (false, true) => Ok(answer(status, TEXT, "ready\n")),
            (false, false) => Err(Problem::not_ready(&report)),
        }
    }

    fn numbers(&self, head: &request::Parts) -> Response<Full<Bytes>> {
        let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let form = Form::accepted(accept);
        answer(StatusCode::OK, form.content_type(), self.metrics.render(form))
    }
}

impl Handler for Admin {
    type Body = Reply;

    async fn handle(self: Rc<Self>, peer: Rc<Peer>, request: Request<Incoming>) -> Response<Reply> {
        Box::pin(Self::answer(&self, peer.ip(), request)).await
    }
}

/// What the caller calls the request, where that is fit for a log, else a name of ours.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(plain)) {
        Some(given) => given.to_owned(),
        // Without randomness it has no name, which confuses nobody but a reader of the audit log.
        None => token::random_id("req_", 16, getrandom::fill).unwrap_or_default(),
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
const JSON: &str = "application/json";

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What may be asked of a path (RFC 9110, 9.3.7).
fn options(methods: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().extend(HeaderValue::from_str(methods).ok().map(|methods| (ALLOW, methods)));
    response
}

/// What HEAD is answered: the length is told, the body is not sent. Over HTTP/2 hyper would send it.
fn without_body(mut response: Response<Reply>) -> Response<Reply> {
    if let Some(length) = response.body().size_hint().exact().filter(|_| response.status() != StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|_| Reply::Whole(Full::default()))
}

#[cfg(test)]
mod tests;

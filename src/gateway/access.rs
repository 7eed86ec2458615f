//! One record a request: what the access log and the metrics say of it. It is written when it is dropped, so it is
//! written however the request ends: answered, cut off by either side, or left by its client.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::Generation;
use super::authorize::Permit;
use super::in_flight::InFlight;
use super::refuse::Stop;
use crate::clock::{BootTime, Clock};
use crate::key::{AccountId, KeyId, Kind};
use crate::keyring::Denied;
use crate::telemetry::access::LineBuffer;
use crate::telemetry::chain;
use crate::telemetry::label::{Decision, Rehearsed};
use crate::telemetry::line::Line;
use crate::telemetry::metrics::Shard;
use crate::telemetry::stamp::Stamp;

/// Where a worker's records of one generation go.
pub(super) struct Ledger {
    pub(super) generation: Arc<Generation>,
    pub(super) clock: Clock,
    pub(super) shard: Rc<Shard>,
    pub(super) lines: LineBuffer,
    pub(super) in_flight: Arc<InFlight>,
    /// When the last line was.
    pub(super) stamp: RefCell<Stamp>,
}

/// What is known of one request.
pub(super) struct Record {
    ledger: Rc<Ledger>,
    id: RequestId,
    started: BootTime,
    forwarded: Option<BootTime>,
    answered: Option<BootTime>,
    method: Method,
    route: Option<usize>,
    /// Where the log is on.
    told: Option<Told>,
    decision: Decision,
    reason: &'static str,
    /// What it was forwarded in spite of.
    rehearsed: Option<Rehearsed>,
    /// None until an answer was begun; what the client would have seen then is 499, as nginx calls it.
    status: Option<StatusCode>,
    bytes: u64,
    /// Whether all of the answer was handed over.
    whole: bool,
    /// Whether it counts among the requests in flight: there was room for it.
    admitted: bool,
}

/// What only the log tells.
struct Told {
    client: IpAddr,
    host: Option<HeaderValue>,
    target: Uri,
    version: Version,
    key: Option<(KeyId, Kind)>,
    account: Option<AccountId>,
}

impl Record {
    pub(super) fn begin(ledger: &Rc<Ledger>, id: RequestId, client: IpAddr, head: &Parts) -> Box<Self> {
        let told = ledger.generation.access_log.enabled.then(|| Told {
            client,
            host: None,
            target: head.uri.clone(),
            version: head.version,
            key: None,
            account: None,
        });
        // Boxed: it moves along with the answer, from hand to hand.
        Box::new(Self {
            started: ledger.clock.boot(),
            ledger: Rc::clone(ledger),
            id,
            forwarded: None,
            answered: None,
            method: head.method.clone(),
            route: None,
            told,
            decision: Decision::Refused,
            reason: "",
            rehearsed: None,
            status: None,
            bytes: 0,
            whole: false,
            admitted: ledger.in_flight.enter(ledger.generation.requests),
        })
    }

    /// Whether there was room for it among the requests in flight.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// The request's id, as sent to the origin and to the client.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Takes over the id that a trusted proxy gave, and the client it stands for.
    pub(super) fn canonical(&mut self, host: &HeaderValue, client: IpAddr, id: Option<&HeaderValue>) {
        if let Some(told) = &mut self.told {
            told.host = Some(host.clone());
            told.client = client;
        }
        if let Some(id) = id {
            self.id = RequestId::new(id.clone());
        }
    }

    /// Under which rule, however the request ends.
    pub(super) fn falls_under(&mut self, route: usize) {
        self.route = Some(route);
    }

    /// Whose key it is; known from here on even where the request is refused.
    pub(super) fn by(&mut self, key: &KeyId, kind: Kind) {
        if let Some(told) = &mut self.told {
            told.key = Some((key.clone(), kind));
        }
    }

    /// It goes on to the origin; returns when, which is now.
    pub(super) fn forwarded(&mut self, permit: &Permit<'_>) -> BootTime {
        self.decision = Decision::Allowed;
        self.reason = if permit.holder().is_some() { "permitted" } else { "open" };
        self.rehearsed = permit.rehearsed();
        if let Some(told) = &mut self.told {
            told.account = permit.holder().and_then(|holder| holder.grant.account.clone());
        }
        *self.forwarded.insert(self.ledger.clock.boot())
    }

    /// keyward itself answers it; what became of its key is in `denied`.
    pub(super) fn answered_here(&mut self, denied: Option<&Denied>) {
        (self.decision, self.reason) = match denied {
            None => (Decision::Allowed, "self_service"),
            Some(Denied::Refused(refusal)) => (Decision::Refused, refusal.reason()),
            Some(Denied::Failed(failure)) => (Decision::Failed, failure.reason()),
        };
    }

    /// The head of the origin's answer is there.
    pub(super) fn answered(&mut self) {
        self.answered = Some(self.ledger.clock.boot());
    }

    /// It goes no further.
    pub(super) fn stopped(&mut self, stop: &Stop) {
        self.reason = stop.reason();
        self.decision = match stop {
            Stop::Failed(_) | Stop::Overloaded => Decision::Failed,
            // The verdict was given before; what went wrong after it is the reason.
            Stop::Origin(_) | Stop::Unfilterable(_) | Stop::TooLarge | Stop::Stalled | Stop::TooSlow => self.decision,
            Stop::Malformed(_) if self.forwarded.is_some() => self.decision,
            Stop::Malformed(_)
            | Stop::HeadTooLarge
            | Stop::Misdirected
            | Stop::UnsupportedBody
            | Stop::Gone(_)
            | Stop::Refused(_) => Decision::Refused,
        };
        if let Stop::Unfilterable(error) = stop {
            tracing::warn!(request.id = self.id.as_str(), error = chain(error), "an answer cannot be filtered");
        }
        if let Stop::Origin(error) = stop {
            tracing::warn!(request.id = self.id.as_str(), error = chain(error), "the origin gave no answer");
        }
    }

    /// The status of the answer.
    pub(super) fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Whether anything follows the answer's head.
    pub(super) fn expects_body(&mut self, expected: bool) {
        self.whole = !expected;
    }

    /// So many bytes of the answer were handed over, and whether they were the last.
    pub(super) fn sent(&mut self, bytes: usize, last: bool) {
        self.bytes += bytes as u64;
        self.whole |= last;
    }

    /// The origin broke its answer off, or, where it `stalled`, sent no more of it.
    pub(super) fn broken(&mut self, stalled: bool) {
        self.reason = if stalled { "origin_stalled" } else { "origin_broke_off" };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = self.ledger.clock.boot();
        if self.admitted {
            self.ledger.in_flight.leave();
        }
        if !self.whole && !matches!(self.reason, "origin_broke_off" | "origin_stalled") {
            self.reason = "client_left";
        }
        let total = now.since(self.started);
        let origin = self.forwarded.map(|sent| self.answered.unwrap_or(now).since(sent)).unwrap_or_default();
        let overhead = match self.forwarded {
            Some(sent) => sent.since(self.started),
            None => total,
        };
        let status = self.status.unwrap_or_else(client_left);
        let shard = &self.ledger.shard;
        let route = self.route.map(|at| self.ledger.generation.routes[at]);
        shard.request(route, &self.method, status, total);
        shard.overhead(overhead);
        shard.decision(self.decision, self.reason);
        if let (Some(route), Some(why)) = (route, self.rehearsed) {
            shard.rehearsed(route, why);
        }
        if let Some(told) = &self.told {
            self.ledger.lines.line(|line| self.write(told, line, status.as_u16(), &[total, overhead, origin]));
        }
    }
}

impl Record {
    /// Writes the line; `spent` is the time in all, in the gateway, and at the origin.
    fn write(&self, told: &Told, line: &mut Vec<u8>, status: u16, spent: &[Duration; 3]) {
        let mut line = Line::begin(line);
        let at = self.ledger.clock.now().minus(spent[0]);
        self.ledger.stamp.borrow_mut().with(at, |text| line.text("time", text));
        line.text("request_id", self.id.as_str());
        line.text("client", &told.client.to_string());
        line.text("method", self.method.as_str());
        line.optional("host", told.host.as_ref().and_then(|host| host.to_str().ok()).or_else(|| told.target.host()));
        line.text("path", told.target.path());
        if self.ledger.generation.access_log.query {
            line.optional("query", told.target.query());
        }
        line.text("protocol", protocol(told.version));
        line.number("status", status.into());
        line.number("bytes", self.bytes);
        for (name, span) in ["duration_us", "gateway_us", "origin_us"].into_iter().zip(spent) {
            line.number(name, u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        }
        let plan = &self.ledger.generation.plan;
        let route = self.route.and_then(|at| plan.routes.get(at));
        line.optional("route", self.route.and_then(|at| self.ledger.generation.name(at)));
        let forwarding = route.filter(|route| !route.is_gone());
        line.optional("service", forwarding.map(|route| plan.services[route.service].name.as_str()));
        line.optional("key", told.key.as_ref().map(|(id, _)| id.as_str()));
        line.optional("kind", told.key.as_ref().map(|(_, kind)| kind.as_str()));
        line.optional("account", told.account.as_ref().map(AccountId::as_str));
        line.text("decision", self.decision.as_str());
        line.text("reason", self.reason);
        line.optional("would_refuse", self.rehearsed.map(Rehearsed::as_str));
        line.end();
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// What nginx calls an answer that its client did not wait for.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}

/// A request's id: 32 hexadecimal digits of ours, or what a trusted proxy gave.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    const LENGTH: usize = 32;

    fn new(mut id: HeaderValue) -> Self {
        // It never comes again, so HTTP/2 is not to put it into its table of values that do (RFC 7541, 6.2.3).
        id.set_sensitive(true);
        Self(id)
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// Makes request ids: unlike any other worker's or process's, not secret.
pub(super) struct RequestIds {
    seed: u64,
    count: Cell<u64>,
    /// Room for the next ids, which then share one allocation.
    room: RefCell<BytesMut>,
}

impl RequestIds {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        let half = |at: usize| seed[at..at + 8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        Self { seed: half(0), count: Cell::new(half(8)), room: RefCell::default() }
    }

    pub(super) fn next(&self) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let mut room = self.room.borrow_mut();
        if room.capacity() < RequestId::LENGTH {
            room.reserve(RequestId::LENGTH * 64);
        }
        for half in [self.seed, scrambled(count)] {
            room.extend_from_slice(&hexadecimal(half));
        }
        let text = room.split().freeze();
        RequestId::new(HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    let bytes = number.to_be_bytes();
    std::array::from_fn(|at| {
        let byte = bytes[at / 2];
        b"0123456789abcdef"[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// Splitmix64's finishing step: a bijection, so ids of one worker never repeat.
const fn scrambled(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

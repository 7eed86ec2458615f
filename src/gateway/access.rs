//! One record a request: what the access log and the metrics say of it. It is written when it is dropped, so it is
//! written however the request ends: answered, cut off by either side, or left by its client.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::Generation;
use super::authorize::Permit;
use super::in_flight::InFlight;
use super::open::{Lasting, Open, Opened};
use super::refuse::Stop;
use super::request_id::RequestId;
use super::tunnel::{Crowded, Life};
use super::upgrade::Protocol;
use crate::clock::{BootTime, Clock};
use crate::key::{AccountId, KeyId, Kind, Verified};
use crate::keyring::Denied;
use crate::net::Exchange;
use crate::telemetry::access::LineBuffer;
use crate::telemetry::chain;
use crate::telemetry::label::{Decision, Rehearsed, TunnelEnd};
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
    /// What outlasts its key on this worker.
    pub(super) open: Rc<Open>,
    /// When the last line was.
    pub(super) stamp: RefCell<Stamp>,
}

/// What is known of one request.
pub(super) struct Record {
    ledger: Rc<Ledger>,
    exchange: Exchange,
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
    /// Of how many seconds ago what its key was judged by is, where that should not be believed any more.
    stale: Option<u32>,
    /// None until an answer was begun; what the client would have seen then is 499, as nginx calls it.
    status: Option<StatusCode>,
    bytes: u64,
    /// Whether all of the answer was handed over.
    whole: bool,
    /// Whether it counts among the requests in flight: there was room for it.
    admitted: bool,
    /// Whether its route lets it ask for an upgrade, and it does.
    asks_upgrade: bool,
    /// What became of it. Boxed, for it is rare.
    tunnel: Option<Box<Tunnelled>>,
    /// Its answer, where that ends with its key.
    lasting: Option<Lasting>,
}

/// A request whose connection went on as something else.
struct Tunnelled {
    protocol: Protocol,
    received: u64,
    end: TunnelEnd,
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
    pub(super) fn begin(ledger: &Rc<Ledger>, id: RequestId, exchange: Exchange, head: &Parts) -> Box<Self> {
        let told = ledger.generation.access_log.enabled.then(|| Told {
            client: exchange.peer().address.ip(),
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
            exchange,
            id,
            forwarded: None,
            answered: None,
            method: head.method.clone(),
            route: None,
            told,
            decision: Decision::Refused,
            reason: "",
            rehearsed: None,
            stale: None,
            status: None,
            bytes: 0,
            whole: false,
            admitted: ledger.in_flight.enter(ledger.generation.requests),
            asks_upgrade: false,
            tunnel: None,
            lasting: None,
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
    pub(super) fn by(&mut self, verified: &Verified) {
        self.stale = verified.stale();
        if let Some(told) = &mut self.told {
            told.key = Some((verified.key().clone(), verified.standing().kind));
        }
    }

    /// Of how many seconds ago what its key was judged by is, where that should not be believed any more.
    pub(super) const fn stale(&self) -> Option<u32> {
        self.stale
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

    /// It asks for an upgrade, and its route `lets` it or not.
    pub(super) fn asks_upgrade(&mut self, lets: bool) {
        self.asks_upgrade = lets;
    }

    /// Whether it asked for an upgrade that its route allows.
    pub(super) fn asked_upgrade(&self) -> bool {
        self.asks_upgrade
    }

    /// Its answer is given, and its connection goes on as something else. It counts as answered now, and is told of in the log
    /// when all is over.
    pub(super) fn tunnel_begins(&mut self, protocol: &Protocol, life: &Rc<Life>) -> Option<Opened> {
        self.whole = true;
        self.leave();
        self.count(self.ledger.clock.boot());
        self.tunnel = Some(Box::new(Tunnelled { protocol: protocol.clone(), received: 0, end: TunnelEnd::Client }));
        self.lasting.take()?.tunnels(life)
    }

    /// All is over: so much went to the origin, and so much came back.
    pub(super) fn tunnel_ended(&mut self, end: TunnelEnd, received: u64, sent: u64) {
        self.bytes = sent;
        if let Some(tunnel) = &mut self.tunnel {
            (tunnel.end, tunnel.received) = (end, received);
        }
    }

    /// The request and its answer on the client's connection.
    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Its answer ends with its key.
    pub(super) fn lasts(&mut self, lasting: Option<Lasting>) {
        self.lasting = lasting;
    }

    /// The head of the origin's answer is there.
    pub(super) fn answered(&mut self) {
        self.answered = Some(self.ledger.clock.boot());
    }

    /// It goes no further.
    pub(super) fn stopped(&mut self, stop: &Stop) {
        self.reason = stop.reason();
        self.decision = match stop {
            Stop::Failed(_) | Stop::Overloaded | Stop::Tunnels(Crowded::All) => Decision::Failed,
            // The verdict was given before; what went wrong after it is the reason.
            Stop::Origin(_) | Stop::Unfilterable(_) | Stop::TooLarge | Stop::Stalled | Stop::TooSlow => self.decision,
            Stop::Malformed(_) if self.forwarded.is_some() => self.decision,
            Stop::Malformed(_)
            | Stop::HeadTooLarge
            | Stop::Misdirected
            | Stop::UnsupportedBody
            | Stop::Gone(_)
            | Stop::Tunnels(Crowded::Key)
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
        if let (false, Some(lasting)) = (last, &mut self.lasting) {
            lasting.goes_on();
        }
    }

    /// More of the answer has to be waited for.
    pub(super) fn waits(&mut self) {
        if let Some(lasting) = &mut self.lasting {
            lasting.goes_on();
        }
    }

    /// The origin broke its answer off, or, where it `stalled`, sent no more of it.
    pub(super) fn broken(&mut self, stalled: bool) {
        self.reason = if stalled { "origin_stalled" } else { "origin_broke_off" };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = self.ledger.clock.boot();
        self.leave();
        if !self.whole && self.exchange.is_cut() {
            self.reason = "key_ended";
        } else if !self.whole && !matches!(self.reason, "origin_broke_off" | "origin_stalled") {
            self.reason = "client_left";
        }
        let spent = match self.tunnel {
            None => self.count(now),
            Some(_) => self.spent(now),
        };
        if let Some(told) = &self.told {
            self.ledger.lines.line(|line| self.write(told, line, &spent));
        }
    }
}

impl Record {
    /// It is no longer in flight.
    fn leave(&mut self) {
        if std::mem::take(&mut self.admitted) {
            self.ledger.in_flight.leave();
        }
    }

    /// The time in all, in the gateway, and at the origin.
    fn spent(&self, now: BootTime) -> [Duration; 3] {
        let total = now.since(self.started);
        let origin = self.forwarded.map(|sent| self.answered.unwrap_or(now).since(sent)).unwrap_or_default();
        let overhead = match self.forwarded {
            Some(sent) => sent.since(self.started),
            None => total,
        };
        [total, overhead, origin]
    }

    /// Counts it as it is now, and gives what was spent on it.
    fn count(&self, now: BootTime) -> [Duration; 3] {
        let spent = self.spent(now);
        let shard = &self.ledger.shard;
        let route = self.route.map(|at| self.ledger.generation.routes[at]);
        shard.request(route, &self.method, self.status.unwrap_or_else(client_left), spent[0]);
        shard.overhead(spent[1]);
        shard.decision(self.decision, self.reason);
        if let (Some(route), Some(why)) = (route, self.rehearsed) {
            shard.rehearsed(route, why);
        }
        spent
    }
}

impl Record {
    /// Writes the line.
    fn write(&self, told: &Told, line: &mut Vec<u8>, spent: &[Duration; 3]) {
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
        line.number("status", self.status.unwrap_or_else(client_left).as_u16().into());
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
        if let Some(age) = self.stale {
            line.number("stale_s", age.into());
        }
        line.optional("would_refuse", self.rehearsed.map(Rehearsed::as_str));
        if let Some(tunnel) = &self.tunnel {
            line.text("upgrade", tunnel.protocol.as_str());
            line.number("received", tunnel.received);
            line.text("ended", tunnel.end.as_str());
        }
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

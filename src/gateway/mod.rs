//! The data plane: from a request to a permit to the origin, or to a refusal.
//!
//! ```text
//!  asked -> route -> credential -> verify -> authorize -> forward -> origin
//!  '--- canon, headers, client    keyring   mints Permit   needs one
//! ```
//!
//! Each stage hands on a value that proves it ran, so forgetting a check does not compile: `forward` takes a
//! `Permit`, which only `authorize` makes, of a `Verified`, which only the judge makes. Routing picks the rule and tells
//! nobody: without a valid key every path answers 401.

mod access;
mod agree;
mod alarm;
mod asked;
mod authorize;
mod body;
mod canon;
mod challenge;
mod client;
pub mod config;
mod connect;
mod credential;
pub mod echo;
mod filter;
mod forward;
mod forwarded;
mod headers;
mod in_flight;
mod json;
mod live;
mod open;
mod origin;
pub mod plan;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod refuse;
pub mod rehearsal;
mod request_id;
mod retirement;
mod route;
pub mod self_service;
mod service;
mod sign;
mod template;
mod tunnel;
mod upgrade;
mod user_keys;

pub use self::in_flight::InFlight;
pub use self::live::Generation;
pub use self::refuse::REASONS;
pub use self::tunnel::Tunnels;

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header, request};
use http_body::Body;
use hyper::body::Incoming;

use self::access::Record;
use self::agree::Pace;
use self::asked::Asked;
use self::authorize::Permit;
use self::body::{ClientBody, Outgoing};
use self::credential::Carrier;
use self::forward::{Outbound, X_REQUEST_ID, forward};
use self::live::{Current, Live, Own};
use self::open::{Held, Lasting, Open};
use self::refuse::{Ours, Stop};
use self::request_id::RequestIds;
use self::tunnel::{Lives, Tunnel};
use self::upgrade::Switch;
use crate::clock::Clock;
use crate::key::{Refusal, Verified};
use crate::keyring::{Denied, Keyring};
use crate::net::newest::Newest;
use crate::net::{Handler, Peer};
use crate::secret::Secret;
use crate::telemetry::access::LineBuffer;
use crate::telemetry::label::Cut;
use crate::telemetry::metrics::Metrics;

/// What every worker's gateway is made of.
#[derive(Clone)]
pub struct Parts {
    /// What a reload may change.
    pub newest: Newest<Generation>,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// All requests in flight.
    pub in_flight: Arc<InFlight>,
    /// All upgraded connections.
    pub tunnels: Arc<Tunnels>,
    /// Where time comes from.
    pub clock: Clock,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// One worker's gateway.
pub struct Gateway {
    keyring: Arc<Keyring>,
    current: Current,
    ids: RequestIds,
    tunnels: Arc<Tunnels>,
    lives: Rc<Lives>,
}

impl Gateway {
    /// A gateway for one worker, with connections to the origins of its own. Call it on the worker's `LocalSet`.
    #[must_use]
    pub fn new(parts: Parts, lines: LineBuffer, seed: [u8; 16]) -> Self {
        let Parts { newest, keyring, in_flight, tunnels, clock, metrics } = parts;
        let lives = Lives::new(clock.clone());
        let open = Open::new(Arc::clone(&keyring), clock.clone());
        tokio::task::spawn_local(Rc::clone(&open).look_after());
        let own = Own { clock, metrics, lines, in_flight, open };
        let (first, newer) = newest.follow();
        let current = Current::new(&own, first);
        tokio::task::spawn_local(current.clone().follow(own, newer));
        tokio::task::spawn_local(current.clone().sweep());
        tokio::task::spawn_local(Rc::clone(&lives).look_after());
        Self { keyring, current, ids: RequestIds::new(seed), tunnels, lives }
    }

    async fn answer(
        &self,
        live: &Live,
        mut asked: Box<Asked>,
        body: &mut Option<ClientBody>,
        record: &mut Record,
    ) -> Result<Response<Outgoing>, Ours> {
        let generation = live.generation();
        let plan = &generation.plan;
        if generation.self_service.is_some() {
            asked = Box::pin(self.served(live, asked, body, record)).await?;
        }
        let (mut whose, mut switch) = (None, None);
        let permitted = self.permit(live, &mut asked, body, record, &mut whose, &mut switch).await;
        let (permit, carrier) = match permitted {
            Ok(permitted) => permitted,
            Err(stop) => return Err(live.worded(&asked, stop, whose.as_ref())),
        };
        if permit.route().is_gone() {
            return Err(live.worded(&asked, gone(&permit), None));
        }
        if let Some(switch) = &switch {
            let key = permit.holder().map(|holder| holder.verified.key());
            switch.enters(self.tunnels.enter(key, &plan.tunnels).map_err(Stop::Tunnels)?);
        }
        let at = record.forwarded(&permit);
        let held = Held::by(&permit, asked.client.address);
        let lasting = held.map(|held| Lasting::new(&live.ledger, record.exchange(), held, Cut::Answer, at));
        let service = permit.route().service;
        let outbound = Outbound {
            identity: &live.identity,
            signer: plan.signers[service].as_ref(),
            request_id: record.id(),
            carrier: carrier.as_ref(),
            body_idle: generation.body_idle,
            body_rate: generation.body_rate,
            clock: &live.ledger.clock,
            expiry_notice: plan.expiry_notice,
            user_keys: &plan.user_keys,
            switch: switch.as_deref(),
            lasting: lasting.as_ref(),
            at,
        };
        let answer = forward(&permit, asked, body, &plan.services[service], &live.pools[service], &outbound).await?;
        record.answered();
        record.lasts(lasting);
        Ok(answer)
    }

    /// Has the connection go on where the origin agreed to what was asked. Where it did not, it closes: what the client sent
    /// in the belief that it would is no request.
    fn upgraded(&self, answer: &mut Response<Outgoing>, live: &Live, record: Box<Record>) -> Option<Box<Record>> {
        let exchange = record.exchange().clone();
        let Some(agreed) = answer.body_mut().take_agreed() else {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            exchange.peer().expect_more();
            return Some(record);
        };
        let life = self.lives.begin(&live.generation().plan.tunnels);
        exchange.peer().tunnel(Box::new(Tunnel::new(*agreed, life, record)));
        None
    }

    /// Route, credential, verify, authorize. Where a refusal may have other words than ours, `whose` request it is is told too.
    async fn permit<'a>(
        &self,
        live: &'a Live,
        asked: &mut Asked,
        body: &mut Option<ClientBody>,
        record: &mut Record,
        whose: &mut Option<Verified>,
        switch: &mut Option<Box<Switch>>,
    ) -> Result<(Permit<'a>, Option<Carrier>), Stop> {
        let plan = &live.generation().plan;
        let path = asked.head.uri.path();
        let route = plan.routes.iter().find(|route| route.matches(asked.host(), &asked.head.method, path));
        if let Some(route) = route {
            record.falls_under(route.at);
            if let Some(asking) = &asked.upgrade {
                *switch = Switch::allowed(&route.upgrade, asking, &asked.head);
                record.asks_upgrade(switch.is_some());
            }
            if let Some(permit) = Permit::open(route) {
                credential::strip_own(&mut asked.head.headers);
                return Ok((permit, None));
            }
        }
        let carriers = route.map_or(&plan.carriers, |route| &route.carriers);
        let credential = credential::take(&mut asked.head.headers, carriers)?;
        credential::strip_minted(&mut asked.head.headers);
        let verified = self.verified_to_forward(&credential.secret, asked.at_least).await.inspect_err(|denied| {
            if denied.is_reuse() {
                self.keyring.reused(&credential.secret, Some(asked.client.address));
            }
        })?;
        record.by(&verified);
        if live.generation().self_service.is_some() {
            *whose = Some(verified.clone());
        }
        plan.user_keys.judge(&verified)?;
        let route = route.ok_or(Refusal::RouteNotFound)?;
        // A body that is judged may take long to come, and meanwhile a superseded secret is not to be taken for a quiet one.
        let early = !route.agree.is_empty() && verified.superseded_until().is_some();
        if early {
            self.keyring.used(&verified, &credential.secret, &asked.caller(&route.name, None));
        }
        let permit = if route.agree.is_empty() {
            let account = route.account(asked.host(), path, asked.head.uri.query(), &asked.head.headers);
            authorize::permit(route, verified, asked.client.address, account)?
        } else {
            let Generation { body_idle: idle, body_rate: rate, .. } = *live.generation();
            Box::pin(agree::permit(route, verified, asked, body, &Pace { idle, rate, clock: &live.ledger.clock }))
                .await?
        };
        // A use is one that was permitted: knocking at another account's door is none.
        if let Some(holder) = permit.holder() {
            if !early {
                let caller = asked.caller(&route.name, holder.grant.account.as_ref());
                self.keyring.used(&holder.verified, &credential.secret, &caller);
            }
            if let Some(why) = permit.rehearsed() {
                self.keyring.rehearsed(&holder.verified, &route.name, why);
            }
        }
        Ok((permit, Some(credential.carrier)))
    }
}

impl Gateway {
    /// Whose secret this is; where the client was told of a position of the log, as of that.
    async fn verified(&self, secret: &Secret, at_least: Option<u64>) -> Result<Verified, Denied> {
        match at_least {
            None => self.keyring.verify(secret).await,
            Some(position) => Box::pin(self.keyring.verify_at_least(secret, position)).await,
        }
    }

    /// The same for a request that is not ours to answer: `store.outage` may let it pass by what was last read.
    async fn verified_to_forward(&self, secret: &Secret, at_least: Option<u64>) -> Result<Verified, Denied> {
        match at_least {
            None => self.keyring.verify_to_forward(secret).await,
            Some(_) => self.verified(secret, at_least).await,
        }
    }
}

impl Handler for Gateway {
    type Body = Outgoing;

    fn handle(
        self: Rc<Self>,
        peer: Rc<Peer>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Outgoing>> + 'static {
        let live = self.current.get();
        let (head, body) = request.into_parts();
        let (to_head, http2) = (head.method == Method::HEAD, head.version == Version::HTTP_2);
        let mut record = Record::begin(&live.ledger, self.ids.next(), peer.exchange(), &head);
        let asked = ask(head, live.generation(), &mut record);
        async move {
            let mut body = Some(ClientBody::Coming(body));
            let answer = match asked {
                Ok(asked) => self.answer(&live, asked, &mut body, &mut record).await,
                Err(stop) => Err(stop.into()),
            };
            let mut answer = answer.unwrap_or_else(|ours| {
                if let Some(stop) = ours.stop() {
                    record.stopped(stop);
                }
                let mut answer = refuse::answer(ours, &live.generation().plan, &live.challenges, record.id().as_str());
                answer.headers_mut().insert(X_REQUEST_ID, record.id().value().clone());
                let answer = if to_head { refuse::without_body(answer) } else { answer };
                // Over HTTP/1.1 the connection does so itself.
                let rest = body.filter(|body| http2 && !body.is_end_stream());
                answer.map(|answer| answer.reading(rest))
            });
            record.status(answer.status());
            if let Some(age) = record.stale() {
                answer.headers_mut().insert(STALE, stale(age));
            }
            if record.asked_upgrade() {
                record = match self.upgraded(&mut answer, &live, record) {
                    Some(record) => record,
                    None => return answer,
                };
            }
            answer.map(|body| body.recorded(record))
        }
    }
}

/// Told with every answer to a request whose key was let pass by what should not be believed any more.
const STALE: HeaderName = HeaderName::from_static("keyward-stale");

#[cold]
fn stale(age: u32) -> HeaderValue {
    HeaderValue::try_from(format!("age={age}")).unwrap_or_else(|_| HeaderValue::from_static("age"))
}

/// What is left of a route that is gone: the word that it is, and of what takes its place.
fn gone(permit: &Permit<'_>) -> Stop {
    let mut told = Box::<HeaderMap>::default();
    if let Some(retirement) = &permit.route().retirement {
        retirement.tell(&mut told, permit.account());
    }
    Stop::Gone(told)
}

/// The canonical request, where there is room for it.
fn ask(head: request::Parts, live: &Generation, record: &mut Record) -> Result<Box<Asked>, Stop> {
    if !record.is_admitted() {
        return Err(Stop::Overloaded);
    }
    let asked = Asked::new(head, record.exchange().peer(), live)?;
    record.canonical(&asked.host, asked.client.address, asked.client.request_id.as_ref());
    Ok(asked)
}

/// The settings of `[gateway]` as `config/default.toml` has them, for this floor's tests.
#[cfg(any(test, fuzzing))]
#[expect(clippy::unwrap_used, reason = "in tests and fuzz targets alone")]
fn test_config() -> config::Config {
    test_defaults().extract_inner("gateway").unwrap()
}

/// Those of `[origin]`.
#[cfg(test)]
fn test_origin() -> config::OriginConfig {
    test_defaults().extract_inner("origin").unwrap()
}

#[cfg(any(test, fuzzing))]
fn test_defaults() -> figment::Figment {
    use figment::providers::{Format, Toml};
    figment::Figment::from(Toml::string(include_str!("../../config/default.toml")))
}

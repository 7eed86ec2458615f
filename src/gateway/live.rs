//! One generation of settings, as a worker uses it.
//!
//! ```text
//!  reload: Generation --Newest--> each worker: Live, swapped whole
//!                                                '-- Rc --> a request, from its first step to its last
//! ```
//!
//! A request takes what is live when it begins and ends under it, so it never meets half of one generation and half of the
//! next. Connections to a service whose settings did not change are handed on; those of the others close once idle.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::access::Ledger;
use super::challenge::Challenges;
use super::headers::Identity;
use super::in_flight::InFlight;
use super::open::Open;
use super::origin::Pool;
use super::plan::Plan;
use super::self_service::SelfService;
use super::service::Service;
use crate::clock::Clock;
use crate::net::config::ClientHeader;
use crate::net::newest::Follower;
use crate::telemetry::access::LineBuffer;
use crate::telemetry::config::AccessLogConfig;
use crate::telemetry::metrics::{Metrics, RouteSeries, ServiceSeries};

/// Everything that requests are handled by and that a reload may change; the same for all workers, and immutable.
#[derive(Debug)]
pub struct Generation {
    /// Routes and services.
    pub plan: Plan,
    /// Where the requests of each route count.
    pub routes: Vec<RouteSeries>,
    /// Where the connections to each service count.
    pub services: Vec<ServiceSeries>,
    /// Networks whose forwarding headers are believed.
    pub trusted: Vec<IpNet>,
    /// Where those say who their client is.
    pub client_header: ClientHeader,
    /// A request's head; above it 431.
    pub header_bytes: usize,
    /// A request body that does not progress.
    pub body_idle: Duration,
    /// A request body that progresses too slowly: bytes a second; 0 is any pace.
    pub body_rate: u64,
    /// Requests in flight, of all workers; above it 503.
    pub requests: usize,
    /// Who answers where keyward itself is asked.
    pub self_service: Option<Arc<dyn SelfService>>,
    /// Whether each request has a line in the access log, and what is in it.
    pub access_log: AccessLogConfig,
}

impl Generation {
    /// The name of a rule, or of the part of self-service at this place after all rules.
    pub(super) fn name(&self, at: usize) -> Option<&str> {
        let routes = &self.plan.routes;
        let part = || self.self_service.as_ref()?.parts().get(at.checked_sub(routes.len())?).copied();
        routes.get(at).map(|route| &*route.name).or_else(part)
    }
}

/// One generation on one worker, with the worker's own connections to origins.
pub(super) struct Live {
    /// In the order of the plan's services.
    pub(super) pools: Vec<Rc<Pool>>,
    pub(super) ledger: Rc<Ledger>,
    pub(super) identity: Identity,
    pub(super) challenges: Challenges,
}

/// What a worker needs to make its own of any generation.
pub(super) struct Own {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lines: LineBuffer,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) open: Rc<Open>,
}

impl Live {
    fn new(own: &Own, generation: Arc<Generation>, before: Option<&Self>) -> Self {
        let shard = before.map_or_else(|| own.metrics.shard(), |before| own.metrics.renewed(&before.ledger.shard));
        let kept: &[_] = before.map_or(&[], |before| &before.pools);
        let pool = |(service, series): (&Arc<Service>, &ServiceSeries)| {
            let kept = kept.iter().find(|pool| pool.serves(service)).map(Rc::clone);
            kept.unwrap_or_else(|| Pool::new(Arc::clone(service), *series, own.clock.clone(), Rc::clone(&shard)))
        };
        let pools = generation.plan.services.iter().zip(&generation.services).map(pool).collect();
        let (clock, lines) = (own.clock.clone(), own.lines.clone());
        let (in_flight, open) = (Arc::clone(&own.in_flight), Rc::clone(&own.open));
        // Every request counts references to these, which workers are not to share.
        let identity = generation.plan.identity.copied();
        let challenges = Challenges::new(&generation.plan.realm);
        let ledger = Rc::new(Ledger { generation, clock, shard, lines, in_flight, open, stamp: RefCell::default() });
        Self { pools, ledger, identity, challenges }
    }

    pub(super) fn generation(&self) -> &Generation {
        &self.ledger.generation
    }
}

/// What a worker's requests begin under.
#[derive(Clone)]
pub(super) struct Current(Rc<RefCell<Rc<Live>>>);

impl Current {
    pub(super) fn new(own: &Own, first: Arc<Generation>) -> Self {
        Self(Rc::new(RefCell::new(Rc::new(Live::new(own, first, None)))))
    }

    pub(super) fn get(&self) -> Rc<Live> {
        Rc::clone(&self.0.borrow())
    }

    /// Swaps each newer generation in, for as long as the worker lives.
    pub(super) async fn follow(self, own: Own, mut newer: Follower<Generation>) {
        loop {
            newer.next(|generation| self.swap(&own, generation)).await;
        }
    }

    fn swap(&self, own: &Own, generation: Arc<Generation>) {
        let before = self.get();
        let live = Rc::new(Live::new(own, generation, Some(&before)));
        for pool in before.pools.iter().filter(|pool| !live.pools.iter().any(|kept| Rc::ptr_eq(kept, pool))) {
            pool.retire();
        }
        self.0.replace(live);
    }

    /// Once a second, lets go of kept connections that are too old.
    pub(super) async fn sweep(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.get().pools.iter().for_each(|pool| pool.sweep());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::runtime::Handle;

    use super::*;
    use crate::gateway::config::{RouteConfig, ServiceConfig};
    use crate::key::Digester;
    use crate::keyring::Keyring;
    use crate::keyring::tests::small;
    use crate::store::{self, Access, Store};
    use crate::telemetry::access::{AccessLog, Sink};
    use crate::telemetry::metrics::Names;

    fn generation(metrics: &Metrics, services: &[(&str, &str)]) -> Arc<Generation> {
        let said = |url: &str| ServiceConfig { url: Some(url.into()), ..ServiceConfig::default() };
        let services: BTreeMap<_, _> = services.iter().map(|(name, url)| ((*name).to_owned(), said(url))).collect();
        let service = services.keys().next().cloned();
        let route = RouteConfig { path: Some("/**".into()), service, ..RouteConfig::default() };
        let (config, origin) = (crate::gateway::test_config(), crate::gateway::test_origin());
        let plan = Plan::new(&config, &origin, &services, &[route]).unwrap();
        let (header_bytes, body_idle) = (1024, Duration::from_secs(1));
        Arc::new(Generation {
            routes: metrics.routes(&plan.route_names()),
            services: metrics.services(&plan.service_names()),
            plan,
            trusted: Vec::new(),
            client_header: ClientHeader::XForwardedFor,
            header_bytes,
            body_idle,
            body_rate: 0,
            requests: 1,
            self_service: None,
            access_log: AccessLogConfig { enabled: false, query: false },
        })
    }

    #[tokio::test]
    async fn connections_to_what_did_not_change_are_handed_on_and_what_has_begun_ends_as_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&store::tests::config(&folder), [0; 8], Access::Create).unwrap();
        let (clock, control) = (Clock::System, Handle::current());
        let keyring = Keyring::open(&small(), 1, store, Digester::default(), clock.clone(), control).await.unwrap();
        let metrics = Metrics::new(Names::default());
        let log = AccessLog::start(Sink::Stdout, &metrics).unwrap();
        let own = Own {
            open: Open::new(Arc::new(keyring), clock.clone()),
            clock,
            metrics: Arc::clone(&metrics),
            lines: log.handle().worker(),
            in_flight: Arc::default(),
        };
        let first = generation(
            &metrics,
            &[("a", "http://127.0.0.1:1"), ("b", "http://127.0.0.1:2"), ("c", "http://127.0.0.1:3")],
        );
        let current = Current::new(&own, first);
        let begun = current.get();
        current.swap(&own, generation(&metrics, &[("b", "http://127.0.0.1:2"), ("c", "http://127.0.0.1:4")]));
        let next = current.get();
        assert!(Rc::ptr_eq(&begun.pools[1], &next.pools[0]));
        assert!(!Rc::ptr_eq(&begun.pools[2], &next.pools[1]));
        assert_eq!(begun.pools.iter().map(|pool| pool.is_retired()).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!((begun.generation().plan.services.len(), next.generation().plan.services.len()), (3, 2));
    }
}
